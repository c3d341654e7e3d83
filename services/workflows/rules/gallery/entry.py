"""An entry of the gallery: a definition that works as it stands, and what a practice may put into it."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from services.workflows.rules.findings import Finding, did_you_mean, pointer_part

MAX_VALUE = 5000
_MONTHS = "['January', 'February', 'March', 'April', 'May', 'June', 'July', 'August', 'September', 'October', 'November', 'December']"


class Category(StrEnum):
    REMINDERS = "reminders"
    APPOINTMENTS = "appointments"
    PATIENTS = "patients"
    RECALL = "recall"
    CALLS = "calls"
    STAFF = "staff"


class Kind(StrEnum):
    """What is asked for: one line, a text with ``{{ }}``, a duration or a local time as ISO 8601 writes them."""

    LINE = "line"
    TEXT = "text"
    DURATION = "duration"
    TIME = "time"


@dataclass(frozen=True)
class Blank:
    """Something to fill in. The value replaces what stands at the pointers; ``condition`` is an expression with ``{}`` for it, in quotes."""

    name: str
    title: str
    kind: Kind
    default: str
    pointers: tuple[str, ...]
    condition: str | None = None


@dataclass(frozen=True)
class Entry:
    id: str
    category: Category
    title: str
    description: str
    definition: Mapping[str, Any]
    blanks: tuple[Blank, ...] = ()

    @property
    def actions(self) -> list[str]:
        """What it needs to be offered, each once."""
        return sorted(set(_actions(self.definition["steps"])))


class ValuesInvalid(ValueError):
    """What was given does not belong into this entry."""

    def __init__(self, findings: list[Finding]) -> None:
        super().__init__("; ".join(finding.message for finding in findings))
        self.findings = findings


def filled(entry: Entry, values: Mapping[str, str]) -> dict[str, Any]:
    """The definition with these values, the usual ones where none is given. Raises ``ValuesInvalid``; the definition is checked when saved."""
    names = [blank.name for blank in entry.blanks]
    strange = [
        Finding(
            "unknown_value", f"/values/{pointer_part(name)}", "There is nothing of this name to fill in.", hint=did_you_mean(name, names)
        )
        for name in values
        if name not in names
    ]
    if strange:
        raise ValuesInvalid(strange)
    definition = copy.deepcopy(dict(entry.definition))
    for blank in entry.blanks:
        value = values.get(blank.name, blank.default)
        for pointer in blank.pointers:
            _put(definition, pointer, blank.condition.format(quoted(value)) if blank.condition else value)
    return definition


def place_of(entry: Entry, pointer: str) -> str | None:
    """The value a finding at this place of the definition is about."""
    return next((f"/values/{blank.name}" for blank in entry.blanks if pointer in blank.pointers), None)


def quoted(value: str) -> str:
    """As a text in an expression; JSON's escapes are CEL's."""
    return json.dumps(value)


def spoken(time: str, zone: str = "appointment.time_zone") -> str:
    """A template of how people say a time: ``31 January 2030 at 10:30``."""
    day = f"string({time}.getDate({zone})) + ' ' + {_MONTHS}[{time}.getMonth({zone})] + ' ' + string({time}.getFullYear({zone}))"
    minutes = f"({time}.getMinutes({zone}) < 10 ? '0' : '') + string({time}.getMinutes({zone}))"
    return f"{{{{ {day} }}}} at {{{{ string({time}.getHours({zone})) + ':' + {minutes} }}}}"


def act(step: str, action: str, **parameters: Any) -> dict[str, Any]:
    return {"kind": "action", "id": step, "action": action, "parameters": parameters}


def mail(step: str, subject: str, text: str) -> dict[str, Any]:
    """Of a run that is about an appointment, or a patient. Tried again when it may work later."""
    return act(step, "send_email", subject=subject, text=text) | {"retry": {"attempts": 4, "first": "PT5M"}}


def mail_blanks(pointer: str, subject: str, text: str) -> tuple[Blank, Blank]:
    """What every mail lets people change."""
    return (
        Blank("subject", "Subject", Kind.LINE, subject, (f"{pointer}/parameters/subject",)),
        Blank("text", "Text", Kind.TEXT, text, (f"{pointer}/parameters/text",)),
    )


def _actions(steps: list[dict[str, Any]]) -> Iterator[str]:
    for step in steps:
        if step["kind"] == "action":
            yield step["action"]
        yield from _actions([*step.get("error_steps", ()), *step.get("otherwise", ())])
        for case in step.get("cases", ()):
            yield from _actions(case["steps"])


def _put(written: Any, pointer: str, value: Any) -> None:
    *way, last = pointer.split("/")[1:]
    for part in way:
        written = written[int(part)] if isinstance(written, list) else written[part]
    written[int(last) if isinstance(written, list) else last] = value
