"""What an author left open is decided when a definition is saved, and written into it: what is stored means the same for ever.

News of an appointment (confirmed, moved, cancelled, completed, missed, reopened, matched) is meant of the appointment the run is
about, unless the author says otherwise or compares the two appointments. A booking is another appointment by its nature.
Definitions stored before this was decided at saving keep the meaning they had: anything about the patient.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

from libs.contracts import scheduling
from services.workflows.rules.definitions.definition import Definition
from services.workflows.rules.definitions.steps import Awaited, WaitForStep, walk
from services.workflows.rules.definitions.triggers import BY_TYPE, event_of
from services.workflows.rules.findings import Finding

APPOINTMENT = "appointment"
_NEWS = frozenset(
    event.type for event in BY_TYPE.values() if issubclass(event, scheduling.AppointmentState) and event is not scheduling.AppointmentBooked
)
_COMPARED = re.compile(r"\btrigger\W+appointment_id\b")


def settled(definition: Definition) -> dict[str, Any]:
    """The definition as it is stored, nothing left open."""
    written = definition.model_dump(mode="json", exclude_none=True)
    for number, one in enumerate(definition.exit or ()):
        if one.about is None and _may_be_about_an_appointment(definition) and _is_news(one):
            written["exit"][number]["about"] = APPOINTMENT
    if not _about_an_appointment(definition):
        return written
    for step, pointer, _ in walk(definition.steps):
        if isinstance(step, WaitForStep) and "about" not in step.model_fields_set and all(map(_is_news, step.events)):
            _at(written, pointer)["about"] = APPOINTMENT
    return written


def open_questions(definition: Definition) -> Iterator[Finding]:
    """Where news of another appointment of the same patient counts, and events that never can."""
    for number, one in enumerate(definition.exit or ()):
        if _may_be_about_an_appointment(definition) and one.about is None and _is_news(one):
            message = "This ends the run whichever appointment of the patient it is about."
            hint = "about: appointment for the run's own, about: patient for any"
            yield Finding("any_appointment", f"/exit/{number}", message, hint=hint, severity="warning")
    for step, pointer, _ in walk(definition.steps):
        if isinstance(step, WaitForStep):
            yield from _of_a_wait(step, pointer, about_an_appointment=_about_an_appointment(definition))


def _of_a_wait(step: WaitForStep, pointer: str, *, about_an_appointment: bool) -> Iterator[Finding]:
    for number, one in enumerate(step.events):
        place = f"{pointer}/events/{number}"
        if step.about == APPOINTMENT and not _names_one(one):
            message = "An event of this type names no appointment: it never counts in a wait about one."
            yield Finding("never_counts", f"{place}/event", message, step.id, hint="about: patient", severity="warning")
        elif step.about != APPOINTMENT and about_an_appointment and _is_news(one) and not all(map(_is_news, step.events)):
            message = "This counts whichever appointment of the patient it is about."
            hint = "when: event.appointment_id == trigger.appointment_id"
            yield Finding("any_appointment", place, message, step.id, hint=hint, severity="warning")


def _about_an_appointment(definition: Definition) -> bool:
    """Whether every run of it is about one."""
    return issubclass(event_of(definition.trigger), scheduling.AppointmentState)


def _may_be_about_an_appointment(definition: Definition) -> bool:
    return "appointment_id" in event_of(definition.trigger).model_fields


def _names_one(awaited: Awaited) -> bool:
    return awaited.event in BY_TYPE and issubclass(BY_TYPE[awaited.event], scheduling.AppointmentState)


def _is_news(awaited: Awaited) -> bool:
    """Of an appointment there is already, whichever it is: nobody compares it with the run's."""
    return awaited.event in _NEWS and _COMPARED.search(json.dumps(awaited.model_dump(mode="json")["when"])) is None


def _at(written: Any, pointer: str) -> Any:
    for part in pointer.split("/")[1:]:
        written = written[int(part)] if isinstance(written, list) else written[part]
    return written
