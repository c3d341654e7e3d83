"""The workflows of a practice at a glance. Counters are read, runs are not: a list costs the same after a million of them."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any
from uuid import UUID

import asyncpg
from sqlalchemy import select

from libs.common.work import Tx
from services.workflows.model import Workflow, WorkflowStatus

_OVERVIEW = """
SELECT * FROM (
  SELECT w.id, w.name, w.created_at, w.updated_at, coalesce(s.started, 0) AS started, coalesce(s.completed, 0) AS completed,
    coalesce(s.failed, 0) AS failed, coalesce(s.cancelled, 0) AS cancelled, s.last_started_at,
    CASE WHEN w.archived_at IS NOT NULL THEN 'archived' WHEN w.published_version IS NULL THEN 'draft' WHEN w.paused THEN 'paused'
      ELSE 'published' END AS status
  FROM workflow w LEFT JOIN workflow_stats s ON s.practice_id = w.practice_id AND s.workflow_id = w.id
  WHERE w.practice_id = $1 AND ($2::text IS NULL OR coalesce(w.draft -> 'trigger' ->> 'kind', 'event') = $2)
    AND ($3::text IS NULL OR jsonb_path_exists(w.draft -> 'steps', '$.** ? (@.kind == "action" && @.action == $action)', jsonb_build_object('action', $3::text)))
    AND ($4::text IS NULL OR strpos(lower(w.name), lower($4)) > 0)
) o WHERE $5::text IS NULL OR status = $5
"""
_NEVER = datetime(1, 1, 1, tzinfo=UTC)


class TriggerKind(StrEnum):
    EVENT = "event"
    ANCHORED = "anchored"
    SCHEDULE = "schedule"
    MANUAL = "manual"
    WEBHOOK = "webhook"


class Order(StrEnum):
    """By name from A on; by everything else the most, or the newest, first."""

    NAME = "name"
    CREATED = "created"
    UPDATED = "updated"
    LAST_RUN = "last_run"
    RUNS = "runs"
    FAILED = "failed"


@dataclass(frozen=True)
class Wanted:
    """Which workflows; what is None does not matter. ``search`` is a part of the name, large and small letters alike."""

    status: WorkflowStatus | None = None
    trigger: TriggerKind | None = None
    action: str | None = None
    search: str | None = None


_KEYS: dict[Order, Callable[[asyncpg.Record], str]] = {
    Order.NAME: lambda row: str(row["name"]),
    Order.CREATED: lambda row: row["created_at"].isoformat(timespec="microseconds"),
    Order.UPDATED: lambda row: row["updated_at"].isoformat(timespec="microseconds"),
    Order.LAST_RUN: lambda row: (row["last_started_at"] or _NEVER).isoformat(timespec="microseconds"),
    Order.RUNS: lambda row: f"{row['started']:019d}",
    Order.FAILED: lambda row: f"{row['failed']:019d}",
}
"""What a position in the list consists of, as text that sorts the same way."""


async def overview(tx: Tx, wanted: Wanted, order: Order, *, after: tuple[str, ...] | None, limit: int) -> list[tuple[str, asyncpg.Record]]:
    """Rows with their place in the order; one more than ``limit`` when there is more. ``after`` is the place and id of a row."""
    rows = await tx.rows(_OVERVIEW, tx.practice_id, wanted.trigger, wanted.action, wanted.search, wanted.status)
    placed = sorted(((_KEYS[order](row), row) for row in rows), key=_place, reverse=order is not Order.NAME)
    if after is not None:
        here = (after[0], after[1])
        placed = [one for one in placed if (_place(one) > here if order is Order.NAME else _place(one) < here)]
    return placed[: limit + 1]


def _place(one: tuple[str, asyncpg.Record]) -> tuple[str, str]:
    return one[0], str(one[1]["id"])


async def workflows_by_id(ids: Iterable[UUID], tx: Tx) -> dict[UUID, Any]:
    query = select(Workflow).where(Workflow.practice_id == tx.practice_id, Workflow.id.in_(list(ids)))
    return {workflow.id: workflow for workflow in (await tx.session.execute(query)).scalars()}
