"""Do: create a practice with its first users, change its profile, suspend and reactivate it."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Self
from uuid import UUID

from pydantic import AfterValidator, BaseModel, Field, model_validator

from libs.common.command import Command, Line
from libs.common.errors import NotFound, VersionMismatch
from libs.common.work import Tx
from libs.contracts.permissions import Role
from libs.contracts.practices import PracticeChanged, PracticeCreated, PracticeReactivated, PracticeSuspended
from services.practices.commands.access import tell_practice
from services.practices.commands.invitations import InvitationView, InviteUser, invite
from services.practices.model import DirectoryEntry, Practice
from services.practices.queries import directory_entry, practice_by_id, practice_for_change
from services.practices.rules.people import known_time_zone
from services.practices.rules.profile import Origin, Profile

TimeZone = Annotated[str, AfterValidator(known_time_zone)]


class PracticeNotFound(NotFound):
    """No such practice."""


class CreatePractice(Command):
    """``users`` are invited; one of them at least is an admin, and no address is given twice."""

    name: Line
    time_zone: TimeZone
    users: Annotated[list[InviteUser], Field(min_length=1, max_length=50)]

    @model_validator(mode="after")
    def _has_an_admin(self) -> Self:
        if all(user.role is not Role.PRACTICE_ADMIN for user in self.users):
            message = "one of the users is a practice_admin"
            raise ValueError(message)
        if len({user.email for user in self.users}) < len(self.users):
            message = "each user has an address of their own"
            raise ValueError(message)
        return self


class ChangePractice(Command):
    """Only what is given changes; ``profile`` is replaced as a whole. ``origins``: web origins whose pages may call the API."""

    name: Line | None = None
    time_zone: TimeZone | None = None
    profile: Profile | None = None
    origins: Annotated[list[Origin], Field(max_length=20)] | None = None


class Suspend(Command):
    reason: Line


class PracticeView(BaseModel):
    """A practice as the API shows it. Times are UTC, opening hours are in ``time_zone``."""

    id: UUID
    name: str
    time_zone: str
    profile: Profile
    origins: list[str]
    suspended: bool
    version: int
    created_at: datetime

    @classmethod
    def of(cls, practice: Practice) -> Self:
        return cls(
            id=practice.practice_id, name=practice.name, time_zone=practice.time_zone, profile=Profile.model_validate(practice.profile),
            origins=practice.origins, suspended=practice.suspended, version=practice.version, created_at=practice.created_at,
        )  # fmt: skip


class CreatedPractice(PracticeView):
    invitations: list[InvitationView]


class ListedPractice(BaseModel):
    """What a Vantage admin sees of a practice without entering it."""

    id: UUID
    name: str
    suspended: bool
    created_at: datetime

    @classmethod
    def of(cls, entry: DirectoryEntry) -> Self:
        return cls(id=entry.practice_id, name=entry.name, suspended=entry.suspended, created_at=entry.created_at)


async def create_practice(practice_id: UUID, cmd: CreatePractice, tx: Tx) -> CreatedPractice:
    """A practice and the invitations of its first users, together. The transaction must be open for ``practice_id``."""
    practice = Practice(
        practice_id=practice_id,
        name=cmd.name,
        time_zone=cmd.time_zone,
        version=1,
        created_at=tx.now,
        suspended=False,
        profile={},
        origins=[],
    )
    tx.session.add_all([practice, DirectoryEntry(practice_id=practice_id, name=cmd.name, created_at=tx.now, suspended=False)])
    await tx.session.flush()
    created = PracticeCreated(new_practice_id=practice_id, name=cmd.name, time_zone=cmd.time_zone, opening_hours=[], holidays=[])
    tx.emit(created, practice_id=practice_id)
    await tell_practice(practice, tx)
    invitations = [await invite(user, tx) for user in cmd.users]
    return CreatedPractice(**PracticeView.of(practice).model_dump(), invitations=invitations)


async def change_practice(practice_id: UUID, cmd: ChangePractice, tx: Tx, *, if_version: int | None) -> PracticeView:
    """Another name or profile. Raises ``PracticeNotFound``, ``VersionMismatch``."""
    practice = await _for_change(practice_id, tx, if_version)
    given = cmd.model_dump(mode="json", exclude_unset=True, exclude_none=True)
    changed = [name for name, value in given.items() if getattr(practice, name) != value]
    if not changed:
        return PracticeView.of(practice)
    for name in changed:
        setattr(practice, name, given[name])
    practice.version += 1
    if "name" in changed:
        listed = await directory_entry(practice_id, tx)
        assert listed is not None
        listed.name = practice.name
    news = PracticeChanged(
        changed_practice_id=practice_id, name=practice.name, time_zone=practice.time_zone, version=practice.version, changed=changed,
        opening_hours=practice.profile.get("opening_hours", []), holidays=practice.profile.get("holidays", []),
    )  # fmt: skip
    tx.emit(news)
    if "origins" in changed:
        await tell_practice(practice, tx)
    return PracticeView.of(practice)


async def suspend_practice(practice_id: UUID, cmd: Suspend, tx: Tx) -> ListedPractice:
    """Nobody of it may act, no run goes on, nothing is sent, from a few seconds from now on; nothing is lost.

    Raises ``PracticeNotFound``, ``PracticeSuspendedAlready``.
    """
    practice = await _for_change(practice_id, tx, None)
    practice.suspend(cmd.reason)
    tx.emit(PracticeSuspended(suspended_practice_id=practice_id, reason=cmd.reason))
    return await _told(practice, tx)


async def reactivate_practice(practice_id: UUID, tx: Tx) -> ListedPractice:
    """What was held goes on. Raises ``PracticeNotFound``, ``PracticeNotSuspended``."""
    practice = await _for_change(practice_id, tx, None)
    practice.reactivate()
    tx.emit(PracticeReactivated(reactivated_practice_id=practice_id))
    return await _told(practice, tx)


async def show_practice(practice_id: UUID, tx: Tx) -> PracticeView:
    """Raises ``PracticeNotFound`` for any practice but the transaction's own."""
    practice = await practice_by_id(practice_id, tx)
    if practice is None:
        raise PracticeNotFound
    return PracticeView.of(practice)


async def _for_change(practice_id: UUID, tx: Tx, if_version: int | None) -> Practice:
    practice = await practice_for_change(practice_id, tx)
    if practice is None or practice_id.int == 0:
        raise PracticeNotFound
    if if_version is not None and practice.version != if_version:
        raise VersionMismatch
    return practice


async def _told(practice: Practice, tx: Tx) -> ListedPractice:
    listed = await directory_entry(practice.practice_id, tx)
    assert listed is not None
    listed.suspended = practice.suspended
    await tell_practice(practice, tx)
    return ListedPractice.of(listed)
