"""What people do to runs: cancel, pause, resume, try again. Each takes the practice's turn first, so it meets a run at rest.

A verb acts on those runs it fits and leaves the others as they are, so that doing it again changes nothing.
It takes effect in the transaction of who asks, on either engine: they see it done. A run of the durable engine first takes up
what was handed over to it, and is called afterwards so that its orchestrator sees where it stands.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal
from uuid import UUID

from libs.common.errors import Conflict, Trouble
from libs.common.work import Tx
from services.workflows.commands.arrivals import bring_to_rest
from services.workflows.commands.durable import take_up
from services.workflows.commands.handover import call
from services.workflows.commands.holding import runs_to_move
from services.workflows.commands.published import PublishedWorkflows
from services.workflows.commands.retrying import hold_tried, tries
from services.workflows.commands.runs import RunHasEnded, RunNotFound, move_runs
from services.workflows.commands.serial import one_at_a_time
from services.workflows.queries.operations import active_pairs, pause_of, suppressed_among
from services.workflows.queries.runs import runs_for_change
from services.workflows.queries.world import Key
from services.workflows.rules.runs.orchestration import BUILTIN
from services.workflows.rules.runs.states import NEVER_BEGAN, Cancelled, Input, Paused, Resumed, Retried, Status

Verb = Literal["cancel", "pause", "resume", "retry"]
_HOLD = """
WITH ours AS (UPDATE timer SET held = $3 WHERE practice_id = $1 AND run_id = ANY($2::uuid[]))
UPDATE durable_timer SET held = $3 WHERE practice_id = $1 AND run_id = ANY($2::uuid[])
"""
_OWN_PAUSE = "UPDATE run SET held = false WHERE practice_id = $1 AND id = ANY($2::uuid[])"
_WITH_ITS_WORKFLOW = "UPDATE run SET held = true WHERE practice_id = $1 AND id = ANY($2::uuid[])"
_WAITS_OVER = """
UPDATE step SET status = 'cancelled', finished_at = $3
WHERE practice_id = $1 AND run_id = ANY($2::uuid[]) AND status IN ('waiting', 'retrying')
"""


class RunHasNotFailed(Conflict):
    """Only a run that failed at a step can be tried again; one that failed before its first step can be run again."""


class WorkflowIsPaused(Conflict):
    """The run is held because its workflow is paused; resume the workflow."""


class AnotherRunIsActive(Conflict):
    """The workflow lets a patient through once at a time, and another run of this patient goes on; end that one, or wait for its end."""


@dataclass(frozen=True)
class _Rule:
    """What a verb gives a run, which runs it fits, which it is true of already, and what it says to the others."""

    event: Input
    fits: Callable[[Mapping[str, Any]], bool]
    already: Callable[[Mapping[str, Any]], bool]
    refusal: type[Trouble]


def _running(row: Mapping[str, Any]) -> bool:
    return bool(row["status"] == Status.RUNNING)


def _failed_on_its_way(row: Mapping[str, Any]) -> bool:
    """What failed before its first step was refused for a reason that a second try would pass over."""
    return bool(row["status"] == Status.FAILED and (row["failed_step"] is not None or 0 < row["cursor"] < NEVER_BEGAN))


RULES: dict[Verb, _Rule] = {
    "cancel": _Rule(Cancelled(), _running, lambda row: row["status"] == Status.CANCELLED, RunHasEnded),
    "pause": _Rule(Paused(), lambda row: _running(row) and (row["held"] or not row["paused"]), _running, RunHasEnded),
    "resume": _Rule(Resumed(), lambda row: _running(row) and row["paused"] and not row["held"], _running, RunHasEnded),
    "retry": _Rule(Retried(), _failed_on_its_way, lambda _: False, RunHasNotFailed),
}


class PatientSuppressed(Conflict):
    """The run's patient is on the suppression list: nothing more is done for them."""


