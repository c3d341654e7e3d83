"""What is remembered: practices, their members and invitations, API keys, entries."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Any
from uuid import UUID

from sqlalchemy import ARRAY, DateTime, ForeignKey, MetaData, Text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column

from libs.common.db import Base
from libs.common.errors import Conflict

Moment = DateTime(timezone=True)


class PracticeSuspendedAlready(Conflict):
    """The practice is suspended already."""


class PracticeNotSuspended(Conflict):
    """The practice is not suspended."""


class PracticesBase(Base):
    __abstract__ = True
    metadata = MetaData(schema="practices")


class Practice(PracticesBase):
    """A tenant. ``profile`` as ``commands.practices.Profile`` writes it."""

    __tablename__ = "practice"

    practice_id: Mapped[UUID] = mapped_column(primary_key=True)
    name: Mapped[str]
    time_zone: Mapped[str]
    version: Mapped[int]
    created_at: Mapped[datetime] = mapped_column(Moment)
    suspended: Mapped[bool] = mapped_column(default=False)
    suspended_reason: Mapped[str | None]
    profile: Mapped[dict[str, Any]] = mapped_column(JSONB, default=dict)
    origins: Mapped[list[str]] = mapped_column(ARRAY(Text), default=list)

    def suspend(self, reason: str) -> None:
        if self.suspended:
            raise PracticeSuspendedAlready
        self.suspended, self.suspended_reason, self.version = True, reason, self.version + 1

    def reactivate(self) -> None:
        if not self.suspended:
            raise PracticeNotSuspended
        self.suspended, self.suspended_reason, self.version = False, None, self.version + 1


class DirectoryEntry(PracticesBase):
    """What a Vantage admin may know of a practice without entering it."""

    __tablename__ = "directory"

    practice_id: Mapped[UUID] = mapped_column(primary_key=True)
    name: Mapped[str]
    created_at: Mapped[datetime] = mapped_column(Moment)
    suspended: Mapped[bool] = mapped_column(default=False)


class Status(StrEnum):
    """A member's way: invited, then active; deactivated and back; or revoked before accepting."""

    INVITED = "invited"
    ACTIVE = "active"
    DEACTIVATED = "deactivated"
    REVOKED = "revoked"


class Member(PracticesBase):
    """Somebody who works in a practice. ``subject`` is the identity provider's id, once known.

    ``provider_at``: the newest state of the identity provider that was applied. ``ended_by``: who deactivated.
    """

    __tablename__ = "member"

    practice_id: Mapped[UUID] = mapped_column(ForeignKey(Practice.practice_id), primary_key=True)
    id: Mapped[UUID] = mapped_column(primary_key=True)
    subject: Mapped[str | None]
    name: Mapped[str]
    email: Mapped[str]
    role: Mapped[str]
    status: Mapped[str]
    version: Mapped[int]
    created_at: Mapped[datetime] = mapped_column(Moment)
    ended_by: Mapped[str | None]
    provider_at: Mapped[datetime | None] = mapped_column(Moment)

    @property
    def active(self) -> bool:
        return self.status == Status.ACTIVE


class Invitation(PracticesBase):
    """An open question to join. Ends by itself at ``expires_at``; ``problem`` says why it could not be sent."""

    __tablename__ = "invitation"

    practice_id: Mapped[UUID] = mapped_column(primary_key=True)
    user_id: Mapped[UUID] = mapped_column(primary_key=True)
    invited_by: Mapped[str]
    expires_at: Mapped[datetime] = mapped_column(Moment)
    asked_at: Mapped[datetime] = mapped_column(Moment)
    sent_at: Mapped[datetime | None] = mapped_column(Moment)
    sent_count: Mapped[int] = mapped_column(default=0)
    problem: Mapped[str | None]


class ApiKey(PracticesBase):
    """An integrator's key; only its digest is kept. It counts until ``expires_at`` or ``ends_at``, whichever comes first."""

    __tablename__ = "api_key"

    practice_id: Mapped[UUID] = mapped_column(primary_key=True)
    id: Mapped[UUID] = mapped_column(primary_key=True)
    name: Mapped[str]
    prefix: Mapped[str]
    digest: Mapped[bytes]
    scopes: Mapped[list[str]] = mapped_column(ARRAY(Text))
    addresses: Mapped[list[str]] = mapped_column(ARRAY(Text))
    created_by: Mapped[str]
    created_at: Mapped[datetime] = mapped_column(Moment)
    expires_at: Mapped[datetime | None] = mapped_column(Moment)
    ends_at: Mapped[datetime | None] = mapped_column(Moment)
    last_used_at: Mapped[datetime | None] = mapped_column(Moment)
    replaces: Mapped[UUID | None]

    def counts_at(self, moment: datetime) -> bool:
        return all(end is None or moment < end for end in (self.expires_at, self.ends_at))


class Entry(PracticesBase):
    """A Vantage admin's time inside a practice."""

    __tablename__ = "admin_entry"

    practice_id: Mapped[UUID] = mapped_column(primary_key=True)
    id: Mapped[UUID] = mapped_column(primary_key=True)
    user_id: Mapped[UUID]
    identity: Mapped[str]
    reason: Mapped[str]
    opened_at: Mapped[datetime] = mapped_column(Moment)
    expires_at: Mapped[datetime] = mapped_column(Moment)
    version: Mapped[int]
