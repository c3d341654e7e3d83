"""Start runs for events: expressions evaluated once per event and workflow, everything written in one set of statements."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any
from uuid import UUID

from libs.common.ids import derived_id
from libs.common.messaging import Received
from libs.common.work import Tx
from libs.contracts.envelope import Event
from libs.contracts.scheduling import AppointmentBooked
from services.workflows.commands.published import InForce, PublishedWorkflows
from services.workflows.commands.world import World, id_in, world_of
from services.workflows.commands.writes import RunRow, Writes
from services.workflows.rules.expressions import Expressions
from services.workflows.rules.interpreter import Finished, Started, State, Status, advance
from services.workflows.rules.triggers import seen_as, started_by


@dataclass(frozen=True)
class _Occasion:
    """An event as one of the trigger types it counts as, and the workflows it concerns."""

    event: Received[Any]
    trigger: str
    workflows: list[InForce]

    @property
    def ids(self) -> dict[str, Any]:
        return {name: getattr(self.event.data, name, None) for name in ("patient_id", "appointment_id")}


async def start_runs(events: list[Received[Any]], published: PublishedWorkflows, tx: Tx) -> int:
    """A run for every published workflow whose trigger is the event and whose condition is true; returns how many.

    A condition that fails to evaluate makes a failed run that says so: it is not the same as false. At most one run per
    workflow and event, whatever is delivered twice. Raises ``PatientNotYet`` or ``PracticeNotYet`` while news an event
    depends on is on its way over another topic: the event waits and comes again.
    """
    in_force = await published.in_force({event.practice_id for event in events}, tx)
    occasions = [
        _Occasion(event, trigger, workflows)
        for event in events
        for trigger in started_by(event.data)
        if (workflows := in_force[event.practice_id].get(trigger))
    ]
    if not occasions:
        return 0
    compiled = [workflow.compiled for occasion in occasions for workflow in occasion.workflows if workflow.compiled is not None]
    of_interest = frozenset({"patient"}).union(*(one.names for one in compiled))
    world = await world_of([(occasion.event.practice_id, occasion.ids) for occasion in occasions], of_interest, tx)
    writes = Writes()
    for occasion in occasions:
        world.require_patient(occasion.event.practice_id, occasion.ids)
        _start_all(occasion, world, writes, tx)
    return await writes.flush(tx)


def _start_all(occasion: _Occasion, world: World, writes: Writes, tx: Tx) -> None:
    event = occasion.event
    message = seen_as(occasion.trigger, event.data, world.patients.get((event.practice_id, occasion.ids["patient_id"])))
    data = message.model_dump()
    bound: dict[Expressions, Any] = {}
    for workflow in occasion.workflows:
        compiled = workflow.compiled
        if compiled is None:
            _fail(event, message, workflow, "definition_invalid", writes)
            continue
        if "practice" in compiled.names:
            world.require_practice(event.practice_id)
        if compiled.expressions not in bound:
            bound[compiled.expressions] = world.bind(compiled, event.practice_id, data)
        values = bound[compiled.expressions]
        if compiled.condition is not None:
            verdict = compiled.condition.evaluate(values).verdict
            if verdict.error is not None:
                _fail(event, message, workflow, f"condition_error:{verdict.error}", writes)
                continue
            if not verdict.is_true:
                continue
        state, effects = advance(compiled, State(), Started(), values, tx.now)
        writes.start(_row(event, message, workflow), state, effects, event.cause)


def _fail(event: Received[Any], message: Event, workflow: InForce, code: str, writes: Writes) -> None:
    failed = State(status=Status.FAILED, error_code=code)
    writes.start(_row(event, message, workflow), failed, [Finished(Status.FAILED, code)], event.cause)


def _row(event: Received[Any], message: Event, workflow: InForce) -> RunRow:
    text = event.raw.decode() if message is event.data else message.model_dump_json()
    ids = {name: getattr(message, name, None) for name in ("patient_id", "appointment_id")}
    return RunRow(
        practice_id=event.practice_id, id=_run_id(event, message, workflow), workflow_id=workflow.workflow_id,
        workflow_name=workflow.name, version=workflow.version, trigger_event_id=event.id, trigger_type=message.type, event=text,
        patient_id=id_in(ids, "patient_id"), appointment_id=id_in(ids, "appointment_id"), correlation_id=event.correlation_id,
        traceparent=event.cause.traceparent,
    )  # fmt: skip


def _run_id(event: Received[Any], message: Event, workflow: InForce) -> UUID:
    """One run per workflow and event; per workflow and appointment where the trigger is its booking."""
    if isinstance(message, AppointmentBooked):
        return derived_id("run", workflow.workflow_id, "booked", message.appointment_id)
    return derived_id("run", workflow.workflow_id, event.id)
