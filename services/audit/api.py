"""The HTTP door of the ledger: entries, checkpoints, proofs, exports. Practice admins only."""

from __future__ import annotations

from typing import Annotated, Any
from uuid import UUID

from fastapi import Query, Response

from libs.common.auth import Permission
from libs.common.http import CursorQuery, DoorDep, LimitQuery, Page, Routes, needs
from services.audit.commands.proofs import (
    ConsistencyProof,
    EntryView,
    current_checkpoint,
    export,
    prove_consistency,
    prove_inclusion,
    show_entry,
)
from services.audit.queries import entries

TEXT: dict[int | str, dict[str, Any]] = {200: {"content": {"text/plain": {"schema": {"type": "string"}}}}}
ARCHIVE: dict[int | str, dict[str, Any]] = {200: {"content": {"application/x-tar": {"schema": {"type": "string", "format": "binary"}}}}}


def entry_routes() -> Routes:
    router = Routes(prefix="/v1/ledger", tags=["ledger"])

    @router.get("/entries", response_model=Page[EntryView], **needs(Permission.LEDGER_READ))
    async def list_page(
        door: DoorDep,
        type: Annotated[str | None, Query(max_length=200)] = None,  # noqa: A002 - the field's name
        subject: Annotated[str | None, Query(max_length=300)] = None,
        correlation_id: Annotated[str | None, Query(max_length=200)] = None,
        limit: LimitQuery = 50,
        cursor: CursorQuery = None,
    ) -> Page[EntryView]:
        """List entries in the order of the log."""
        async with door.work() as tx:
            rows = await entries(
                tx, event_type=type, subject=subject, correlation_id=correlation_id, after=door.position(cursor), limit=limit
            )
            return door.page([EntryView.of(row) for row in rows], limit, lambda view: (view.seq,))

    @router.get("/entries/{event_id}", response_model=EntryView, **needs(Permission.LEDGER_READ))
    async def show(event_id: UUID, door: DoorDep) -> Response:
        """Show the entry of one event."""
        async with door.work() as tx:
            return await door.answer(tx, await show_entry(event_id, tx))

    return router


def proof_routes(vkey: str) -> Routes:
    router = Routes(prefix="/v1/ledger", tags=["ledger"])

    @router.get("/checkpoint", response_class=Response, responses=TEXT, **needs(Permission.LEDGER_READ))
    async def checkpoint(door: DoorDep) -> Response:
        """The newest signed checkpoint (C2SP tlog-checkpoint)."""
        async with door.work() as tx:
            return Response(await current_checkpoint(tx), media_type="text/plain; charset=utf-8")

    @router.get("/proof/inclusion", response_class=Response, responses=TEXT, **needs(Permission.LEDGER_READ))
    async def inclusion(event_id: UUID, door: DoorDep) -> Response:
        """A receipt: proof that the event's entry is in the signed log (C2SP tlog-proof)."""
        async with door.work() as tx:
            return Response(await prove_inclusion(event_id, tx), media_type="text/plain; charset=utf-8")

    @router.get("/proof/consistency", response_model=ConsistencyProof, **needs(Permission.LEDGER_READ))
    async def consistency(
        old: Annotated[int, Query(ge=1, le=2**53)], new: Annotated[int, Query(ge=1, le=2**53)], door: DoorDep
    ) -> Response:
        """Proof that one signed checkpoint continues another."""
        async with door.work() as tx:
            return await door.answer(tx, await prove_consistency(old, new, tx))

    @router.get("/export", response_class=Response, responses=ARCHIVE, **needs(Permission.LEDGER_READ))
    async def bundle(door: DoorDep) -> Response:
        """The whole signed log as a tar archive that verifies offline."""
        async with door.work() as tx:
            headers = {"Content-Disposition": 'attachment; filename="ledger.tar"'}
            return Response(await export(vkey, tx), media_type="application/x-tar", headers=headers)

    @router.get("/vkey", response_class=Response, responses=TEXT, **needs(Permission.LEDGER_READ))
    async def key(_door: DoorDep) -> Response:
        """The key that signs checkpoints (C2SP vkey). Keep it where we cannot change it."""
        return Response(vkey + "\n", media_type="text/plain; charset=utf-8")

    return router
