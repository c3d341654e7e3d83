"""What each step leaves for later ones: its outcome, and what stands beside it for each outcome. Pure.

What an action leaves is as its owner describes it, an event is as its contract says - both as JSON: times are texts.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any

from services.workflows.rules.definitions.steps import ActionStep, Step, WaitForStep
from services.workflows.rules.definitions.triggers import BY_TYPE

ABSENT, SUCCEEDED, FAILED, TIMED_OUT = "absent", "succeeded", "failed", "timed_out"
"""What became of a step. A wait that an event ended is the number of that event, as a text."""

Catalogue = Mapping[str, Mapping[str, Any]]
Part = str | int

_DEPTH = 8
_SCALARS: dict[str, Any] = {"string": "text", "integer": 1, "number": 1.5, "boolean": False}
_TEXTS = {"date-time": "2030-01-31T09:30:00Z", "date": "1980-01-31", "uuid": "00000000-0000-0000-0000-000000000001"}


@dataclass(frozen=True)
class Left:
    """Something a step leaves. ``open``: nobody declared what is in it, or all that is. ``nothing``: it is always null."""

    members: Mapping[str, Left] = field(default_factory=dict)
    item: Left | None = None
    value: Any = None
    choices: tuple[str, ...] = ()
    open: bool = False
    nullable: bool = False
    nothing: bool = False
    time: bool = False

    def at(self, part: Part) -> Left | None:
        """What is in it under this name or number; None when there is nothing."""
        return self.item if isinstance(part, int) else self.members.get(part)

    def example(self, *, empty: bool) -> Any:
        """A value of this kind; ``empty``: null wherever it may be."""
        if self.nothing or (empty and self.nullable):
            return None
        if self.members:
            return {name: member.example(empty=empty) for name, member in self.members.items()}
        if self.item is not None:
            return [self.item.example(empty=empty)]
        return {} if self.open else self.value


OPEN = Left(open=True)
NOTHING = Left(nothing=True)


def outcomes_of(step: Step) -> tuple[str, ...]:
    """What may become of it when it runs; nothing for steps that leave nothing."""
    if isinstance(step, ActionStep):
        return SUCCEEDED, FAILED
    return (*map(str, range(len(step.events))), TIMED_OUT) if isinstance(step, WaitForStep) else ()


def outcome_text(outcome: str) -> str:
    """What ``steps.<id>.outcome`` says of it."""
    return "event" if outcome.isdecimal() else outcome


def left_by(step: Step, outcome: str, offered: Catalogue) -> Left:
    """What a step leaves when that became of it."""
    texts = tuple(dict.fromkeys(outcome_text(one) for one in outcomes_of(step)))
    said = {"outcome": Left(value=outcome_text(outcome), choices=texts)}
    if isinstance(step, ActionStep):
        if outcome == FAILED:
            return Left({**said, "error_code": Left(value="text")})
        described = offered.get(step.action)
        return Left({**said, "result": OPEN if described is None else declared(described.get("result_schema") or {})})
    if isinstance(step, WaitForStep) and outcome.isdecimal():
        known = step.events[int(outcome)].event
        event = _of_event(known) if known in BY_TYPE else OPEN
        return Left({**said, "number": Left(value=int(outcome)), "event": event, "id": Left(value=_TEXTS["uuid"])})
    return Left({**said, "number": NOTHING, "event": NOTHING, "id": NOTHING})


@cache
def _of_event(event_type: str) -> Left:
    return declared(BY_TYPE[event_type].model_json_schema(mode="serialization"))


def declared(schema: Mapping[str, Any]) -> Left:
    """What a JSON Schema says, as far as it says it."""
    return _declared(schema, schema.get("$defs") or {}, 0)


def _declared(schema: Any, definitions: Mapping[str, Any], depth: int) -> Left:
    if not isinstance(schema, Mapping) or depth > _DEPTH:
        return OPEN
    if "$ref" in schema:
        return _declared(definitions.get(str(schema["$ref"]).rpartition("/")[2]), definitions, depth + 1)
    choices = schema.get("anyOf") or schema.get("oneOf")
    if choices:
        return _one_of(choices, definitions, depth)
    if "const" in schema or "enum" in schema:
        values = schema.get("enum") or [schema.get("const")]
        return Left(value=values[0], choices=tuple(one for one in values if isinstance(one, str)))
    kind = schema.get("type")
    if kind == "object":
        members = {name: _declared(inner, definitions, depth + 1) for name, inner in (schema.get("properties") or {}).items()}
        return Left(members, open=not members or bool(schema.get("additionalProperties")))
    if kind == "array":
        return Left(item=_declared(schema.get("items"), definitions, depth + 1))
    if kind == "string":
        return Left(value=_TEXTS.get(str(schema.get("format")), "text"), time=schema.get("format") == "date-time")
    return Left(value=_SCALARS[kind]) if kind in _SCALARS else NOTHING if kind == "null" else OPEN


def _one_of(choices: Iterable[Any], definitions: Mapping[str, Any], depth: int) -> Left:
    kinds = [_declared(one, definitions, depth + 1) for one in choices]
    some = [one for one in kinds if not one.nothing]
    if len(some) != 1:
        return OPEN if some else NOTHING
    only = some[0]
    return Left(only.members, only.item, only.value, only.choices, only.open, nullable=len(some) < len(kinds), time=only.time)
