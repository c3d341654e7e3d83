"""Reading a definition somebody wrote: what does not have the shape of one is said the way every other finding is.

Pydantic names a place by the kinds of a union it tried; people need the place in what they wrote, the step it belongs to and
what they may have meant.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any

from pydantic import ValidationError

from libs.contracts.conditions import Block
from services.workflows.rules.definitions import definition as definitions
from services.workflows.rules.definitions import steps as parts
from services.workflows.rules.definitions.definition import Definition
from services.workflows.rules.findings import Finding, did_you_mean, pointer_part

MAX_BYTES = 200_000
"""Of a definition as JSON. Every run reads its version; what is larger is not a workflow."""

_STEPS: dict[str, type[parts.Part]] = {
    "action": parts.ActionStep, "wait": parts.WaitStep, "wait_until": parts.WaitUntilStep, "wait_for": parts.WaitForStep,
    "branch": parts.BranchStep, "stop": parts.StopStep,
}  # fmt: skip
_TRIGGERS: dict[str, type[parts.Part]] = {
    "event": definitions.EventTrigger, "anchored": definitions.AnchoredTrigger, "schedule": definitions.ScheduleTrigger,
    "manual": definitions.ManualTrigger, "webhook": definitions.WebhookTrigger,
}  # fmt: skip
_NAMED: dict[str, type[parts.Part]] = {
    "anchor": parts.Anchor, "past_due": parts.PastDue, "local": parts.LocalTime, "retry": parts.Retry, "enrolment": definitions.Enrolment,
}  # fmt: skip
_ITEMS: dict[str, type[parts.Part]] = {"events": parts.Awaited, "exit": parts.Exit, "cases": parts.Case}
_STEP_LISTS = frozenset({"steps", "otherwise", "error_steps"})
_CODES = {
    "extra_forbidden": "unknown_field",
    "missing": "missing_field",
    "union_tag_invalid": "unknown_kind",
    "union_tag_not_found": "missing_field",
}
_SAID = {
    "union_tag_invalid": "There is nothing of this kind.",
    "union_tag_not_found": "Say of what kind this is.",
    "missing": "This has to be given.",
    "extra_forbidden": "This does not belong here.",
    "string_type": "This has to be a text.",
    "list_type": "This has to be a list.",
    "dict_type": "This has to be an object.",
    "model_type": "This has to be an object.",
    "model_attributes_type": "This has to be an object.",
    "time_delta_parsing": "This is no duration: five minutes are PT5M, two hours PT2H, three days P3D.",
    "time_delta_type": "This is no duration: five minutes are PT5M, two hours PT2H, three days P3D.",
}
_CLEARER = {
    "past_due": ("missing_past_due", "Say what happens when the time is over already.", "past_due: proceed, skip, or proceed_if_left"),
    "timeout": ("wait_without_bound", "Say how long to wait at most.", "timeout: a duration such as P2D"),
    "duration": ("wait_without_bound", "Say how long to wait.", "duration: a duration such as PT2H"),
}

_TIMEDELTA = re.compile(r"datetime\.timedelta\(([^)]*)\)")
"""How Pydantic says some lengths of time."""
_NAME = re.compile(r"[a-z]+_[a-z]+ ")
"""A message that begins with the name of a field, which is written as it is."""

_CONDITIONS = frozenset({"condition", "when"})
_ID = re.compile(parts.STEP_ID)

Path = tuple[str | int, ...]


class ShapeInvalid(ValueError):
    """What was written is no definition; ``findings`` say why."""

    def __init__(self, findings: list[Finding]) -> None:
        super().__init__("; ".join(finding.message for finding in findings))
        self.findings = findings


def read_definition(written: Any) -> Definition:
    """Raises ``ShapeInvalid`` with everything that is wrong."""
    if isinstance(written, Definition):
        return written
    if len(json.dumps(written, default=str)) > MAX_BYTES:
        message = f"A definition has at most {MAX_BYTES} bytes."
        raise ShapeInvalid([Finding("too_large", "", message)])
    try:
        return Definition.model_validate(written)
    except ValidationError as error:
        raise ShapeInvalid(shape_findings(error, written)) from None


def shape_findings(error: ValidationError, written: Any) -> list[Finding]:
    """Each error once, at its place in what was written. Values are never repeated."""
    found: dict[tuple[str, str], Finding] = {}
    for one in error.errors(include_url=False, include_input=False):
        finding = _finding(one, written)
        found.setdefault((finding.code, finding.pointer), finding)
    return list(found.values())


def _finding(error: Mapping[str, Any], written: Any) -> Finding:
    kind, context = error["type"], error.get("ctx", {})
    path = _path(error["loc"])
    if "pointer" in context:  # a rule about the whole that knows its place
        return Finding(kind, context["pointer"], error["msg"], context.get("step"))
    if kind == "union_tag_not_found":
        path = (*path, "kind")
    here, step = _at(written, path[:-1]), _step(written, path)
    clearer = _clearer(kind, path, _at(written, path), here)
    if clearer is not None:
        name, (code, message, hint) = clearer
        return Finding(code, _pointer(path if path and path[-1] == name else (*path, name)), message, step, hint=hint)
    return Finding(_CODES.get(kind, kind), _pointer(path), _message(error, path), step, hint=_hint(kind, path, here, written))


def _message(error: Mapping[str, Any], path: Path) -> str:
    """What is wrong, in our words where Pydantic's are for programmers; of a kind nobody knows its sentence would repeat the value."""
    kind = error["type"]
    if _inside_condition(path) == () and kind in {"string_type", "string_too_short"}:
        return "A condition is a text (CEL), or an object with blocks or jsonlogic."
    if kind in _SAID:
        return _SAID[kind]
    if kind == "too_short":
        return f"There has to be at least {error['ctx']['min_length']} of these."
    message = str(error["msg"]).removeprefix("Value error, ").removeprefix("Input ")
    message = _TIMEDELTA.sub(lambda found: _length(found[1]), message).removesuffix(".")
    return f"{message if _NAME.match(message) else message[:1].upper() + message[1:]}."


