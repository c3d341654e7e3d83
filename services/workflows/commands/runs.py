"""Start runs for events and bring them on: one pass of the interpreter per run, one set of statements per batch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any
from uuid import UUID

from libs.common.errors import Conflict, NotFound, Refused
from libs.common.ids import derived_id
from libs.common.messaging import Received
from libs.common.telemetry import Cause
from libs.common.work import Tx, json_text
from libs.contracts.envelope import MESSAGES
from services.workflows.commands.projections import PatientNotYet
from services.workflows.commands.published import InForce, PublishedWorkflows
from services.workflows.commands.writes import RunRow, Writes
from services.workflows.queries import Key, appointments, patients, practices, runs_for_change
from services.workflows.rules.compiling import CompiledDefinition
from services.workflows.rules.context import values_for
from services.workflows.rules.interpreter import Cancelled, Finished, Input, Started, State, Status, StepResult, advance


class RunNotFound(NotFound):
    """No such run."""


class RunUnknown(Refused):
    """The message is about a run that was never started here."""


class RunHasEnded(Conflict):
    """The run has ended already."""


@dataclass(frozen=True)
class World:
    """What is known about everything a batch of runs may name."""

    patients: dict[Key, Any]
    appointments: dict[Key, Any]
    practices: dict[UUID, dict[str, Any]]

    def bind(self, compiled: CompiledDefinition, practice_id: UUID, event: dict[str, Any]) -> Any:
        patient = self.patients.get((practice_id, _id(event, "patient_id")))  # type: ignore[arg-type]
        appointment = self.appointments.get((practice_id, _id(event, "appointment_id")))  # type: ignore[arg-type]
        values = values_for(compiled.fields, event, patient, appointment, self.practices[practice_id])
        return compiled.expressions.bind(values)


async def start_runs(events: list[Received[Any]], published: PublishedWorkflows, tx: Tx) -> int:
    """A run for every published workflow whose trigger is the event and whose condition is true; returns how many.

    A condition that fails to evaluate makes a failed run that says so: it is not the same as false.
    Raises ``PatientNotYet`` while news of the event's patient is on its way: the event waits and comes again.
    """
    in_force = await published.in_force({event.practice_id for event in events}, tx)
    triggered = [(event, in_force[event.practice_id].get(event.type, [])) for event in events]
    triggered = [(event, workflows) for event, workflows in triggered if workflows]
    if not triggered:
        return 0
    data = {event.id: event.data.model_dump() for event, _ in triggered}
    world = await _world([(event.practice_id, data[event.id]) for event, _ in triggered], tx)
    writes = Writes()
    for event, workflows in triggered:
        _require_patient(event, data[event.id], world)
        for workflow in workflows:
            _start(event, data[event.id], workflow, world, writes, tx)
    return await writes.flush(tx)


def _start(event: Received[Any], data: dict[str, Any], workflow: InForce, world: World, writes: Writes, tx: Tx) -> None:
    compiled = workflow.compiled
    values = world.bind(compiled, event.practice_id, data)
    if compiled.condition is not None:
        verdict = compiled.condition.evaluate(values)
        if verdict.error is None and not verdict.is_true:
            return
        if verdict.error is not None:
            code = f"condition_error:{verdict.error}"
            failed = State(status=Status.FAILED, error_code=code)
            writes.start(_row(event, data, workflow), failed, [Finished(Status.FAILED, code)], event.cause)
            return
    state, effects = advance(compiled, State(), Started(), values, tx.now)
    writes.start(_row(event, data, workflow), state, effects, event.cause)


def _row(event: Received[Any], data: dict[str, Any], workflow: InForce) -> RunRow:
    return RunRow(
        practice_id=event.practice_id, id=derived_id("run", workflow.workflow_id, event.id), workflow_id=workflow.workflow_id,
        workflow_name=workflow.name, version=workflow.version, trigger_event_id=event.id, trigger_type=event.type,
        event=json_text(event.data.model_dump(mode="json")), patient_id=_id(data, "patient_id"), appointment_id=_id(data, "appointment_id"),
        correlation_id=event.correlation_id, traceparent=event.cause.traceparent,
    )  # fmt: skip


def _require_patient(event: Received[Any], data: dict[str, Any], world: World) -> None:
    patient_id = _id(data, "patient_id")
    if patient_id is not None and (event.practice_id, patient_id) not in world.patients:
        raise PatientNotYet


async def advance_runs(inputs: list[tuple[Key, Input, Cause]], published: PublishedWorkflows, tx: Tx) -> int:
    """Give each run its input; returns how many moved.

    Raises ``RunUnknown``: a run is durable before anything is asked for it, so its absence is no matter of time.
    """
    found = await runs_for_change(list({key for key, _, _ in inputs}), tx)
    if any(key not in found for key, _, _ in inputs):
        raise RunUnknown
    world = await _world([(row["practice_id"], row["event"]) for row in found.values()], tx)
    writes = Writes()
    moved: dict[Key, tuple[RunRow, State, list[Any], Cause]] = {}
    for key, event, cause in inputs:
        row = found[key]
        compiled = await published.version(row["practice_id"], row["workflow_id"], row["version"], tx)
        before, earlier = (moved[key][1], moved[key][2]) if key in moved else (_state(row), [])
        bound = world.bind(compiled, row["practice_id"], _parsed(row["event"], row["trigger_type"]))
        state, effects = advance(compiled, before, event, bound, tx.now)
        if effects:
            moved[key] = _engine_row(row), state, [*earlier, *effects], cause
    for run, state, effects, cause in moved.values():
        writes.advance(run, state, effects, cause)
    await writes.flush(tx)
    return len(moved)


async def cancel_run(run_id: UUID, published: PublishedWorkflows, tx: Tx) -> None:
    """Stop a run; what was asked for already is not taken back. Raises ``RunNotFound``, ``RunHasEnded``."""
    key = (tx.practice_id, run_id)
    found = await runs_for_change([key], tx)
    if key not in found:
        raise RunNotFound
    if found[key]["status"] != Status.RUNNING:
        raise RunHasEnded
    await advance_runs([(key, Cancelled(), tx.cause)], published, tx)
    await tx.execute("DELETE FROM timer WHERE practice_id = $1 AND run_id = $2", *key)
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


async def _world(named: list[tuple[UUID, dict[str, Any]]], tx: Tx) -> World:
    """Everything the events name, in three statements however many there are."""
    who = [(practice, patient) for practice, event in named if (patient := _id(event, "patient_id"))]
    what = [(practice, appointment) for practice, event in named if (appointment := _id(event, "appointment_id"))]
    return World(await patients(who, tx), await appointments(what, tx), await practices({practice for practice, _ in named}, tx))


def _id(event: dict[str, Any], name: str) -> UUID | None:
    value = event.get(name)
    return UUID(value) if isinstance(value, str) else value


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
