"""What is remembered: practices and their members."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from sqlalchemy import DateTime, ForeignKey, MetaData
from sqlalchemy.orm import Mapped, mapped_column

from libs.common.db import Base


class PracticesBase(Base):
    __abstract__ = True
    metadata = MetaData(schema="practices")


class Practice(PracticesBase):
    """A tenant."""

    __tablename__ = "practice"

    practice_id: Mapped[UUID] = mapped_column(primary_key=True)
    name: Mapped[str]
    time_zone: Mapped[str]
    version: Mapped[int]
    created_at: Mapped[datetime] = mapped_column(DateTime(timezone=True))


class DirectoryEntry(PracticesBase):
    """What a Vantage admin may know of a practice without entering it."""

    __tablename__ = "directory"

    practice_id: Mapped[UUID] = mapped_column(primary_key=True)
    name: Mapped[str]
    created_at: Mapped[datetime] = mapped_column(DateTime(timezone=True))


class Member(PracticesBase):
    """Somebody who works in a practice. ``subject`` is the identity provider's id, once known."""

    __tablename__ = "member"

    practice_id: Mapped[UUID] = mapped_column(ForeignKey(Practice.practice_id), primary_key=True)
    id: Mapped[UUID] = mapped_column(primary_key=True)
    subject: Mapped[str | None]
    name: Mapped[str]
    email: Mapped[str]
    role: Mapped[str]
    active: Mapped[bool]
    version: Mapped[int]
    created_at: Mapped[datetime] = mapped_column(DateTime(timezone=True))
