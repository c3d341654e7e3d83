"""Jobs: something to do to many runs or patients, in chunks, with progress that can be looked at and stopped.

A turn does one chunk of one job and notes how far it came in the same transaction: dying anywhere repeats nothing and
leaves nothing out. A chunk that fails is done one by one, so that one bad item is counted and does not stop the others.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Literal, Self
from uuid import UUID

from pydantic import BaseModel

from libs.common.auth import Principal
from libs.common.errors import NotFound
from libs.common.logging import get_logger
from libs.common.work import Tx, Work, json_text
from services.workflows.commands.serial import one_at_a_time
from services.workflows.queries.jobs import job_by_id

log = get_logger()

PACE = timedelta(milliseconds=250)
"""Between two chunks of one job: live runs go first."""

AT_ONCE = 50
ONE_BY_ONE = 100
"""Turns of one item each, after a chunk failed."""

SYSTEM = Principal.system("jobs")
_AWAKE = "practice_id <> ALL (ARRAY(SELECT practice_id FROM access_practice WHERE suspended))"
_DUE = f"""
SELECT practice_id, job_id FROM (
  SELECT DISTINCT ON (practice_id) practice_id, job_id, due_at FROM job_due WHERE due_at <= $1 AND {_AWAKE} ORDER BY practice_id, due_at
) oldest ORDER BY due_at LIMIT $2
"""
_NEXT = f"SELECT min(due_at) FROM job_due WHERE {_AWAKE}"
_TAKE = """
SELECT j.* FROM job_due d JOIN job j ON j.practice_id = d.practice_id AND j.id = d.job_id
WHERE d.practice_id = $1 AND d.job_id = $2 AND d.due_at <= $3 FOR UPDATE OF d SKIP LOCKED
"""
_OPEN = """
INSERT INTO job (practice_id, id, kind, workflow_id, wish, status, total, created_by, created_at, updated_at)
VALUES ($1, $2, $3, $4, $5, 'running', $6, $7, $8, $8) RETURNING *
"""
_QUEUE = "INSERT INTO job_due (practice_id, job_id, due_at) VALUES ($1, $2, $3)"
_LEAVE = "DELETE FROM job_due WHERE practice_id = $1 AND job_id = $2"
_LATER = "UPDATE job_due SET due_at = $3 WHERE practice_id = $1 AND job_id = $2"
_NOTE = """
UPDATE job SET after = $3, done = done + $4, passed = passed + $5, failed = failed + $6, updated_at = $7,
  status = CASE WHEN $8 THEN 'finished' ELSE status END, finished_at = CASE WHEN $8 THEN $7::timestamptz END
