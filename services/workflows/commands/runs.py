"""Bring runs on: one pass of the interpreter per input, one set of statements per batch. Cancel them."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from libs.common.errors import Conflict, NotFound, Refused
from libs.common.messaging import Received
from libs.common.telemetry import Cause
from libs.common.work import Tx
from libs.contracts.envelope import MESSAGES
from services.workflows.commands.published import PublishedWorkflows
from services.workflows.commands.world import world_of
from services.workflows.commands.writes import RunRow, Writes
from services.workflows.queries.runs import runs_for_change
from services.workflows.queries.world import Key
from services.workflows.rules.interpreter import Cancelled, Effect, Input, State, Status, StepResult, advance


class RunNotFound(NotFound):
    """No such run."""


class RunUnknown(Refused):
    """The message is about a run that was never started here."""


class RunHasEnded(Conflict):
    """The run has ended already."""


async def advance_runs(inputs: list[tuple[Key, Input, Cause]], published: PublishedWorkflows, tx: Tx) -> int:
    """Give each run its input; returns how many moved.

    Raises ``RunUnknown``: a run is durable before anything is asked for it, so its absence is no matter of time.
    """
    found = await runs_for_change(list({key for key, _, _ in inputs}), tx)
    if any(key not in found for key, _, _ in inputs):
        raise RunUnknown
    versions = {key: await published.version(key[0], row["workflow_id"], row["version"], tx) for key, row in found.items()}
    of_interest = frozenset[str]().union(*(compiled.names for compiled in versions.values()))
    world = await world_of([(row["practice_id"], row["event"]) for row in found.values()], of_interest, tx)
    moved: dict[Key, tuple[RunRow, State, list[Effect], Cause]] = {}
    for key, event, cause in inputs:
        row, compiled = found[key], versions[key]
        before, earlier = (moved[key][1], moved[key][2]) if key in moved else (_state(row), [])
        bound = world.bind(compiled, row["practice_id"], _parsed(row["event"], row["trigger_type"]))
        state, effects = advance(compiled, before, event, bound, tx.now)
        if effects:
            moved[key] = _engine_row(row), state, [*earlier, *effects], cause
    writes = Writes()
    for run, state, effects, cause in moved.values():
        writes.advance(run, state, effects, cause)
    await writes.flush(tx)
    return len(moved)


async def cancel_run(run_id: UUID, published: PublishedWorkflows, tx: Tx) -> None:
    """Stop a run; what was asked for already is not taken back. Raises ``RunNotFound``, ``RunHasEnded``."""
    key = (tx.practice_id, run_id)
    # The timer before the run, as a firing timer takes them: neither can wait for the other.
    await tx.execute("DELETE FROM timer WHERE practice_id = $1 AND run_id = $2", *key)
    found = await runs_for_change([key], tx)
    if key not in found:
        raise RunNotFound
    if found[key]["status"] != Status.RUNNING:
        raise RunHasEnded
    await advance_runs([(key, Cancelled(), tx.cause)], published, tx)
    await tx.execute(
        "UPDATE step SET status = 'cancelled', finished_at = $3 WHERE practice_id = $1 AND run_id = $2 AND status = 'waiting'", *key, tx.now
    )


async def take_results(events: list[Received[Any]], published: PublishedWorkflows, tx: Tx) -> int:
    """Owners' answers: each advances its run."""
    inputs: list[tuple[Key, Input, Cause]] = []
    for event in events:
        result = event.data
        answer = StepResult(result.step_id, result.outcome, result.error.code if result.error else None)
        inputs.append(((event.practice_id, result.run_id), answer, event.cause))
    return await advance_runs(inputs, published, tx)


def _state(row: Any) -> State:
    return State(Status(row["status"]), row["cursor"], row["waiting"], row["error_code"])


def _engine_row(row: Any) -> RunRow:
    return RunRow(
        practice_id=row["practice_id"], id=row["id"], workflow_id=row["workflow_id"], workflow_name=row["workflow_name"],
        version=row["version"], trigger_event_id=row["trigger_event_id"], trigger_type=row["trigger_type"], event="",
        patient_id=row["patient_id"], appointment_id=row["appointment_id"], correlation_id=row["correlation_id"], traceparent=row["traceparent"],
    )  # fmt: skip


def _parsed(event: dict[str, Any], event_type: str) -> dict[str, Any]:
    """The stored event with times as times, as it was when the run started."""
    parsed: dict[str, Any] = MESSAGES[event_type].model_validate(event, extra="ignore").model_dump()
    return parsed