def _length(written: str) -> str:
    """``days=1, seconds=1`` in words."""
    parts = dict(part.split("=") for part in written.split(", ") if "=" in part)
    seconds = timedelta(**{name: int(value) for name, value in parts.items()}).total_seconds()
    size, unit = next(
        ((size, unit) for size, unit in ((86_400, "days"), (3_600, "hours"), (60, "minutes")) if abs(seconds) >= size), (1, "seconds")
    )
    return f"{seconds / size:g} {unit}"


def _clearer(kind: str, path: Path, value: Any, here: Any) -> tuple[str, tuple[str, str, str]] | None:
    """A missing bound or policy, said as what it is."""
    last = path[-1] if path else None
    if kind == "missing" and last in _CLEARER and (last != "duration" or isinstance(here, dict)):
        return str(last), _CLEARER[str(last)]
    if kind == "value_error" and isinstance(value, dict) and value.get("anchor") and "past_due" not in value:
        return "past_due", _CLEARER["past_due"]
    return None


def _hint(kind: str, path: Path, here: Any, written: Any) -> str | None:
    if kind == "extra_forbidden":
        known = fields_at(written, path[:-1])
        return did_you_mean(str(path[-1]), known) or (f"it takes: {', '.join(known)}" if known else None)
    if kind == "union_tag_invalid":
        value = _at(written, path)
        kinds = _TRIGGERS if path == ("trigger",) else _STEPS
        said = value.get("kind") if isinstance(value, dict) else None
        return did_you_mean(str(said), kinds) or f"one of: {', '.join(kinds)}"
    if kind == "missing" and isinstance(here, dict):
        known = fields_at(written, path[:-1])
        stranger = next((name for name in here if name not in known and did_you_mean(str(path[-1]), [name])), None)
        if stranger is not None:
            return f"there is {stranger!r}: did you mean {path[-1]!r}?"
        return f"it takes: {', '.join(known)}" if _inside_condition(path) is not None else None
    return None


def fields_at(written: Any, path: Path) -> list[str]:
    """What may be written at this place."""
    if not path:
        return list(Definition.model_fields)
    value = _at(written, path)
    kind = str(value.get("kind", "event" if path == ("trigger",) else "")) if isinstance(value, dict) else ""
    inside = _inside_condition(path)
    if inside is not None:
        return _of_condition(inside, value)
    if path == ("trigger",):
        model = _TRIGGERS.get(kind)
    elif isinstance(path[-1], int) and len(path) > 1:
        model = _STEPS.get(kind) if path[-2] in _STEP_LISTS else _ITEMS.get(str(path[-2]))
    else:
        model = _NAMED.get(str(path[-1]))
    return list(model.model_fields) if model else []


def _of_condition(inside: Path, value: Any) -> list[str]:
    """The same within a condition: its form, a group of blocks, a block."""
    if not inside:
        return ["blocks", "jsonlogic"]
    if inside[0] != "blocks" or not (inside == ("blocks",) or isinstance(inside[-1], int)):
        return []
    group = next((word for word in ("all", "any") if isinstance(value, dict) and word in value), None)
    if group is not None:
        return [group]
    return ["all", "any"] if inside == ("blocks",) else list(Block.model_fields)


def _path(location: Sequence[str | int]) -> Path:
    """Pydantic's location without the names of the kinds it tried: they stand behind every place that may be of several kinds."""
    found: list[str | int] = []
    rest = list(location)
    while rest:
        found.append(rest.pop(0))
        if _of_several_kinds(tuple(found)):
            del rest[:1]
    return tuple(found)


def _of_several_kinds(path: Path) -> bool:
    """A trigger, a step, a condition, and of a condition of blocks each group and what is in it."""
    inside = _inside_condition(path)
    if inside is None:
        return path == ("trigger",) or (len(path) > 1 and isinstance(path[-1], int) and path[-2] in _STEP_LISTS)
    return inside in {(), ("blocks",)} or (inside[0] == "blocks" and isinstance(inside[-1], int))


def _inside_condition(path: Path) -> Path | None:
    """The place within the condition it belongs to; None for what belongs to none."""
    at = next((number for number, part in enumerate(path) if part in _CONDITIONS and "parameters" not in path[:number]), None)
    return None if at is None else path[at + 1 :]


def _at(written: Any, path: Path) -> Any:
    for part in path:
        inside = isinstance(written, list) and isinstance(part, int) and part < len(written)
        written = written.get(part) if isinstance(written, dict) else written[part] if inside else None
    return written


def _step(written: Any, path: Path) -> str | None:
    """The id of the innermost step a place belongs to."""
    found: str | None = None
    for length in range(2, len(path) + 1):
        if path[length - 2] in _STEP_LISTS and isinstance(path[length - 1], int) and "parameters" not in path[:length]:
            value = _at(written, path[:length])
            name = value.get("id") if isinstance(value, dict) else None
            found = name if isinstance(name, str) and _ID.match(name) else found
    return found


def _pointer(path: Path) -> str:
    return "".join(f"/{pointer_part(part)}" for part in path)