class NothingToRetry(Conflict):
    """The run failed before its first step, or too often: run it again from what started it."""


async def cancel_run(run_id: UUID, published: PublishedWorkflows, tx: Tx) -> None:
    """Stop a run; what was asked for already is not taken back. Repeating changes nothing. Raises ``RunNotFound``, ``RunHasEnded``."""
    await _one("cancel", run_id, published, tx)


async def pause_run(run_id: UUID, published: PublishedWorkflows, tx: Tx) -> None:
    """Begin nothing more until resumed; answers still count. Repeating changes nothing. Raises ``RunNotFound``, ``RunHasEnded``.

    A run held with its workflow stays paused when the workflow goes on.
    """
    await _one("pause", run_id, published, tx)


async def resume_run(run_id: UUID, published: PublishedWorkflows, tx: Tx) -> None:
    """Go on. A time that passed meanwhile counts as past due. Repeating changes nothing. While its workflow is paused it is held with it.

    Raises ``RunNotFound``, ``RunHasEnded``, ``WorkflowIsPaused``.
    """
    await _one("resume", run_id, published, tx)


async def retry_run(run_id: UUID, published: PublishedWorkflows, tx: Tx) -> None:
    """Try the step that failed again, as a new attempt; held while the workflow is paused. A run that would have ended meanwhile ends.

    Raises ``RunNotFound``, ``RunHasNotFailed``, ``NothingToRetry``, ``PatientSuppressed``; ``AnotherRunIsActive`` where enrolment is once while active and
    the patient came in again since: two runs side by side are what its author ruled out.
    """
    if not await _one("retry", run_id, published, tx):
        raise NothingToRetry


async def steer(verb: Verb, run_ids: list[UUID], published: PublishedWorkflows, tx: Tx) -> int:
    """Do this to those of the runs it fits; returns how many moved. In the practice's turn."""
    found = await _at_rest([(tx.practice_id, run_id) for run_id in run_ids], published, tx)
    fitting = {key: row for key, row in found.items() if RULES[verb].fits(row)}
    if verb == "retry":
        suppressed = await suppressed_among([patient_of(row) for row in fitting.values()], tx)
        fitting = {key: row for key, row in fitting.items() if patient_of(row) not in suppressed}
        fitting = await _without_rivals(fitting, published, tx)
    return await _do(verb, fitting, published, tx)


async def stop(run_ids: list[UUID], reason: str, published: PublishedWorkflows, tx: Tx) -> None:
    """End these runs before they take up anything more, on either engine; ``reason`` becomes their error code. In the practice's turn."""
    found = await runs_for_change([(tx.practice_id, run_id) for run_id in run_ids], tx)
    await _end(Cancelled(reason), found, published, tx)


def patient_of(row: Mapping[str, Any]) -> Key:
    """Whom a run is about, with the practice. Nobody is on no list."""
    return row["practice_id"], row["patient_id"]


async def _one(verb: Verb, run_id: UUID, published: PublishedWorkflows, tx: Tx) -> bool:
    """Whether the run moved."""
    await one_at_a_time([tx.practice_id], tx)
    found = await _at_rest([(tx.practice_id, run_id)], published, tx)
    if not found:
        raise RunNotFound
    ((_, row),) = found.items()
    if RULES[verb].fits(row):
        if verb == "retry" and await suppressed_among([patient_of(row)], tx):
            raise PatientSuppressed
        if verb == "retry" and not await _without_rivals(found, published, tx):
            raise AnotherRunIsActive
        return await _do(verb, found, published, tx) > 0
    if verb == "resume" and _running(row) and row["held"]:
        raise WorkflowIsPaused
    if not RULES[verb].already(row):
        raise RULES[verb].refusal
    return False


