"""Waits, exits and actions that nothing can ever meet, and bounds that bound nothing, although each of them is well written. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any

from services.workflows.rules.definitions.calendar import Calendar, next_local
from services.workflows.rules.definitions.definition import Definition, ScheduleTrigger
from services.workflows.rules.definitions.steps import ActionStep, Awaited, LocalTime, Step, WaitForStep, WaitUntilStep, walk
from services.workflows.rules.definitions.triggers import BY_TYPE, event_of
from services.workflows.rules.findings import Finding

_FOR_EACH = "for_each: patient starts a run for each of them"


def unmet_findings(definition: Definition, offered: Mapping[str, Mapping[str, Any]]) -> Iterator[Finding]:
    """Events that never count, waits that always end by their time-out, actions that always fail for want of a patient."""
    patient, appointment = _names_patient(definition), "appointment_id" in event_of(definition.trigger).model_fields
    yield from _exits(definition, someone=patient or appointment)
    for step, pointer, _ in walk(definition.steps):
        if isinstance(step, WaitForStep) and step.about == "patient":
            yield from _wait(step, pointer, patient=patient)
        elif isinstance(step, ActionStep) and not patient and offered.get(step.action, {}).get("needs_person"):
            message = "What starts this workflow names no patient: this action always fails."
            hint = _FOR_EACH if isinstance(definition.trigger, ScheduleTrigger) else "start it by an event about a patient"
            yield Finding("no_patient", f"{pointer}/action", message, step.id, hint=hint, severity="warning")
        elif isinstance(step, WaitUntilStep) and step.local is not None:
            yield from _empty(step.local, f"{pointer}/local", step.id)


def _names_patient(definition: Definition) -> bool:
    """Whether a run of it may be about one."""
    trigger = definition.trigger
    practice_wide = isinstance(trigger, ScheduleTrigger) and trigger.for_each == "practice"
    return not practice_wide and "patient_id" in event_of(trigger).model_fields


def _exits(definition: Definition, *, someone: bool) -> Iterator[Finding]:
    if definition.exit and not someone:
        message = "What starts this workflow names no patient and no appointment: no event ends its runs."
        yield Finding("never_met", "/exit", message, hint="leave it out, or start it by an event about a patient", severity="warning")
        return
    for number, one in enumerate(definition.exit or ()):
        if not _has(one, "patient_id", "appointment_id"):
            message = "An event of this type names no patient: it never ends a run."
            hint = "choose an event about a patient or an appointment"
            yield Finding("never_counts", f"/exit/{number}/event", message, hint=hint, severity="warning")


def _wait(step: WaitForStep, pointer: str, *, patient: bool) -> Iterator[Finding]:
    if not patient:
        message = "What starts this workflow names no patient: no event is about it, and this always ends by its time-out."
        hint = "wait for a duration, or start the workflow by an event about a patient"
        yield Finding("never_met", f"{pointer}/about", message, step.id, hint=hint, severity="warning")
        return
    for number, one in enumerate(step.events):
        if not _has(one, "patient_id"):
            message = "An event of this type names no patient: it never counts in a wait about one."
            hint = "choose an event about a patient"
            yield Finding("never_counts", f"{pointer}/events/{number}/event", message, step.id, hint=hint, severity="warning")


def _empty(local: LocalTime, pointer: str, step: str) -> Iterator[Finding]:
    """What looks like a bound and is none."""
    if local.days is not None and not local.days:
        hint = "leave days out for every day, or name some: 1 is Monday"
        yield Finding("empty_days", f"{pointer}/days", "No days are named: this means every day.", step, hint=hint, severity="warning")
    if local.not_between is not None and local.not_between[0] == local.not_between[1]:
        hint = "leave not_between out, or let it end at another time than it begins"
        message = "These quiet hours end when they begin: they are never."
        yield Finding("empty_quiet_hours", f"{pointer}/not_between", message, step, hint=hint, severity="warning")


def _has(awaited: Awaited, *names: str) -> bool:
    """Whether it names one of them. What nobody knows is said elsewhere."""
    event = BY_TYPE.get(awaited.event)
    return event is None or any(name in event.model_fields for name in names)


def time_findings(definition: Definition, calendar: Calendar, now: datetime) -> Iterator[Finding]:
    """Local times that never come while the practice opens as it does: a run that waits for one fails."""
    for step, pointer, _ in walk(definition.steps):
        local = _opening(step)
        if local is None or next_local(local, calendar, now) is not None:
            continue
        message = "This time never comes while the practice opens as it does now: a run that waits for it fails."
        yield Finding("no_such_time", f"{pointer}/local", message, step.id, hint=_why(local), severity="warning")


def _opening(step: Step) -> LocalTime | None:
    return step.local if isinstance(step, WaitUntilStep) and step.local is not None and step.local.opening else None


def _why(local: LocalTime) -> str:
    said = [word for word, value in (("at", local.at), ("days", local.days), ("the quiet hours", local.not_between)) if value]
    return f"{', '.join(said) or 'opening'}: compare with the practice's opening hours"
