"""Do: create a practice with its first admin, add users, change their role, deactivate them."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal, Self
from uuid import UUID

from pydantic import AfterValidator, BaseModel

from libs.common.command import Command, Line
from libs.common.errors import Conflict, NotFound, Refused
from libs.common.work import Tx
from libs.contracts.practices import PracticeCreated, UserAdded, UserDeactivated, UserRole, UserRoleChanged
from services.practices.model import DirectoryEntry, Member, Practice
from services.practices.queries import active_admins, email_taken, member_by_id, member_of_subject, practice_by_id
from services.practices.rules import known_time_zone, leaves_no_admin, normal_email

Email = Annotated[str, AfterValidator(normal_email)]
TimeZone = Annotated[str, AfterValidator(known_time_zone)]
MemberRole = Literal[UserRole.PRACTICE_ADMIN, UserRole.REGULAR_USER]


class PracticeNotFound(NotFound):
    """No such practice."""


class UserNotFound(NotFound):
    """No such user."""


class EmailTaken(Conflict):
    """Somebody in this practice has this e-mail address."""


class LastAdminStays(Refused):
    """A practice keeps at least one active admin."""


class FirstAdmin(Command):
    name: Line
    email: Email
    subject: Line | None = None


class CreatePractice(Command):
    name: Line
    time_zone: TimeZone
    admin: FirstAdmin


class AddUser(Command):
    name: Line
    email: Email
    role: MemberRole = UserRole.REGULAR_USER
    subject: Line | None = None


class ChangeUser(Command):
    """Only what is given changes. ``active: false`` deactivates."""

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


class PracticeView(BaseModel):
    """A practice as the API shows it. Times are UTC."""

    id: UUID
    name: str
    time_zone: str
    version: int
    created_at: datetime

    @classmethod
    def of(cls, practice: Practice) -> Self:
        return cls(
            id=practice.practice_id,
            name=practice.name,
            time_zone=practice.time_zone,
            version=practice.version,
            created_at=practice.created_at,
        )


class CreatedPractice(PracticeView):
    admin: UserView


class ListedPractice(BaseModel):
    """What a Vantage admin sees of a practice."""

    id: UUID
    name: str
    created_at: datetime

    @classmethod
    def of(cls, entry: DirectoryEntry) -> Self:
        return cls(id=entry.practice_id, name=entry.name, created_at=entry.created_at)


async def create_practice(practice_id: UUID, cmd: CreatePractice, tx: Tx) -> CreatedPractice:
    """A practice and its first admin, together. The transaction must be open for ``practice_id``."""
    practice = Practice(practice_id=practice_id, name=cmd.name, time_zone=cmd.time_zone, version=1, created_at=tx.now)
    tx.session.add_all([practice, DirectoryEntry(practice_id=practice_id, name=cmd.name, created_at=tx.now)])
    await tx.session.flush()
    tx.emit(PracticeCreated(new_practice_id=practice_id, name=cmd.name, time_zone=cmd.time_zone), practice_id=practice_id)
    admin = _add(practice_id, AddUser(**cmd.admin.model_dump(), role=UserRole.PRACTICE_ADMIN), tx)
    return CreatedPractice(**PracticeView.of(practice).model_dump(), admin=UserView.of(admin))


async def add_user(cmd: AddUser, tx: Tx) -> UserView:
    """Somebody joins the practice. Raises ``EmailTaken``, ``PracticeNotFound``."""
    if await practice_by_id(tx.practice_id, tx) is None:
        raise PracticeNotFound
    if await email_taken(cmd.email, tx):
        raise EmailTaken(pointer="/email")
    return UserView.of(_add(tx.practice_id, cmd, tx))


async def change_user(user_id: UUID, cmd: ChangeUser, tx: Tx) -> UserView:
    """Another role, or no access any more. Raises ``UserNotFound``, ``LastAdminStays``."""
    member = await member_by_id(user_id, tx)
    if member is None:
        raise UserNotFound
    role = UserRole(cmd.role or member.role)
    active = member.active if cmd.active is None else cmd.active
    was_admin = member.active and member.role == UserRole.PRACTICE_ADMIN
    stays_admin = active and role is UserRole.PRACTICE_ADMIN
    if was_admin and leaves_no_admin(await active_admins(tx), was_admin=was_admin, stays_admin=stays_admin):
        raise LastAdminStays
    if role != member.role:
        tx.emit(UserRoleChanged(user_id=member.id, role=role, previous_role=UserRole(member.role)))
    if member.active and not active:
        tx.emit(UserDeactivated(user_id=member.id))
    if (role, active) != (member.role, member.active):
        member.role, member.active, member.version = role, active, member.version + 1
    return UserView.of(member)


class Me(BaseModel):
    """The caller as we know them. ``user`` is null for a token whose holder is not on the practice's list yet."""

    role: str
    practice: PracticeView | None
    user: UserView | None


async def who_am_i(subject: str, role: str, tx: Tx) -> Me:
    practice = await practice_by_id(tx.practice_id, tx)
    member = await member_of_subject(subject, tx)
    return Me(role=role, practice=PracticeView.of(practice) if practice else None, user=UserView.of(member) if member else None)


async def show_practice(practice_id: UUID, tx: Tx) -> PracticeView:
    """Raises ``PracticeNotFound`` for any practice but the transaction's own."""
    practice = await practice_by_id(practice_id, tx)
    if practice is None:
        raise PracticeNotFound
    return PracticeView.of(practice)


def _add(practice_id: UUID, cmd: AddUser, tx: Tx) -> Member:
    member = Member(
        practice_id=practice_id, id=tx.new_id(), subject=cmd.subject, name=cmd.name, email=cmd.email, role=cmd.role,
        active=True, version=1, created_at=tx.now,
    )  # fmt: skip
    tx.session.add(member)
    tx.emit(UserAdded(user_id=member.id, role=UserRole(cmd.role), name=cmd.name, email=cmd.email), practice_id=practice_id)
    return member
