"""Do: change what a user is, deactivate and reactivate them. A practice keeps at least one active admin."""

from __future__ import annotations

from datetime import datetime
from typing import Self
from uuid import UUID

from pydantic import BaseModel

from libs.common.command import Command, Line
from libs.common.errors import NotFound, Refused
from libs.common.work import Tx
from libs.contracts.permissions import Role
from libs.contracts.practices import UserChanged, UserDeactivated, UserReactivated, UserRoleChanged
from services.practices.commands.access import tell_member
from services.practices.commands.invitations import MemberRole
from services.practices.model import Member, Status
from services.practices.queries import active_admins, member_for_change
from services.practices.rules.people import leaves_no_admin

BY_PRACTICE = "practice"


class UserNotFound(NotFound):
    """No such user."""


class LastAdminStays(Refused):
    """A practice keeps at least one active admin."""


class OwnRoleStays(Refused):
    """Nobody changes their own role or deactivates themselves."""


class ChangeUser(Command):
    """Only what is given changes. ``active: false`` deactivates: their token stops within seconds."""

    name: Line | None = None
    role: MemberRole | None = None
    active: bool | None = None


class UserView(BaseModel):
    """A user as the API shows it. Times are UTC."""

    id: UUID
    name: str
    email: str
    role: str
    active: bool
    version: int
    created_at: datetime

    @classmethod
    def of(cls, member: Member) -> Self:
        return cls.model_validate(member, from_attributes=True)


async def change_user(user_id: UUID, cmd: ChangeUser, tx: Tx) -> UserView:
    """Raises ``UserNotFound``, ``LastAdminStays``, ``OwnRoleStays``."""
    member = await member_for_change(user_id, tx)
    if member is None or member.status not in {Status.ACTIVE, Status.DEACTIVATED}:
        raise UserNotFound
    role = Role(cmd.role or member.role)
    active = member.active if cmd.active is None else cmd.active
    if (role, active) != (member.role, member.active):
        await _check(member, role, tx, active=active)
    if cmd.name is not None and cmd.name != member.name:
        member.name, member.version = cmd.name, member.version + 1
        tx.emit(UserChanged(user_id=member.id, name=member.name, email=member.email))
    await _apply(member, role, tx, active=active)
    return UserView.of(member)


async def _check(member: Member, role: Role, tx: Tx, *, active: bool) -> None:
    was_admin = member.active and member.role == Role.PRACTICE_ADMIN
    stays_admin = active and role is Role.PRACTICE_ADMIN
    if was_admin and leaves_no_admin(await active_admins(tx), was_admin=was_admin, stays_admin=stays_admin):
        raise LastAdminStays
    if tx.principal.kind == "user" and tx.principal.id == str(member.id):
        raise OwnRoleStays


async def _apply(member: Member, role: Role, tx: Tx, *, active: bool) -> None:
    if (role, active) == (member.role, member.active):
        return
    if role != member.role:
        tx.emit(UserRoleChanged(user_id=member.id, role=role, previous_role=Role(member.role)))
    if active != member.active:
        tx.emit(UserReactivated(user_id=member.id) if active else UserDeactivated(user_id=member.id))
        member.ended_by = None if active else BY_PRACTICE
    member.role, member.version = role, member.version + 1
    member.status = Status.ACTIVE if active else Status.DEACTIVATED
    await tell_member(member, tx)
