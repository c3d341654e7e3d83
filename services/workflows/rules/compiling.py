"""From a definition to something that runs: every expression compiled once, every fault found with its place."""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from libs.contracts.envelope import MESSAGES, Event
from services.workflows.rules.context import fields_for
from services.workflows.rules.definition import ActionStep, Definition
from services.workflows.rules.expressions import CelCpp, Compiled, Evaluated, ExpressionInvalid, Expressions, Fields

TEMPLATE = re.compile(r"\{\{(.*?)\}\}", re.DOTALL)
_UNDECLARED = re.compile(r"undeclared reference to '([^']+)'")


@dataclass(frozen=True)
class Finding:
    """Something wrong with a definition, where, and what may help. ``pointer`` is a JSON pointer into it."""

    code: str
    pointer: str
    message: str
    step: str | None = None
    column: int | None = None
    hint: str | None = None


@dataclass(frozen=True)
class Template:
    """A text parameter: literal parts and expressions in turn."""

    parts: tuple[str | Compiled, ...]

    def render(self, bound: Any) -> str | Evaluated:
        """The text, or the first error."""
        texts: list[str] = []
        for part in self.parts:
            if isinstance(part, str):
                texts.append(part)
                continue
            result = part.evaluate(bound)
            if result.error is not None:
                return result
            texts.append(_text(result.value))
        return "".join(texts)


def _text(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, datetime):
        return value.isoformat()
    return str(value)


@dataclass(frozen=True)
class CompiledDefinition:
    """A definition ready to run. Immutable; shared by all runs of its version in this process."""

    definition: Definition
    fields: Fields
    expressions: Expressions
    condition: Compiled | None
    conditions: Mapping[str, Compiled] = field(default_factory=dict)
    templates: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)


class DefinitionInvalid(ValueError):
    """The definition has findings."""

    def __init__(self, findings: list[Finding]) -> None:
        super().__init__("; ".join(finding.message for finding in findings))
        self.findings = findings


def compile_definition(definition: Definition, engine: type = CelCpp) -> CompiledDefinition:
    """Raises ``DefinitionInvalid`` with everything that is wrong, not only the first."""
    event = MESSAGES.get(definition.trigger.event)
    if event is None or not issubclass(event, Event):
        close = difflib.get_close_matches(definition.trigger.event, [name for name, kind in MESSAGES.items() if kind.kind == "event"], 1)
        raise DefinitionInvalid([Finding("unknown_event", "/trigger/event", "There is no such event type.", hint=_did_you_mean(close))])
    return _Compiler(definition, fields_for(event), engine).run()


class _Compiler:
    def __init__(self, definition: Definition, fields: Fields, engine: type) -> None:
        self._definition = definition
        self._fields = fields
        self._expressions: Expressions = engine(fields)
        self._findings: list[Finding] = []

    def run(self) -> CompiledDefinition:
        condition = self._expression(self._definition.condition, "/condition", None, boolean=True)
        conditions: dict[str, Compiled] = {}
        templates: dict[str, Mapping[str, Any]] = {}
        for index, step in enumerate(self._definition.steps):
            if not isinstance(step, ActionStep):
                continue
            when = self._expression(step.when, f"/steps/{index}/when", step.id, boolean=True)
            if when is not None:
                conditions[step.id] = when
            templates[step.id] = self._parameter(step.parameters, f"/steps/{index}/parameters", step.id)
        if self._findings:
            raise DefinitionInvalid(self._findings)
        return CompiledDefinition(self._definition, self._fields, self._expressions, condition, conditions, templates)

    def _parameter(self, value: Any, pointer: str, step: str) -> Any:
        if isinstance(value, dict):
            return {name: self._parameter(inner, f"{pointer}/{name}", step) for name, inner in value.items()}
        if isinstance(value, list):
            return [self._parameter(inner, f"{pointer}/{index}", step) for index, inner in enumerate(value)]
        if isinstance(value, str) and "{{" in value:
            return self._template(value, pointer, step)
        return value

    def _template(self, text: str, pointer: str, step: str) -> Template:
        parts: list[str | Compiled] = []
        for index, part in enumerate(TEMPLATE.split(text)):
            if index % 2 == 0:
                parts.append(part)
                continue
            compiled = self._expression(part.strip(), pointer, step, boolean=False)
            if compiled is not None:
                parts.append(compiled)
        return Template(tuple(parts))

    def _expression(self, text: str | None, pointer: str, step: str | None, *, boolean: bool) -> Compiled | None:
        if text is None:
            return None
        try:
            compiled = self._expressions.compile(text)
        except ExpressionInvalid as error:
            self._findings.append(Finding("invalid_expression", pointer, str(error), step, error.column, self._hint(str(error))))
            return None
        if boolean and not compiled.is_boolean:
            self._findings.append(Finding("not_a_condition", pointer, "A condition is true or false; this is neither.", step))
            return None
        return compiled

    def _hint(self, message: str) -> str | None:
        found = _UNDECLARED.search(message)
        return _did_you_mean(difflib.get_close_matches(found[1], list(self._fields), 1, 0.5)) if found else None


def _did_you_mean(close: list[str]) -> str | None:
    return f"did you mean {close[0]!r}?" if close else None


def rendered(parameters: Any, bound: Any) -> Any:
    """Parameters with their templates filled, or the ``Evaluated`` error of the first that fails."""
    if isinstance(parameters, Template):
        return parameters.render(bound)
    if isinstance(parameters, Mapping):
        filled: dict[str, Any] = {}
        for name, inner in parameters.items():
            value = rendered(inner, bound)
            if isinstance(value, Evaluated):
                return value
            filled[name] = value
        return filled
    if isinstance(parameters, list):
        values = [rendered(inner, bound) for inner in parameters]
        return next((value for value in values if isinstance(value, Evaluated)), values)
    return parameters
