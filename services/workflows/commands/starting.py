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
from services.workflows.queries.runs import depths_of
from services.workflows.rules.expressions import Expressions
from services.workflows.rules.interpreter import Finished, Started, State, Status, advance
from services.workflows.rules.triggers import seen_as, started_by

MAX_CHAIN = 8
"""Runs that may cause each other one after another, through the events of their actions."""

LOOP_STOPPED = "loop_stopped"


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
    depends on is on its way over another topic: the event waits and comes again. Runs that go on causing each other are
    stopped after ``MAX_CHAIN``: a failed run that says ``loop_stopped``.
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
    depths = await _depths([occasion.event for occasion in occasions], tx)
    world = await world_of([(occasion.event.practice_id, occasion.ids) for occasion in occasions], of_interest, tx)
    writes = Writes()
    for occasion in occasions:
        world.require_patient(occasion.event.practice_id, occasion.ids)
        _start_all(occasion, depths.get(occasion.event.id, 0), world, writes, tx)
    return await writes.flush(tx)


async def _depths(events: list[Received[Any]], tx: Tx) -> dict[UUID, int]:
    """How deep a run stands that an event starts: one deeper than the run whose action caused the event."""
    causes = {event.id: (event.practice_id, UUID(event.causation_id)) for event in events if _is_uuid(event.causation_id)}
    found = await depths_of(list(set(causes.values())), tx)
    return {event_id: found[cause] + 1 for event_id, cause in causes.items() if cause in found}


def _is_uuid(text: str) -> bool:
    try:
        UUID(text)
    except ValueError:
        return False
    return True


def _start_all(occasion: _Occasion, depth: int, world: World, writes: Writes, tx: Tx) -> None:
    event = occasion.event
    message = seen_as(occasion.trigger, event.data, world.patients.get((event.practice_id, occasion.ids["patient_id"])))
    data = message.model_dump()
    bound: dict[Expressions, Any] = {}
    for workflow in occasion.workflows:
        compiled = workflow.compiled
        if compiled is None:
            _fail(event, message, workflow, "definition_invalid", writes)
            continue
        if depth > MAX_CHAIN:
            # Workflows that cause each other: the chain ends here, where everybody can see it.
            _fail(event, message, workflow, LOOP_STOPPED, writes, depth)
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
        writes.start(_row(event, message, workflow, depth), state, effects, event.cause)


def _fail(event: Received[Any], message: Event, workflow: InForce, code: str, writes: Writes, depth: int = 0) -> None:
    failed = State(status=Status.FAILED, error_code=code)
    writes.start(_row(event, message, workflow, depth), failed, [Finished(Status.FAILED, code)], event.cause)


def _row(event: Received[Any], message: Event, workflow: InForce, depth: int) -> RunRow:
    text = event.raw.decode() if message is event.data else message.model_dump_json()
    ids = {name: getattr(message, name, None) for name in ("patient_id", "appointment_id")}
    return RunRow(
        practice_id=event.practice_id, id=_run_id(event, message, workflow), workflow_id=workflow.workflow_id,
        workflow_name=workflow.name, version=workflow.version, trigger_event_id=event.id, trigger_type=message.type, event=text,
        patient_id=id_in(ids, "patient_id"), appointment_id=id_in(ids, "appointment_id"), correlation_id=event.correlation_id,
        traceparent=event.cause.traceparent, depth=depth,
    )  # fmt: skip


def _run_id(event: Received[Any], message: Event, workflow: InForce) -> UUID:
    """One run per workflow and event; per workflow and appointment where the trigger is its booking."""
    if isinstance(message, AppointmentBooked):
        return derived_id("run", workflow.workflow_id, "booked", message.appointment_id)
    return derived_id("run", workflow.workflow_id, event.id)
