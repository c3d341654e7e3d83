"""What is remembered of definitions: a workflow with its draft, and its frozen versions."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Any
from uuid import UUID

from sqlalchemy import DateTime, MetaData
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column

from libs.common.db import Base
from libs.common.errors import Conflict


class NothingPublished(Conflict):
    """The workflow is not published."""


class WorkflowIsArchived(Conflict):
    """The workflow is archived; restore it first."""


class WorkflowNotArchived(Conflict):
    """The workflow is not archived."""


class WorkflowStatus(StrEnum):
    DRAFT = "draft"
    PUBLISHED = "published"
    PAUSED = "paused"
    ARCHIVED = "archived"


class WorkflowsBase(Base):
    __abstract__ = True
    metadata = MetaData(schema="workflows")


class Workflow(WorkflowsBase):
    """A draft anybody may edit beside the version that is in force. An archived one has none in force and does not change."""

    __tablename__ = "workflow"

    practice_id: Mapped[UUID] = mapped_column(primary_key=True)
    id: Mapped[UUID] = mapped_column(primary_key=True)
    name: Mapped[str]
    draft: Mapped[dict[str, Any]] = mapped_column(JSONB)
    version: Mapped[int]
    published_version: Mapped[int | None]
    paused: Mapped[bool]
    created_by: Mapped[str]
    created_at: Mapped[datetime] = mapped_column(DateTime(timezone=True))
    updated_at: Mapped[datetime] = mapped_column(DateTime(timezone=True))
    archived_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    last_published_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    last_published_by: Mapped[str | None]

    @classmethod
    def new(cls, practice_id: UUID, workflow_id: UUID, name: str, draft: dict[str, Any], actor: str, now: datetime) -> Workflow:
        return cls(
            practice_id=practice_id, id=workflow_id, name=name, draft=draft, version=1, published_version=None, paused=False,
            created_by=actor, created_at=now, updated_at=now, archived_at=None, last_published_at=None, last_published_by=None,
        )  # fmt: skip

    @property
    def status(self) -> WorkflowStatus:
        if self.archived_at is not None:
            return WorkflowStatus.ARCHIVED
        if self.published_version is None:
            return WorkflowStatus.DRAFT
        return WorkflowStatus.PAUSED if self.paused else WorkflowStatus.PUBLISHED

    def edit(self, name: str, draft: dict[str, Any], now: datetime) -> None:
        """Raises ``WorkflowIsArchived``."""
        self._still_used()
        self.name, self.draft, self.updated_at = name, draft, now
        self.version += 1

    def publish(self, now: datetime, actor: str, note: str | None = None) -> PublishedVersion:
        """Freeze the draft as the next version and put it in force. Raises ``WorkflowIsArchived``."""
        self._still_used()
        self.published_version = self.version
        self.updated_at = self.last_published_at = now
        self.last_published_by = actor
        return PublishedVersion(
            practice_id=self.practice_id, workflow_id=self.id, version=self.version, name=self.name, definition=self.draft,
            published_by=actor, published_at=now, note=note,
        )  # fmt: skip

    def unpublish(self, now: datetime) -> int:
        """No version is in force any more; returns the one that was. Raises ``NothingPublished``."""
        if self.published_version is None:
            raise NothingPublished
        was, self.published_version, self.updated_at = self.published_version, None, now
        return was

    def archive(self, now: datetime) -> int | None:
        """Put away; returns the version that was in force. Raises ``WorkflowIsArchived`` when it was put away before."""
        self._still_used()
        was = self.unpublish(now) if self.published_version is not None else None
        self.archived_at = self.updated_at = now
        return was

    def restore(self, now: datetime) -> None:
        """Take out again, as a draft. Raises ``WorkflowNotArchived``."""
        if self.archived_at is None:
            raise WorkflowNotArchived
        self.archived_at, self.updated_at = None, now

    def _still_used(self) -> None:
        if self.archived_at is not None:
            raise WorkflowIsArchived


class PublishedVersion(WorkflowsBase):
    """A definition as it was published; never changed."""

    __tablename__ = "workflow_version"

    practice_id: Mapped[UUID] = mapped_column(primary_key=True)
    workflow_id: Mapped[UUID] = mapped_column(primary_key=True)
    version: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str]
    definition: Mapped[dict[str, Any]] = mapped_column(JSONB)
    published_by: Mapped[str]
    published_at: Mapped[datetime] = mapped_column(DateTime(timezone=True))
    note: Mapped[str | None]
