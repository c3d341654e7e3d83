"""Calls: the practice's account at Retell, its reports about calls, and what is known of them."""

from __future__ import annotations

from uuid import UUID

from fastapi import Request, Response

from libs.common.actions.performing import Performing
from libs.common.auth import Permission, Principal
from libs.common.http import CursorQuery, DoorDep, LimitQuery, Page, Routes, WorkDep, needs, public
from libs.common.secrets import SecretBox
from libs.common.telemetry import Cause
from services.scheduling.adapters.retell_notices import PASSING, SIGNATURE_HEADER, read_report
from services.scheduling.api.refusals import NOBODYS_SECRET, WebhookRefused
from services.scheduling.commands.calls import RETELL, CallRecord, CallView, list_calls, show_call, take_report
from services.scheduling.commands.notices import set_aside
from services.scheduling.commands.retell_settings import ConfigureRetell, RetellSettings, configure_retell, show_retell, valid_webhook_keys
from services.scheduling.rules.notices import SetAside
from services.scheduling.rules.signatures import retell_signature_valid


def retell_routes(box: SecretBox, performing: Performing) -> Routes:
    router = Routes(tags=["calls"])

    @router.put("/v1/retell-settings", response_model=RetellSettings, **needs(Permission.INTEGRATIONS_WRITE))
    async def configure(cmd: ConfigureRetell, door: DoorDep) -> Response:
        """Set the practice's Retell key, number and agent. Practice admins only; a key is never shown again."""
        async with door.work() as tx:
            return await door.answer(tx, await configure_retell(cmd, box, tx))

    @router.get("/v1/retell-settings", response_model=RetellSettings, **needs(Permission.INTEGRATIONS_WRITE))
    async def show_settings(door: DoorDep) -> Response:
        """Whether Retell is configured, and where its webhooks go. Practice admins only."""
        async with door.work() as tx:
            return await door.answer(tx, await show_retell(tx))

    @router.post("/webhooks/retell/{practice_id}", status_code=204, **public("the provider's signature"))
    async def webhook(practice_id: UUID, request: Request, work: WorkDep) -> Response:
        """Retell's call webhooks, signed. Answered when the call and its events are durable.

        What is signed but not understood is kept and answered alike: Retell would not send it again for long.
        """
        raw = await request.body()
        given = request.headers.getlist(SIGNATURE_HEADER)
        signature = given[0] if len(given) == 1 else None
        async with work(Principal.system(RETELL, practice_id)) as tx:
            tx.cause = Cause(request.state.correlation_id, "", request.state.traceparent, "")
            if not retell_signature_valid(raw, signature, await valid_webhook_keys(box, tx) or [NOBODYS_SECRET], tx.now):
                raise WebhookRefused
            report = read_report(raw)
            if not isinstance(report, SetAside):
                await take_report(report, box, performing.record_in, tx)
            elif report.reason != PASSING:
                await set_aside(RETELL, report, raw, tx)
        return Response(status_code=204)

    return router


def call_routes(box: SecretBox) -> Routes:
    router = Routes(prefix="/v1/calls", tags=["calls"])

    @router.get("", response_model=Page[CallView], **needs(Permission.CALLS_READ))
    async def list_page(
        door: DoorDep, patient_id: UUID | None = None, limit: LimitQuery = 50, cursor: CursorQuery = None
    ) -> Page[CallView]:
        """List calls, newest first. What was said in them is not listed."""
        async with door.work() as tx:
            views = await list_calls(tx, patient_id=patient_id, after=door.position(cursor), limit=limit)
            return door.page(views, limit, lambda view: (view.created_at.isoformat(), view.id))

    @router.get("/{call_id}", response_model=CallRecord, **needs(Permission.CALLS_READ))
    async def show(call_id: UUID, door: DoorDep) -> Response:
        """Show a call with its summary and transcript."""
        async with door.work() as tx:
            return await door.answer(tx, await show_call(call_id, box, tx))

    return router
