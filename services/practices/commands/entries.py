"""Do: let a Vantage admin into a practice, for a reason and a time; the practice sees it."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Annotated, Self
from uuid import UUID

from pydantic import BaseModel, Field

from libs.common.access import NotAMember
from libs.common.command import Command, Line
from libs.common.errors import NotFound
from libs.common.work import Tx
from libs.contracts.envelope import PLATFORM
from services.practices.commands.access import tell_entry
from services.practices.commands.practices import PracticeNotFound
from services.practices.model import Entry, Member
from services.practices.queries import entry_by_id, practice_by_id


class EntryNotFound(NotFound):
    """No such entry."""


class OpenEntry(Command):
    """``reason`` is shown to the practice: no patient's name belongs in it."""

    reason: Annotated[Line, Field(min_length=10)]
    minutes: Annotated[int, Field(ge=1, le=240)] = 60


class EntryView(BaseModel):
    """A Vantage admin's time inside the practice. Times are UTC."""

    id: UUID
    user_id: UUID
    reason: str
    opened_at: datetime
    expires_at: datetime

    @classmethod
    def of(cls, entry: Entry) -> Self:
        return cls.model_validate(entry, from_attributes=True)


async def open_entry(practice_id: UUID, cmd: OpenEntry, tx: Tx) -> EntryView:
    """Raises ``PracticeNotFound``."""
    if practice_id == PLATFORM or await practice_by_id(practice_id, tx) is None:
        raise PracticeNotFound
    admin = await tx.session.get(Member, (PLATFORM, UUID(tx.principal.id)))
    if admin is None or admin.subject is None:
        raise NotAMember
    entry = Entry(
        practice_id=practice_id, id=tx.new_id(), user_id=admin.id, identity=admin.subject, reason=cmd.reason, opened_at=tx.now,
        expires_at=tx.now + timedelta(minutes=cmd.minutes), version=1,
    )  # fmt: skip
    tx.session.add(entry)
    await tell_entry(entry, tx)
    return EntryView.of(entry)


async def close_entry(entry_id: UUID, tx: Tx) -> EntryView:
    """It ends now; one that has ended stays as it is. Raises ``EntryNotFound``."""
    entry = await entry_by_id(entry_id, tx)
    if entry is None:
        raise EntryNotFound
    if entry.expires_at > tx.now:
        entry.expires_at, entry.version = tx.now, entry.version + 1
        await tell_entry(entry, tx)
    return EntryView.of(entry)
