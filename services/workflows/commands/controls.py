"""What people do to runs: cancel, pause, resume, try again. Each takes the practice's turn first, so it meets a run at rest.

It takes effect in the transaction of who asks, on either engine: they see it done. A run of the durable engine first takes up
what was handed over to it, and is called afterwards so that its orchestrator sees where it stands.
"""

from __future__ import annotations

from uuid import UUID

from libs.common.errors import Conflict
from libs.common.work import Tx
from services.workflows.commands.arrivals import bring_to_rest
from services.workflows.commands.durable import take_up
from services.workflows.commands.handover import call
from services.workflows.commands.published import PublishedWorkflows
from services.workflows.commands.runs import RunHasEnded, RunNotFound, move_runs
from services.workflows.commands.serial import one_at_a_time
from services.workflows.queries.runs import runs_for_change
from services.workflows.rules.orchestration import BUILTIN
from services.workflows.rules.states import Cancelled, Input, Paused, Resumed, Retried, Status

_HOLD = """
WITH ours AS (UPDATE timer SET held = $3 WHERE practice_id = $1 AND run_id = $2)
UPDATE durable_timer SET held = $3 WHERE practice_id = $1 AND run_id = $2
"""
_WAITS_OVER = """
UPDATE step SET status = 'cancelled', finished_at = $3 WHERE practice_id = $1 AND run_id = $2 AND status IN ('waiting', 'retrying')
"""


class RunHasNotFailed(Conflict):
    """Only a run that failed can be tried again."""


class NothingToRetry(Conflict):
    """The run failed before its first step, or too often: run it again from what started it."""


async def cancel_run(run_id: UUID, published: PublishedWorkflows, tx: Tx) -> None:
    """Stop a run; what was asked for already is not taken back. Raises ``RunNotFound``, ``RunHasEnded``."""
    await _input(run_id, Cancelled(), published, tx)
    await tx.execute(_WAITS_OVER, tx.practice_id, run_id, tx.now)


async def pause_run(run_id: UUID, published: PublishedWorkflows, tx: Tx) -> None:
    """Begin nothing more until resumed; answers still count. Repeating changes nothing. Raises ``RunNotFound``, ``RunHasEnded``."""
    await _input(run_id, Paused(), published, tx)
    await tx.execute(_HOLD, tx.practice_id, run_id, True)


async def resume_run(run_id: UUID, published: PublishedWorkflows, tx: Tx) -> None:
    """Go on. A time that passed meanwhile counts as past due. Raises ``RunNotFound``, ``RunHasEnded``."""
    await _input(run_id, Resumed(), published, tx)
    await tx.execute(_HOLD, tx.practice_id, run_id, False)


async def retry_run(run_id: UUID, published: PublishedWorkflows, tx: Tx) -> None:
    """Try the step that failed again, as a new attempt. Raises ``RunNotFound``, ``RunHasNotFailed``, ``NothingToRetry``."""
    if not await _input(run_id, Retried(), published, tx, status=Status.FAILED):
        raise NothingToRetry


async def _input(run_id: UUID, event: Input, published: PublishedWorkflows, tx: Tx, status: Status = Status.RUNNING) -> bool:
    """Whether the input changed anything."""
    key = (tx.practice_id, run_id)
    await one_at_a_time([tx.practice_id], tx)
    found = await runs_for_change([key], tx)
    if key not in found:
        raise RunNotFound
    durable = found[key]["engine"] != BUILTIN
    if durable:
        await take_up(key, published, tx)
        found = await runs_for_change([key], tx)
    if found[key]["status"] != status:
        raise RunHasEnded if status is Status.RUNNING else RunHasNotFailed
    changes = await move_runs([(key, event, tx.cause)], published, tx)
    await bring_to_rest(changes, published, tx)
    if durable:
        await call([key], tx)
        tx.after_commit(published.orchestration.hint)
    return bool(changes)
