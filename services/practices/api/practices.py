"""Practices: made, suspended and entered by Vantage admins, run by their own."""

from __future__ import annotations

from uuid import UUID

from fastapi import Response

from libs.common.auth import Permission
from libs.common.http import CursorQuery, DoorDep, IfMatch, LimitQuery, Page, Routes, needs
from libs.common.ids import new_id
from libs.contracts.envelope import PLATFORM
from services.practices.commands.entries import EntryView, OpenEntry, close_entry, open_entry
from services.practices.commands.invitations import InvitationView, InviteUser, invite
from services.practices.commands.practices import (
    ChangePractice,
    CreatedPractice,
    CreatePractice,
    ListedPractice,
    PracticeView,
    Suspend,
    change_practice,
    create_practice,
    reactivate_practice,
    show_practice,
    suspend_practice,
)
from services.practices.queries import entries_listed, practices_listed


def practice_routes() -> Routes:
    router = Routes(prefix="/v1", tags=["practices"])
    _managing(router)
    _own(router)
    _entries(router)
    return router


def _managing(router: Routes) -> None:
    @router.post("/practices", status_code=201, response_model=CreatedPractice, **needs(Permission.PRACTICES_WRITE))
    async def create(cmd: CreatePractice, door: DoorDep) -> Response:
        """Create a practice and invite its first users."""
        practice_id = new_id()
        async with door.work(practice_id) as tx:
            view = await create_practice(practice_id, cmd, tx)
            return await door.answer(tx, view, status=201, headers={"Location": f"/v1/practices/{view.id}"})

    @router.get("/practices", response_model=Page[ListedPractice], **needs(Permission.PRACTICES_READ))
    async def list_practices(door: DoorDep, limit: LimitQuery = 50, cursor: CursorQuery = None) -> Page[ListedPractice]:
        """List practices: names and dates, nothing of their people."""
        async with door.work(PLATFORM) as tx:
            entries = [ListedPractice.of(entry) for entry in await practices_listed(tx, after=door.position(cursor), limit=limit)]
            return door.page(entries, limit, lambda entry: (entry.created_at.isoformat(), entry.id))

    @router.post("/practices/{practice_id}/suspend", response_model=ListedPractice, **needs(Permission.PRACTICES_WRITE))
    async def suspend(practice_id: UUID, cmd: Suspend, door: DoorDep) -> Response:
        """Suspend a practice: log-ins, runs and messages are held, nothing is lost."""
        async with door.work(practice_id) as tx:
            return await door.answer(tx, await suspend_practice(practice_id, cmd, tx))

    @router.post("/practices/{practice_id}/reactivate", response_model=ListedPractice, **needs(Permission.PRACTICES_WRITE))
    async def reactivate(practice_id: UUID, door: DoorDep) -> Response:
        """Reactivate a suspended practice: what was held goes on."""
        async with door.work(practice_id) as tx:
            return await door.answer(tx, await reactivate_practice(practice_id, tx))

    @router.post(
        "/practices/{practice_id}/invitations", status_code=201, response_model=InvitationView, **needs(Permission.PRACTICES_WRITE)
    )
    async def invite_into(practice_id: UUID, cmd: InviteUser, door: DoorDep) -> Response:
        """Invite somebody into a practice from outside: for one that has lost its last admin."""
        async with door.work(practice_id) as tx:
            await show_practice(practice_id, tx)
            return await door.answer(tx, await invite(cmd, tx), status=201)


def _own(router: Routes) -> None:
    @router.get("/practices/{practice_id}", response_model=PracticeView, **needs(Permission.PRACTICE_READ))
    async def show(practice_id: UUID, door: DoorDep) -> Response:
        """Show the caller's own practice."""
        async with door.work() as tx:
            view = await show_practice(practice_id, tx)
            return await door.answer(tx, view, headers={"ETag": f'"{view.version}"'})

    @router.patch("/practices/{practice_id}", response_model=PracticeView, **needs(Permission.PRACTICE_WRITE))
    async def change(practice_id: UUID, cmd: ChangePractice, door: DoorDep, if_match: IfMatch) -> Response:
        """Change the practice's name, time zone, profile or web origins."""
        async with door.work() as tx:
            view = await change_practice(practice_id, cmd, tx, if_version=if_match)
            return await door.answer(tx, view, headers={"ETag": f'"{view.version}"'})


def _entries(router: Routes) -> None:
    @router.post("/practices/{practice_id}/entries", status_code=201, response_model=EntryView, **needs(Permission.ENTRIES_OPEN))
    async def enter(practice_id: UUID, cmd: OpenEntry, door: DoorDep) -> Response:
        """Enter a practice, for a reason and a time. Act in it with the header `Vantage-Practice`; the practice sees the entry."""
        async with door.work(practice_id) as tx:
            return await door.answer(tx, await open_entry(practice_id, cmd, tx), status=201)

    @router.post("/practices/{practice_id}/entries/{entry_id}/close", response_model=EntryView, **needs(Permission.ENTRIES_OPEN))
    async def leave(practice_id: UUID, entry_id: UUID, door: DoorDep) -> Response:
        """End an entry before its time."""
        async with door.work(practice_id) as tx:
            return await door.answer(tx, await close_entry(entry_id, tx))

    @router.get("/entries", response_model=Page[EntryView], **needs(Permission.ENTRIES_READ))
    async def list_entries(door: DoorDep, limit: LimitQuery = 50, cursor: CursorQuery = None) -> Page[EntryView]:
        """List the entries of Vantage admins into the practice, newest first."""
        async with door.work() as tx:
            views = [EntryView.of(entry) for entry in await entries_listed(tx, after=door.position(cursor), limit=limit)]
            return door.page(views, limit, lambda view: (view.opened_at.isoformat(), view.id))
