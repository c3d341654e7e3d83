"""Named selects over jobs."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

import asyncpg

from libs.common.work import Tx


async def job_by_id(job_id: UUID, tx: Tx) -> asyncpg.Record | None:
    return await tx.row("SELECT * FROM job WHERE practice_id = $1 AND id = $2", tx.practice_id, job_id)


async def jobs(tx: Tx, *, after: tuple[str, ...] | None, limit: int) -> list[asyncpg.Record]:
    """Newest first; one more than ``limit`` when there is more."""
    return await tx.rows(
        """
        SELECT * FROM job WHERE practice_id = $1 AND ($2::timestamptz IS NULL OR (created_at, id) < ($2, $3::uuid))
        ORDER BY created_at DESC, id DESC LIMIT $4
        """,
        tx.practice_id, datetime.fromisoformat(after[0]) if after else None, UUID(after[1]) if after else None, limit + 1,
    )  # fmt: skip


async def running_job(kind: str, workflow_id: UUID, tx: Tx) -> asyncpg.Record | None:
    """A job of this kind for a workflow that is at work."""
    return await tx.row(
        "SELECT * FROM job WHERE practice_id = $1 AND kind = $2 AND workflow_id = $3 AND status = 'running' ORDER BY id LIMIT 1",
        tx.practice_id, kind, workflow_id,
    )  # fmt: skip


async def job_at_work(kind: str, workflow_id: UUID, tx: Tx) -> UUID | None:
    """The job that holds the workflow's runs, or (``release``) lets go of them."""
    job = await running_job(kind, workflow_id, tx)
    return job["id"] if job is not None else None
