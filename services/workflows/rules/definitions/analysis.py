"""What may go wrong although everything compiles: steps nobody reaches, workflows that start themselves or each other, and the like.

Asked when a draft is validated and when it is published. An error stops publishing; a warning is a question to the author.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Any

from libs.contracts.envelope import Message
from libs.contracts.marks import is_personal
from services.workflows.rules.conditions.forms import always_comes_to
from services.workflows.rules.definitions.causing import Neighbour, Surrounding, chain_findings, collision_findings, reference_findings
from services.workflows.rules.definitions.definition import Definition
from services.workflows.rules.definitions.settling import open_questions
from services.workflows.rules.definitions.steps import ActionStep, BranchStep, Step, StopStep, walk, ways
from services.workflows.rules.definitions.triggers import event_of
from services.workflows.rules.definitions.unmet import time_findings, unmet_findings
from services.workflows.rules.expressions.context import shapes_for
from services.workflows.rules.expressions.shapes import Shapes
from services.workflows.rules.expressions.templates import is_template, split
from services.workflows.rules.findings import Finding, pointer_part

SUBJECTS = ("subject", "title")
"""Parameters that are shown where others look: in lists, on lock screens, in logs of mail servers."""

_SPACE = re.compile(r"\s+")
_PATIENT = re.compile(r"\bpatient\s*\.\s*(?!id\b)\w")
_SECRET = re.compile(r"(?i)authorization|secret|password|passwd|token|api[_-]?key|cookie|credential")


def analysed(definition: Definition, around: Surrounding) -> list[Finding]:
    """Everything that can be said about a definition among its neighbours."""
    found = [*_never_taken(definition), *_behind_the_end(definition.steps, "/steps"), *open_questions(definition)]
    found += [*unmet_findings(definition, around.offered), *_private(definition), *_secrets(definition)]
    if around.calendar is not None and around.now is not None:
        found += time_findings(definition, around.calendar, around.now)
    return found + reference_findings(definition, around) + chain_findings(definition, around) + collision_findings(definition, around)


def _never_taken(definition: Definition) -> Iterator[Finding]:
    """Cases that can never hold, and steps that are always skipped."""
    shapes = shapes_for(event_of(definition.trigger))
    for step, pointer, _ in walk(definition.steps):
        if isinstance(step, ActionStep) and step.when is not None and always_comes_to(step.when, shapes) is False:
            yield Finding(
                "unreachable_step",
                f"{pointer}/when",
                "This condition is never true: the step is always skipped.",
                step.id,
                severity="warning",
            )
        if isinstance(step, BranchStep):
            yield from _cases(step, pointer, shapes)


def _cases(step: BranchStep, pointer: str, shapes: Shapes) -> Iterator[Finding]:
    said: dict[str, int] = {}
    always: int | None = None
    for number, case in enumerate(step.cases):
        where, text, constant = f"{pointer}/cases/{number}/when", _same(case.when), always_comes_to(case.when, shapes)
        if always is not None or constant is False:
            message = (
                "This case is never taken: its condition is never true."
                if constant is False
                else "This case is never taken: a case before it always holds."
            )
            yield Finding("unreachable_step", where, message, step.id, severity="warning")
        elif text in said:
            hint = f"case {said[text] + 1} has the same condition"
            yield Finding("unreachable_step", where, "This case is never taken: an earlier one asks the same.", step.id, hint=hint)
        said.setdefault(text, number)
        always = number if always is None and constant is True else always
    if always is not None and step.otherwise:
        message = "These steps are never reached: a case before them always holds."
        yield Finding("unreachable_step", f"{pointer}/otherwise", message, step.id, severity="warning")


def _same(condition: Any) -> str:
    """Two texts that differ in blanks outside of quotes only ask the same."""
    text = condition if isinstance(condition, str) else repr(condition)
    return text if "'" in text or '"' in text else _SPACE.sub("", text)


def _behind_the_end(steps: Sequence[Step], pointer: str) -> Iterator[Finding]:
    """What stands behind a branch of which every way stops."""
    for number, step in enumerate(steps):
        if isinstance(step, BranchStep) and _stops(step) and number + 1 < len(steps):
            lost = steps[number + 1]
            message = "This is never reached: every way of the branch before it stops."
            yield Finding("unreachable_step", f"{pointer}/{number + 1}", message, lost.id)
        for inner, where in ways(step, f"{pointer}/{number}"):
            yield from _behind_the_end(inner, where)


def _stops(step: Step) -> bool:
    if isinstance(step, BranchStep):
        return all(any(_stops(one) for one in way) for way in (*(case.steps for case in step.cases), step.otherwise))
    return isinstance(step, StopStep)


def _private(definition: Definition) -> Iterator[Finding]:
    """Personal data in subjects."""
    personal = _personal(event_of(definition.trigger))
    for step, pointer, _ in walk(definition.steps):
        if not isinstance(step, ActionStep):
            continue
        for name in SUBJECTS:
            text = str(step.parameters.get(name) or "")
            if any(_PATIENT.search(part) or (personal and personal.search(part)) for part in split(text)[1::2]):
                message = "Personal data in a subject is read by more people than the text is."
                hint = "say it in the text"
                yield Finding("personal_data_in_subject", f"{pointer}/parameters/{name}", message, step.id, hint=hint, severity="warning")


def _personal(event: type[Message]) -> re.Pattern[str] | None:
    names = [re.escape(name) for name, field in event.model_fields.items() if is_personal(field)]
    return re.compile(rf"\bevent\s*\.\s*({'|'.join(names)})\b") if names else None


def _secrets(definition: Definition) -> Iterator[Finding]:
    for step, pointer, value in secrets(definition):
        message = "Whoever may see this workflow may read what stands here."
        yield Finding("secret_in_definition", f"{pointer}{value}", message, step, severity="warning")


def secrets(definition: Definition) -> Iterator[tuple[str, str, str]]:
    """Parameters that look like a secret: step id, pointer of the step, pointer of the value from there."""
    for step, pointer, _ in walk(definition.steps):
        if isinstance(step, ActionStep):
            for place, name, value in _leaves(step.parameters, "/parameters", ""):
                if _SECRET.search(name) and isinstance(value, str) and value and not is_template(value):
                    yield step.id, pointer, place


def _leaves(value: Any, pointer: str, name: str) -> Iterator[tuple[str, str, Any]]:
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from _leaves(inner, f"{pointer}/{pointer_part(key)}", str(key))
        if isinstance(value.get("name"), str) and isinstance(value.get("value"), str):  # a header written as a pair
            yield f"{pointer}/value", value["name"], value["value"]
    elif isinstance(value, list):
        for number, inner in enumerate(value):
            yield from _leaves(inner, f"{pointer}/{number}", name)
    else:
        yield pointer, name, value


__all__ = ["Neighbour", "Surrounding", "analysed", "secrets"]
