"""A practice's people: invited, changed, deactivated by its admins."""

from __future__ import annotations

from uuid import UUID

from fastapi import Response

from libs.common.auth import Permission
from libs.common.http import CursorQuery, DoorDep, LimitQuery, Page, Routes, needs
from libs.contracts.envelope import PLATFORM
from services.practices.commands.invitations import InvitationView, InviteUser, invite, resend, revoke
from services.practices.commands.me import ChoosePractice, Me, choose_practice, who_am_i
from services.practices.commands.users import ChangeUser, UserView, change_user
from services.practices.queries import invitations_listed, members


def user_routes() -> Routes:
    router = Routes(prefix="/v1", tags=["users"])
    _users(router)
    _invitations(router)
    return router


def _users(router: Routes) -> None:
    @router.get("/users", response_model=Page[UserView], **needs(Permission.USERS_READ))
    async def list_users(door: DoorDep, limit: LimitQuery = 50, cursor: CursorQuery = None) -> Page[UserView]:
        """List the practice's users by e-mail."""
        async with door.work() as tx:
            views = [UserView.of(member) for member in await members(tx, after=door.position(cursor), limit=limit)]
            return door.page(views, limit, lambda view: (view.email,))

    @router.patch("/users/{user_id}", response_model=UserView, **needs(Permission.USERS_WRITE))
    async def change(user_id: UUID, cmd: ChangeUser, door: DoorDep) -> Response:
        """Change a user's name or role, deactivate or reactivate them."""
        async with door.work() as tx:
            return await door.answer(tx, await change_user(user_id, cmd, tx))

    @router.get("/me", response_model=Me, **needs(Permission.ME_READ))
    async def me(door: DoorDep) -> Response:
        """Who the caller is, and what they may."""
        async with door.work(None if door.principal.practice_id else PLATFORM) as tx:
            return await door.answer(tx, await who_am_i(tx))

    @router.put("/me/practice", status_code=204, **needs(Permission.ME_WRITE))
    async def choose(cmd: ChoosePractice, door: DoorDep) -> Response:
        """Work in another of the caller's practices, from the next token (refresh) on."""
        async with door.work() as tx:
            await choose_practice(cmd, tx)
            return await door.answer(tx, status=204)


def _invitations(router: Routes) -> None:
    @router.post("/invitations", status_code=201, response_model=InvitationView, **needs(Permission.USERS_WRITE))
    async def ask(cmd: InviteUser, door: DoorDep) -> Response:
        """Invite somebody; the e-mail goes out by itself, and coming in time is accepting."""
        async with door.work() as tx:
            return await door.answer(tx, await invite(cmd, tx), status=201)

    @router.get("/invitations", response_model=Page[InvitationView], **needs(Permission.USERS_WRITE))
    async def list_invitations(door: DoorDep, limit: LimitQuery = 50, cursor: CursorQuery = None) -> Page[InvitationView]:
        """List invitations that were not accepted, newest first."""
        async with door.work() as tx:
            rows = await invitations_listed(tx, after=door.position(cursor), limit=limit)
            asked = {invitation.user_id: invitation.asked_at for _, invitation in rows}
            views = [InvitationView.of(member, invitation, tx.now) for member, invitation in rows]
            return door.page(views, limit, lambda view: (asked[view.user_id].isoformat(), view.user_id))

    @router.post("/invitations/{user_id}/resend", response_model=InvitationView, **needs(Permission.USERS_WRITE))
    async def again(user_id: UUID, door: DoorDep) -> Response:
        """Send an invitation again, with a new time limit."""
        async with door.work() as tx:
            return await door.answer(tx, await resend(user_id, tx))

    @router.post("/invitations/{user_id}/revoke", response_model=InvitationView, **needs(Permission.USERS_WRITE))
    async def withdraw(user_id: UUID, door: DoorDep) -> Response:
        """Withdraw an invitation."""
        async with door.work() as tx:
            return await door.answer(tx, await revoke(user_id, tx))
