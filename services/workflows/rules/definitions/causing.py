"""What the actions of a workflow cause, and whom that starts: itself, another that starts it again, the same patient twice."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID

from libs.contracts import scheduling
from services.workflows.rules.definitions.bounding import bounded_steps
from services.workflows.rules.definitions.calendar import Calendar
from services.workflows.rules.definitions.definition import AnchoredTrigger, Definition, EventTrigger, ManualTrigger, ScheduleTrigger
from services.workflows.rules.definitions.steps import ActionStep, walk
from services.workflows.rules.definitions.triggers import APPOINTMENT_NEWS
from services.workflows.rules.findings import Finding

START, STOP = "start_workflow", "stop_workflow"
_ENDS_IT = "a condition that may be false, a wait of a day, or an enrolment such as once_while_active keeps it from going round"
_TOUCHES = frozenset({"email", "phone"})
"""An action that uses one of these and may not be repeated reaches a person."""


@dataclass(frozen=True)
class Neighbour:
    """Another published workflow of the practice."""

    id: UUID
    name: str
    definition: Definition


@dataclass(frozen=True)
class Surrounding:
    """What a definition is published into. ``offered``: the action catalogue; ``known``: every workflow of the practice.

    ``calendar``: when the practice is open, where that is known; ``now`` is the time of asking.
    """

    id: UUID
    name: str
    offered: Mapping[str, Mapping[str, Any]]
    neighbours: list[Neighbour] = field(default_factory=list)
    known: frozenset[UUID] = frozenset()
    calendar: Calendar | None = None
    now: datetime | None = None


def actions(definition: Definition) -> Iterator[tuple[ActionStep, str]]:
    return ((step, pointer) for step, pointer, _ in walk(definition.steps) if isinstance(step, ActionStep))


def reference_findings(definition: Definition, around: Surrounding) -> list[Finding]:
    """Steps that name a workflow the practice does not have, or start one that cannot be started."""
    found: list[Finding] = []
    for step, pointer in actions(definition):
        named = workflow_of(step) if step.action in {START, STOP} else None
        if named is None:
            continue
        place = f"{pointer}/parameters/workflow_id"
        if named not in {*around.known, around.id}:
            found.append(Finding("unknown_workflow", place, "There is no such workflow in this practice.", step.id))
        elif step.action == START:
            found += _not_startable(step, place, definition if named == around.id else _definition_of(named, around))
    return found


def _not_startable(step: ActionStep, place: str, target: Definition | None) -> Iterator[Finding]:
    if target is None:
        message, hint = "This workflow is not published: the step fails until it is.", "publish it first"
        yield Finding("workflow_not_published", place, message, step.id, hint=hint, severity="warning")
    elif not isinstance(target.trigger, ManualTrigger):
        message, hint = "This workflow is not started by hand: the step fails.", "the trigger of the other workflow has to be manual"
        yield Finding("workflow_not_manual", place, message, step.id, hint=hint, severity="warning")


def _definition_of(workflow_id: UUID, around: Surrounding) -> Definition | None:
    """What is published of it."""
    return next((one.definition for one in around.neighbours if one.id == workflow_id), None)


def workflow_of(step: ActionStep) -> UUID | None:
    """The workflow a step names, if it names one outright."""
    try:
        return UUID(str(step.parameters.get("workflow_id")))
    except ValueError:
        return None


def chain_findings(definition: Definition, around: Surrounding) -> list[Finding]:
    """Does what this workflow does start it again, at once or by way of others? When nothing stands before it that is an error."""
    everyone = {around.id: Neighbour(around.id, around.name, definition)} | {one.id: one for one in around.neighbours}
    bounded = bounded_steps(definition)
    found: list[Finding] = []
    for step, pointer in actions(definition):
        way = _way_back(step, around.id, everyone, around.offered)
        if way is None:
            continue
        names = " → ".join([around.name, *way])
        if len(way) > 1:
            message = "What this step causes starts another workflow, which starts this one again."
            found.append(Finding("workflows_start_each_other", f"{pointer}/action", message, step.id, hint=names, severity="warning"))
            continue
        message = "What this step causes starts this workflow again."
        if step.id in bounded:
            found.append(Finding("triggers_itself", f"{pointer}/action", message, step.id, hint=names, severity="warning"))
        else:
            found.append(Finding("triggers_itself", f"{pointer}/action", message, step.id, hint=_ENDS_IT))
    return found


def _way_back(
    step: ActionStep, home: UUID, everyone: Mapping[UUID, Neighbour], offered: Mapping[str, Mapping[str, Any]]
) -> list[str] | None:
    """The names of the workflows from a step back to its own workflow, the shortest way; None when none leads back."""
    todo = deque((one, [everyone[one].name]) for one in _started(step, everyone, offered))
    seen: set[UUID] = set()
    while todo:
        here, way = todo.popleft()
        if here == home:
            return way
        if here in seen:
            continue
        seen.add(here)
        for next_step, _ in actions(everyone[here].definition):
            todo.extend((one, [*way, everyone[one].name]) for one in _started(next_step, everyone, offered))
    return None


def _started(step: ActionStep, everyone: Mapping[UUID, Neighbour], offered: Mapping[str, Mapping[str, Any]]) -> list[UUID]:
    """The workflows that start because of what an action does."""
    if step.action == START:
        named = workflow_of(step)
        target = everyone.get(named) if named is not None else None
        return [target.id] if target is not None and isinstance(target.definition.trigger, ManualTrigger) else []
    caused = set(offered.get(step.action, {}).get("causes") or ())
    return [one.id for one in everyone.values() if caused & set(_starters(one.definition))]


def _starters(definition: Definition) -> tuple[str, ...]:
    trigger = definition.trigger
    if isinstance(trigger, AnchoredTrigger):
        return APPOINTMENT_NEWS
    if not isinstance(trigger, EventTrigger):
        return ()
    matched = (scheduling.AppointmentMatched.type,) if trigger.event == scheduling.AppointmentBooked.type else ()
    return (trigger.event, *matched)


def collision_findings(definition: Definition, around: Surrounding) -> list[Finding]:
    """Another published workflow that reaches the same people in the same way at the same time."""
    found: list[Finding] = []
    for step, pointer in actions(definition):
        others = [one.name for one in around.neighbours if _collides(step, definition, one.definition, around.offered)]
        if others:
            message = "Another workflow does the same at the same time: somebody may hear from the practice twice."
            hint = f"see {', '.join(others[:3])}"
            found.append(Finding("same_message_twice", f"{pointer}/action", message, step.id, hint=hint, severity="warning"))
    return found


def _collides(step: ActionStep, definition: Definition, other: Definition, offered: Mapping[str, Mapping[str, Any]]) -> bool:
    described = offered.get(step.action, {})
    reaches = not described.get("idempotent", True) and bool(_TOUCHES & set(described.get("personal_data") or ()))
    return reaches and occasion(definition) == occasion(other) and any(one.action == step.action for one, _ in actions(other))


def occasion(definition: Definition) -> object:
    """What two workflows have in common that begin at the same moment; manual and webhook ones have nothing."""
    trigger = definition.trigger
    match trigger:
        case EventTrigger(event=event):
            return event
        case AnchoredTrigger(anchor=anchor):
            return anchor
        case ScheduleTrigger(cron=cron, time_zone=zone, for_each=each, saved_filter=found):
            return cron, zone, each, found
        case _:
            return id(definition)
