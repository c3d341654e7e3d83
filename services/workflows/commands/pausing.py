"""Pause and resume a whole workflow. Paused, its runs are held and new ones begin held: nothing is lost, and the backlog can be seen.

Resumed, held runs are let go oldest first, in chunks, each by what its step says of times that are over. A run somebody
paused by itself stays paused.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any
from uuid import UUID

from pydantic import BaseModel

from libs.common.work import Tx
from services.workflows.commands.controls import steer
from services.workflows.commands.definitions import WorkflowNotFound
from services.workflows.commands.handover import call
from services.workflows.commands.jobs import Chunk, open_job
from services.workflows.commands.published import PublishedWorkflows
from services.workflows.commands.revisions import next_revision
from services.workflows.commands.serial import one_at_a_time
from services.workflows.queries.jobs import releasing
from services.workflows.queries.operations import backlog_of, durable_runs, held_runs, pause_of

CHUNK = 50
_PAUSE = "UPDATE workflow SET paused = $3 WHERE practice_id = $1 AND id = $2"
_HOLD = """
WITH taken AS (
  UPDATE run SET paused = true, held = true WHERE practice_id = $1 AND workflow_id = $2 AND status = 'running' AND NOT paused RETURNING id
), ours AS (UPDATE timer SET held = true FROM taken WHERE timer.practice_id = $1 AND timer.run_id = taken.id)
UPDATE durable_timer SET held = true FROM taken WHERE durable_timer.practice_id = $1 AND durable_timer.run_id = taken.id
"""
_LET_GO = "UPDATE run SET held = false WHERE practice_id = $1 AND id = ANY($2::uuid[])"


class Backlog(BaseModel):
    """What a paused workflow holds: how many runs, and since when the oldest waits. ``job_id`` lets go of them."""

    workflow_id: UUID
    paused: bool
    held: int
    oldest: datetime | None
    job_id: UUID | None


async def pause_workflow(workflow_id: UUID, tx: Tx) -> Backlog:
    """Nothing of it begins any more until it is resumed; answers still count. Repeating changes nothing. Raises ``WorkflowNotFound``."""
    await one_at_a_time([tx.practice_id], tx)
    if await pause_of(workflow_id, tx) is False:
        await _set(workflow_id, tx, paused=True)
        await hold(workflow_id, tx)
    return await backlog(workflow_id, tx)


async def resume_workflow(workflow_id: UUID, tx: Tx) -> Backlog:
    """New runs begin at once, held ones are let go in chunks. Repeating changes nothing. Raises ``WorkflowNotFound``."""
    await one_at_a_time([tx.practice_id], tx)
    if await pause_of(workflow_id, tx):
        await _set(workflow_id, tx, paused=False)
        await release(workflow_id, tx)
    return await backlog(workflow_id, tx)


async def backlog(workflow_id: UUID, tx: Tx) -> Backlog:
    """Raises ``WorkflowNotFound``."""
    paused = await pause_of(workflow_id, tx)
    if paused is None:
        raise WorkflowNotFound
    found = await backlog_of(workflow_id, tx)
    job_id = await releasing(workflow_id, tx)
    return Backlog(workflow_id=workflow_id, paused=paused, held=found["held"], oldest=found["oldest"], job_id=job_id)


async def hold(workflow_id: UUID, tx: Tx) -> None:
    """Hold every run of the workflow that is not paused, with its timer. In the practice's turn."""
    durable = await durable_runs(workflow_id, tx)
    await tx.execute(_HOLD, tx.practice_id, workflow_id)
    if durable:  # their engine sees where they stand
        await call([(tx.practice_id, run_id) for run_id in durable], tx)


async def release(workflow_id: UUID, tx: Tx) -> None:
    """A job that lets go of the held runs, unless there are none or one is at it. In the practice's turn."""
    held = (await backlog_of(workflow_id, tx))["held"]
    if held and await releasing(workflow_id, tx) is None:
        await open_job("release", {}, held, tx, workflow_id)


async def release_chunk(job: Mapping[str, Any], limit: int | None, tx: Tx, *, published: PublishedWorkflows) -> Chunk:
    """The next held runs go on. Paused again meanwhile, the rest stays held."""
    if await pause_of(job["workflow_id"], tx):
        return Chunk(None)
    ids = await held_runs(job["workflow_id"], job["after"], 1 if limit is not None else CHUNK, tx)
    if not ids:
        return Chunk(None)
    if limit == 0:
        return Chunk(ids[-1])
    await tx.execute(_LET_GO, tx.practice_id, ids)
    await steer("resume", ids, published, tx)
    return Chunk(ids[-1] if limit is not None or len(ids) == CHUNK else None, len(ids))


async def _set(workflow_id: UUID, tx: Tx, *, paused: bool) -> None:
    """Every process reads its workflows again before it starts another run."""
    await tx.execute(_PAUSE, tx.practice_id, workflow_id, paused)
    await next_revision(tx)
