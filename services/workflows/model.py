"""What is remembered of definitions: a workflow with its draft, and its frozen versions."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import DateTime, MetaData
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column

from libs.common.db import Base
from libs.common.errors import Conflict


class NothingPublished(Conflict):
    """The workflow is not published."""


class WorkflowsBase(Base):
    __abstract__ = True
    metadata = MetaData(schema="workflows")


class Workflow(WorkflowsBase):
    """A draft anybody may edit beside the version that is in force."""

    __tablename__ = "workflow"

    practice_id: Mapped[UUID] = mapped_column(primary_key=True)
    id: Mapped[UUID] = mapped_column(primary_key=True)
    name: Mapped[str]
    draft: Mapped[dict[str, Any]] = mapped_column(JSONB)
    version: Mapped[int]
    published_version: Mapped[int | None]
    created_by: Mapped[str]
    created_at: Mapped[datetime] = mapped_column(DateTime(timezone=True))
    updated_at: Mapped[datetime] = mapped_column(DateTime(timezone=True))

    def edit(self, name: str, draft: dict[str, Any], now: datetime) -> None:
        self.name, self.draft, self.updated_at = name, draft, now
        self.version += 1

    def publish(self, now: datetime, actor: str) -> PublishedVersion:
        """Freeze the draft as the next version and put it in force."""
        self.published_version = self.version
        self.updated_at = now
        return PublishedVersion(
            practice_id=self.practice_id, workflow_id=self.id, version=self.version, name=self.name, definition=self.draft,
            published_by=actor, published_at=now,
        )  # fmt: skip

    def unpublish(self, now: datetime) -> int:
        """No version is in force any more; returns the one that was. Raises ``NothingPublished``."""
        if self.published_version is None:
            raise NothingPublished
        was, self.published_version, self.updated_at = self.published_version, None, now
        return was


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
