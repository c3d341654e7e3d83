"""The list of workflows as people read it: what each is, and how its runs went."""

from __future__ import annotations

from datetime import datetime
from typing import Self

import asyncpg
from pydantic import BaseModel

from libs.common.work import Tx
from services.workflows.commands.definitions import WorkflowView
from services.workflows.queries.overview import Order, Wanted, overview, workflows_by_id


class RunStats(BaseModel):
    """Of all versions, since the beginning. ``success_rate`` of those that completed or failed; null before the first did."""

    runs: int
    succeeded: int
    failed: int
    cancelled: int
    active: int
    success_rate: float | None
    last_run_at: datetime | None

    @classmethod
    def of(cls, row: asyncpg.Record) -> Self:
        decided = row["completed"] + row["failed"]
        return cls(
            runs=row["started"], succeeded=row["completed"], failed=row["failed"], cancelled=row["cancelled"],
            active=row["started"] - decided - row["cancelled"], success_rate=row["completed"] / decided if decided else None,
            last_run_at=row["last_started_at"],
        )  # fmt: skip


class WorkflowOverview(WorkflowView):
    stats: RunStats


async def list_workflows(
    tx: Tx, wanted: Wanted, order: Order, *, after: tuple[str, ...] | None, limit: int
) -> list[tuple[str, WorkflowOverview]]:
    """Each with its place in the order; one more than ``limit`` when there is more."""
    rows = await overview(tx, wanted, order, after=after, limit=limit)
    known = await workflows_by_id([row["id"] for _, row in rows], tx)
    return [
        (place, WorkflowOverview(**WorkflowView.of(known[row["id"]]).model_dump(), stats=RunStats.of(row)))
        for place, row in rows
        if row["id"] in known
    ]