async def _without_rivals(rows: Mapping[Key, Mapping[str, Any]], published: PublishedWorkflows, tx: Tx) -> dict[Key, Mapping[str, Any]]:
    """Those that may go on beside the runs there are: where a patient is let through once at a time, one per patient."""
    once = {key for key, row in rows.items() if row["patient_id"] is not None and await _once_at_a_time(row, published, tx)}
    taken = await active_pairs([(rows[key]["workflow_id"], rows[key]["patient_id"]) for key in once], tx) if once else set()
    kept: dict[Key, Mapping[str, Any]] = {}
    for key, row in rows.items():
        pair = row["workflow_id"], row["patient_id"]
        if key in once and pair in taken:
            continue
        kept[key] = row
        if key in once:
            taken.add(pair)
    return kept


async def _once_at_a_time(row: Mapping[str, Any], published: PublishedWorkflows, tx: Tx) -> bool:
    enrolment = (await published.version(row["practice_id"], row["workflow_id"], row["version"], tx)).definition.enrolment
    return enrolment is not None and enrolment.policy == "once_while_active"


async def _at_rest(keys: list[Key], published: PublishedWorkflows, tx: Tx) -> Mapping[Key, Mapping[str, Any]]:
    """The runs, those of the durable engine with everything taken up that was handed over to them; their engine is called to see it."""
    found = await runs_to_move(keys, tx)
    durable = [key for key, row in found.items() if row["engine"] != BUILTIN]
    for key in await published.usable({key: found[key] for key in durable}, tx):  # one that compiles no more can be ended as it is
        await take_up(key, published, tx)
    if durable:
        await call(durable, tx)
    return await runs_to_move(keys, tx) if durable else found


async def _do(verb: Verb, rows: Mapping[Key, Mapping[str, Any]], published: PublishedWorkflows, tx: Tx) -> int:
    """How many moved."""
    if verb == "resume":
        rows = await _without_held(rows, tx)
    if not rows:
        return 0
    ids = [key[1] for key in rows]
    if verb == "cancel":
        return await _end(RULES[verb].event, rows, published, tx)
    if verb == "resume":
        await tx.execute(_HOLD, tx.practice_id, ids, False)
    events = await tries(rows, published, tx) if verb == "retry" else [(key, RULES[verb].event) for key in rows]
    moved = await _move(events, rows, published, tx)
    if verb == "retry":
        await hold_tried(rows, tx)
    elif verb == "pause":
        await tx.execute(_HOLD, tx.practice_id, ids, True)
        await tx.execute(_OWN_PAUSE, tx.practice_id, ids)
    return moved


async def _without_held(rows: Mapping[Key, Mapping[str, Any]], tx: Tx) -> Mapping[Key, Mapping[str, Any]]:
    """Of runs that somebody had paused those whose workflow goes on; the others are held with theirs from here on."""
    paused = {workflow for workflow in {row["workflow_id"] for row in rows.values()} if await pause_of(workflow, tx)}
    held = [key[1] for key, row in rows.items() if row["workflow_id"] in paused]
    if held:
        await tx.execute(_WITH_ITS_WORKFLOW, tx.practice_id, held)
    return {key: row for key, row in rows.items() if row["workflow_id"] not in paused}


async def _end(event: Input, rows: Mapping[Key, Mapping[str, Any]], published: PublishedWorkflows, tx: Tx) -> int:
    moved = await _move([(key, event) for key in rows], rows, published, tx)
    await tx.execute(_WAITS_OVER, tx.practice_id, [key[1] for key in rows], tx.now)
    return moved


async def _move(events: list[tuple[Key, Input]], rows: Mapping[Key, Mapping[str, Any]], published: PublishedWorkflows, tx: Tx) -> int:
    """How many moved. Those of the durable engine are called, so that it sees where they stand."""
    changes = await move_runs([(key, event, tx.cause) for key, event in events], published, tx)
    await bring_to_rest(changes, published, tx)
    durable = [key for key, row in rows.items() if row["engine"] != BUILTIN]
    if durable:
        await call(durable, tx)
        tx.after_commit(published.orchestration.hint)
    return len(changes)