WHERE practice_id = $1 AND id = $2
"""
_END = """
WITH ended AS (
  UPDATE job SET status = 'cancelled', updated_at = $4, finished_at = $4
  WHERE practice_id = $1 AND kind = $2 AND workflow_id = $3 AND status = 'running' RETURNING practice_id, id
) DELETE FROM job_due d USING ended e WHERE d.practice_id = e.practice_id AND d.job_id = e.id
"""
_STOP = "UPDATE job SET status = 'cancelled', updated_at = $3, finished_at = $3 WHERE practice_id = $1 AND id = $2 AND status = 'running'"

POSTPONED = timedelta(seconds=15)

Kind = Literal["start", "runs", "release", "include"]


class Postponed(Exception):
    """What the next chunk depends on is on its way: the job comes again a little later, from where it is."""


class JobNotFound(NotFound):
    """No such job."""


class JobView(BaseModel):
    """Something done to many, and how far it is. ``passed``: looked at and left as they were. Times are UTC.

    ``total`` was counted when it began; what came or ended since may make it differ from what was done.
    """

    id: UUID
    kind: str
    workflow_id: UUID | None
    wish: dict[str, Any]
    status: str
    total: int
    done: int
    passed: int
    failed: int
    created_by: str
    created_at: datetime
    updated_at: datetime
    finished_at: datetime | None

    @classmethod
    def of(cls, row: Mapping[str, Any]) -> Self:
        return cls.model_validate(dict(row))


@dataclass(frozen=True)
class Chunk:
    """What a chunk came to. ``after`` is where the next one goes on; None when there is none."""

    after: UUID | None
    done: int = 0
    passed: int = 0


Do = Callable[[Mapping[str, Any], int | None, Tx], Awaitable[Chunk]]
"""A job's row and how many: None for as many as suit it, 1 for the next one, 0 to pass the next one by. In the practice's turn."""


async def open_job(kind: Kind, wish: Mapping[str, Any], total: int, tx: Tx, workflow_id: UUID | None = None) -> JobView:
    """Begins with the commit, at once."""
    row = await tx.row(
        _OPEN, tx.practice_id, tx.new_id(), kind, workflow_id, json_text(dict(wish)), total, tx.principal.actor, tx.now
    )  # fmt: skip
    assert row is not None
    await tx.execute(_QUEUE, tx.practice_id, row["id"], tx.now)
    return JobView.of(row)


async def show_job(job_id: UUID, tx: Tx) -> JobView:
    """Raises ``JobNotFound``."""
    row = await job_by_id(job_id, tx)
    if row is None:
        raise JobNotFound
    return JobView.of(row)


async def stop_job(job_id: UUID, tx: Tx) -> JobView:
    """Do no more of it; what was done stays. Repeating changes nothing. Raises ``JobNotFound``."""
    await one_at_a_time([tx.practice_id], tx)
    await tx.execute(_STOP, tx.practice_id, job_id, tx.now)
    await tx.execute(_LEAVE, tx.practice_id, job_id)
    return await show_job(job_id, tx)


async def end_jobs(kind: Kind, workflow_id: UUID, tx: Tx) -> None:
    """Do no more of this kind for a workflow; what was done stays. In the practice's turn."""
    await tx.execute(_END, tx.practice_id, kind, workflow_id, tx.now)


async def work_on(work: Work, do: Mapping[str, Do]) -> int:
    """One turn for each practice with a due job, the oldest first; returns how many were taken."""
    async with work.batch([], SYSTEM) as tx:
        due = await tx.rows(_DUE, tx.now, AT_ONCE)
    return sum([await _turn(row["practice_id"], row["job_id"], work, do) for row in due])


async def seconds_until_next(work: Work) -> float | None:
    """When the next job wants a turn; None when there is none."""
    async with work.batch([], SYSTEM) as tx:
        due = await tx.value(_NEXT)
        return None if due is None else max(0.02, (due - tx.now).total_seconds())


async def _turn(practice_id: UUID, job_id: UUID, work: Work, do: Mapping[str, Do]) -> int:
    try:
        return await _chunk(practice_id, job_id, None, work, do)
    except Postponed:
        async with work.batch([practice_id], SYSTEM) as tx:
            await tx.execute(_LATER, practice_id, job_id, tx.now + POSTPONED)
        return 1
    except Exception as error:  # one of them is bad: each alone, so that only that one suffers
        log.warning("job.split", job_id=str(job_id), exc_info=error)
    for _ in range(ONE_BY_ONE):
        try:
            taken = await _chunk(practice_id, job_id, 1, work, do)
        except Exception as error:  # counted as failed, and passed by
            log.error("job.failed_item", job_id=str(job_id), exc_info=error)
            taken = await _chunk(practice_id, job_id, 0, work, do)
        if not taken:
            break
    return 1


async def _chunk(practice_id: UUID, job_id: UUID, limit: int | None, work: Work, do: Mapping[str, Do]) -> int:
    async with work.batch([practice_id], SYSTEM) as tx:
        await one_at_a_time([practice_id], tx)
        tx.settle(practice_id)
        job = await tx.row(_TAKE, practice_id, job_id, tx.now)
        if job is None:
            return 0
        chunk = await do[job["kind"]](job, limit, tx)
        over = chunk.after is None
        failed = int(limit == 0 and not over)
        await tx.execute(
            _NOTE, practice_id, job_id, job["after"] if over else chunk.after, chunk.done, chunk.passed, failed, tx.now, over
        )  # fmt: skip
        if over:
            await tx.execute(_LEAVE, practice_id, job_id)
        else:
            await tx.execute(_LATER, practice_id, job_id, tx.now + PACE if limit is None else tx.now)
        return 1
