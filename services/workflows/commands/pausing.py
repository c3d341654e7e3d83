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
from services.workflows.commands.holding import hold_runs
from services.workflows.commands.jobs import Chunk, end_jobs, open_job
from services.workflows.commands.published import PublishedWorkflows
from services.workflows.commands.raising import KEEPS_FAILING, raise_run
from services.workflows.commands.revisions import next_revision
from services.workflows.commands.serial import one_at_a_time
from services.workflows.queries.jobs import job_at_work
from services.workflows.queries.operations import backlog_of, held_runs, pause_of, unheld_count, unheld_runs
from services.workflows.queries.runs import runs_for_change

CHUNK = 50
HELD_AT_ONCE = 500
"""Runs held in one turn: with the request that pauses, then by a job. Nobody else of the practice has a turn meanwhile."""
_PAUSE = "UPDATE workflow SET paused = $3 WHERE practice_id = $1 AND id = $2"
_LET_GO = "UPDATE run SET held = false WHERE practice_id = $1 AND id = ANY($2::uuid[])"


class Backlog(BaseModel):
    """What a paused workflow holds: how many runs, and since when the oldest waits. Resumed, ``job_id`` lets go of them.

    Just paused, ``job_id`` marks them one by one; they stand still from the first moment, and are counted.
    """

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
        await end_jobs("release", workflow_id, tx)  # resumed, another one begins with the first run again
        await hold(workflow_id, tx)
    return await backlog(workflow_id, tx)


async def resume_workflow(workflow_id: UUID, tx: Tx) -> Backlog:
    """New runs begin at once, held ones are let go in chunks. Repeating changes nothing. Raises ``WorkflowNotFound``."""
    await one_at_a_time([tx.practice_id], tx)
    if await pause_of(workflow_id, tx):
        await _set(workflow_id, tx, paused=False)
        await end_jobs("hold", workflow_id, tx)
        await release(workflow_id, tx)
    return await backlog(workflow_id, tx)


async def backlog(workflow_id: UUID, tx: Tx) -> Backlog:
    """Raises ``WorkflowNotFound``."""
    paused = await pause_of(workflow_id, tx)
    if paused is None:
        raise WorkflowNotFound
    found, held = await backlog_of(workflow_id, tx), 0
    job_id = await job_at_work("hold" if paused else "release", workflow_id, tx)
    if paused and job_id is not None:
        held = await unheld_count(workflow_id, tx)
    return Backlog(workflow_id=workflow_id, paused=paused, held=found["held"] + held, oldest=found["oldest"], job_id=job_id)


async def hold(workflow_id: UUID, tx: Tx) -> None:
    """Hold every run of the workflow that is not paused, with its timer: some now, more by a job. In the practice's turn.

    Those that have yet to be held move no more either: ``commands.holding``.
    """
    ids = await unheld_runs(workflow_id, None, HELD_AT_ONCE, tx)
    if ids:
        await hold_runs([(tx.practice_id, run_id) for run_id in ids], tx)
    if len(ids) == HELD_AT_ONCE and await job_at_work("hold", workflow_id, tx) is None:
        left = await unheld_count(workflow_id, tx)
        if left:
            await open_job("hold", {}, left, tx, workflow_id)


async def hold_chunk(job: Mapping[str, Any], limit: int | None, tx: Tx) -> Chunk:
    """The next runs are held. Resumed meanwhile, the rest goes on."""
    if not await pause_of(job["workflow_id"], tx):
        return Chunk(None)
    at_once = 1 if limit is not None else HELD_AT_ONCE
    ids = await unheld_runs(job["workflow_id"], job["after"], at_once, tx)
    if not ids:
        return Chunk(None)
    if limit != 0:
        await hold_runs([(tx.practice_id, run_id) for run_id in ids], tx)
    return Chunk(ids[-1] if len(ids) == at_once else None, 0 if limit == 0 else len(ids))


async def release(workflow_id: UUID, tx: Tx) -> None:
    """A job that lets go of the held runs, unless there are none or one is at it. In the practice's turn."""
    held = (await backlog_of(workflow_id, tx))["held"]
    if held and await job_at_work("release", workflow_id, tx) is None:
        await open_job("release", {}, held, tx, workflow_id)


async def release_chunk(job: Mapping[str, Any], limit: int | None, tx: Tx, *, published: PublishedWorkflows) -> Chunk:
    """The next held runs go on. Paused again meanwhile, the rest stays held. One that cannot is raised, and is tried by the watchdog."""
    if await pause_of(job["workflow_id"], tx):
        return Chunk(None)
    ids = await held_runs(job["workflow_id"], job["after"], 1 if limit is not None else CHUNK, tx)
    if not ids:
        return Chunk(None)
    if limit == 0:
        for row in (await runs_for_change([(tx.practice_id, run_id) for run_id in ids], tx)).values():
            await raise_run(row, "", KEEPS_FAILING, tx.now, tx)
        return Chunk(ids[-1])
    await let_go(ids, published, tx)
    return Chunk(ids[-1] if limit is not None or len(ids) == CHUNK else None, len(ids))


async def let_go(run_ids: list[UUID], published: PublishedWorkflows, tx: Tx) -> None:
    """These held runs go on. In the practice's turn."""
    await tx.execute(_LET_GO, tx.practice_id, run_ids)
    await steer("resume", run_ids, published, tx)


async def _set(workflow_id: UUID, tx: Tx, *, paused: bool) -> None:
    """Every process reads its workflows again before it starts another run."""
    await tx.execute(_PAUSE, tx.practice_id, workflow_id, paused)
    await next_revision(tx)
