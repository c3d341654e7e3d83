"""Start runs for events: expressions evaluated once per event and workflow, everything written in one set of statements."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from libs.common.ids import derived_id
from libs.common.messaging import Received
from libs.common.work import Tx
from libs.contracts.scheduling import AppointmentBooked, AppointmentMatched
from services.workflows.commands.published import InForce, PublishedWorkflows
from services.workflows.commands.world import World, id_in, world_of
from services.workflows.commands.writes import RunRow, Writes
from services.workflows.rules.expressions import Expressions
from services.workflows.rules.interpreter import Finished, Started, State, Status, advance


async def start_runs(events: list[Received[Any]], published: PublishedWorkflows, tx: Tx) -> int:
    """A run for every published workflow whose trigger is the event and whose condition is true; returns how many.

    A condition that fails to evaluate makes a failed run that says so: it is not the same as false. At most one run per
    workflow and event, whatever is delivered twice. Raises ``PatientNotYet`` or ``PracticeNotYet`` while news an event
    depends on is on its way over another topic: the event waits and comes again.
    """
    in_force = await published.in_force({event.practice_id for event in events}, tx)
    named = [(event, _triggered_by(event, in_force[event.practice_id])) for event in events]
    triggered = [(event, event.data.model_dump(), workflows) for event, workflows in named if workflows]
    if not triggered:
        return 0
    world = await world_of([(event.practice_id, data) for event, data, _ in triggered], tx)
    writes = Writes()
    for event, data, workflows in triggered:
        world.require_patient(event.practice_id, data)
        _start_all(event, data, workflows, world, writes, tx)
    return await writes.flush(tx)


def _triggered_by(event: Received[Any], in_force: dict[str, list[InForce]]) -> list[InForce]:
    """The workflows an event starts.

    A booking whose patient was found later counts as booked then: what happens when a patient books must not depend on
    whether the patient's record arrived a moment before or after the booking.
    """
    found = in_force.get(event.type, [])
    if event.type == AppointmentMatched.type:
        return [*found, *in_force.get(AppointmentBooked.type, [])]
    return found


def _run_id(event: Received[Any], workflow: InForce) -> UUID:
    """One run per workflow and event; per workflow and appointment where the booking is the trigger."""
    if isinstance(event.data, (AppointmentBooked, AppointmentMatched)) and workflow.trigger == AppointmentBooked.type:
        return derived_id("run", workflow.workflow_id, "booked", event.data.appointment_id)
    return derived_id("run", workflow.workflow_id, event.id)


def _start_all(event: Received[Any], data: dict[str, Any], workflows: list[InForce], world: World, writes: Writes, tx: Tx) -> None:
    bound: dict[Expressions, Any] = {}
    for workflow in workflows:
        compiled = workflow.compiled
        if compiled is None:
            _fail(event, data, workflow, "definition_invalid", writes)
            continue
        if "practice" in compiled.names:
            world.require_practice(event.practice_id)
        if compiled.expressions not in bound:
            bound[compiled.expressions] = world.bind(compiled, event.practice_id, data)
        values = bound[compiled.expressions]
        if compiled.condition is not None:
            verdict = compiled.condition.evaluate(values).verdict
            if verdict.error is not None:
                _fail(event, data, workflow, f"condition_error:{verdict.error}", writes)
                continue
            if not verdict.is_true:
                continue
        state, effects = advance(compiled, State(), Started(), values, tx.now)
        writes.start(_row(event, data, workflow), state, effects, event.cause)


def _fail(event: Received[Any], data: dict[str, Any], workflow: InForce, code: str, writes: Writes) -> None:
    failed = State(status=Status.FAILED, error_code=code)
    writes.start(_row(event, data, workflow), failed, [Finished(Status.FAILED, code)], event.cause)


def _row(event: Received[Any], data: dict[str, Any], workflow: InForce) -> RunRow:
    return RunRow(
        practice_id=event.practice_id, id=_run_id(event, workflow), workflow_id=workflow.workflow_id,
        workflow_name=workflow.name, version=workflow.version, trigger_event_id=event.id, trigger_type=event.type,
        event=event.raw.decode(), patient_id=id_in(data, "patient_id"), appointment_id=id_in(data, "appointment_id"),
        correlation_id=event.correlation_id, traceparent=event.cause.traceparent,
    )  # fmt: skip
