"""From a definition to something that runs: every expression compiled once, every fault found with its place.

What compiles is also tried on made-up values: once with every field set, once with every field that may be empty.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from libs.contracts.envelope import Event
from services.workflows.rules.cel_cpp import CelCpp
from services.workflows.rules.definition import ActionStep, BranchStep, Definition, Step, StopStep, walk
from services.workflows.rules.engines import Engine, environment
from services.workflows.rules.expressions import Compiled, Evaluated, ExpressionInvalid, Expressions, Fields, without_strings
from services.workflows.rules.program import Instruction, program_of
from services.workflows.rules.samples import empty_sample, full_sample
from services.workflows.rules.templates import Template, as_text, is_template, split
from services.workflows.rules.triggers import BY_TYPE

_UNDECLARED = re.compile(r"undeclared reference to '([^']+)'")
_ROOTS = re.compile(r"\b(patient|appointment|practice)\.")


@dataclass(frozen=True)
class Finding:
    """Something wrong with a definition, where, and what may help. ``pointer`` is a JSON pointer into it.

    An error stops saving or publishing; a warning is shown.
    """

    code: str
    pointer: str
    message: str
    step: str | None = None
    column: int | None = None
    hint: str | None = None
    severity: Literal["error", "warning"] = "error"


@dataclass(frozen=True)
class CompiledDefinition:
    """A definition ready to run. Immutable; shared by all runs of its version in this process.

    ``expressions`` is one object for all definitions about the same kind of event: what it binds, all of them evaluate.
    ``names`` says which of patient, appointment and practice its expressions look at. ``cases``: the conditions of each branch.
    """

    definition: Definition
    fields: Fields
    expressions: Expressions
    condition: Compiled | None
    conditions: Mapping[str, Compiled] = field(default_factory=dict)
    templates: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    names: frozenset[str] = frozenset()
    warnings: tuple[Finding, ...] = ()
    program: tuple[Instruction, ...] = ()
    cases: Mapping[str, tuple[Compiled, ...]] = field(default_factory=dict)


class DefinitionInvalid(ValueError):
    """The definition has findings, at least one of them an error."""

    def __init__(self, findings: list[Finding]) -> None:
        super().__init__("; ".join(finding.message for finding in findings))
        self.findings = findings


def compile_definition(definition: Definition, engine: Engine = CelCpp) -> CompiledDefinition:
    """Raises ``DefinitionInvalid`` with everything that is wrong, not only the first."""
    event = BY_TYPE.get(definition.trigger.event)
    if event is None:
        close = difflib.get_close_matches(definition.trigger.event, list(BY_TYPE), 1)
        message = "No event of this type starts a workflow."
        raise DefinitionInvalid([Finding("unknown_event", "/trigger/event", message, hint=_did_you_mean(close))])
    return _Compiler(definition, event, engine).run()


def pointer_part(name: object) -> str:
    """One reference token of a JSON pointer (RFC 6901)."""
    return str(name).replace("~", "~0").replace("/", "~1")


class _Compiler:
    def __init__(self, definition: Definition, event: type[Event], engine: Engine) -> None:
        self._definition = definition
        self._fields, self._expressions = environment(event, engine)
        self._samples = [self._expressions.bind(sample(event, self._fields)) for sample in (full_sample, empty_sample)]
        self._findings: list[Finding] = []
        self._names: set[str] = set()

    def run(self) -> CompiledDefinition:
        condition = self._expression(self._definition.condition, "/condition", None, boolean=True)
        conditions: dict[str, Compiled] = {}
        templates: dict[str, Mapping[str, Any]] = {}
        cases: dict[str, tuple[Compiled | None, ...]] = {}
        for step, pointer, _ in walk(self._definition.steps):
            if isinstance(step, BranchStep):
                ways = enumerate(step.cases)
                cases[step.id] = tuple(self._expression(c.when, f"{pointer}/cases/{n}/when", step.id, boolean=True) for n, c in ways)
            if isinstance(step, ActionStep):
                when = self._expression(step.when, f"{pointer}/when", step.id, boolean=True)
                if when is not None:
                    conditions[step.id] = when
                templates[step.id] = self._parameter(step.parameters, f"{pointer}/parameters", step.id)
        self._unreachable(self._definition.steps, "/steps")
        if any(finding.severity == "error" for finding in self._findings):
            raise DefinitionInvalid(self._findings)
        return CompiledDefinition(
            self._definition,
            self._fields,
            self._expressions,
            condition,
            conditions,
            templates,
            frozenset(self._names),
            tuple(self._findings),
            program_of(self._definition.steps),
            {name: tuple(one for one in compiled if one is not None) for name, compiled in cases.items()},
        )

    def _unreachable(self, steps: list[Step], pointer: str) -> None:
        """What stands behind a stop."""
        for index, step in enumerate(steps):
            if isinstance(step, StopStep) and index + 1 < len(steps):
                lost = steps[index + 1]
                message = "This is never reached: the run stops before it."
                self._findings.append(Finding("unreachable_step", f"{pointer}/{index + 1}", message, lost.id))
            if isinstance(step, BranchStep):
                for number, case in enumerate(step.cases):
                    self._unreachable(case.steps, f"{pointer}/{index}/cases/{number}/steps")
                self._unreachable(step.otherwise, f"{pointer}/{index}/otherwise")

    def _parameter(self, value: Any, pointer: str, step: str) -> Any:
        if isinstance(value, dict):
            return {name: self._parameter(inner, f"{pointer}/{pointer_part(name)}", step) for name, inner in value.items()}
        if isinstance(value, list):
            return [self._parameter(inner, f"{pointer}/{index}", step) for index, inner in enumerate(value)]
        if is_template(value):
            return self._template(value, pointer, step)
        return value

    def _template(self, text: str, pointer: str, step: str) -> Template:
        parts: list[str | Compiled] = []
        for index, part in enumerate(split(text)):
            if index % 2 == 0:
                if "{{" in part:
                    self._findings.append(Finding("template_unclosed", pointer, "A {{ is not closed by }}.", step))
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
        self._names.update(_ROOTS.findall(without_strings(text)))
        if boolean and not compiled.is_boolean:
            self._findings.append(_no_condition(pointer, step))
            return None
        found = self._try(compiled, pointer, step, boolean=boolean)
        if found is not None:
            self._findings.append(found)
        return compiled

    def _try(self, compiled: Compiled, pointer: str, step: str | None, *, boolean: bool) -> Finding | None:
        """What comes out with every field set, then with what may be empty empty."""
        full, empty = (compiled.evaluate(sample) for sample in self._samples)
        if full.error is None and boolean and not isinstance(full.value, bool):
            return _no_condition(pointer, step)
        if full.error is None and not boolean and as_text(full.value) is None:
            return Finding("not_text", pointer, "This is nothing that can stand in a text.", step)
        if full.error == "no_such_overload":
            return Finding("types_differ", pointer, "An operator or function here does not take values of these types.", step)
        if full.error is not None:
            return _may_fail(pointer, step, "With example values this fails; then the run fails.", full)
        if (empty.verdict if boolean else empty).error is not None:
            hint = "compare with null first: patient.email != null && …"
            return _may_fail(pointer, step, "When a field is empty this fails; then the run fails.", empty, hint)
        return None

    def _hint(self, message: str) -> str | None:
        found = _UNDECLARED.search(message)
        return _did_you_mean(difflib.get_close_matches(found[1], list(self._fields), 1, 0.5)) if found else None


def _no_condition(pointer: str, step: str | None) -> Finding:
    return Finding("not_a_condition", pointer, "A condition is true or false; this is neither.", step)


def _may_fail(pointer: str, step: str | None, message: str, result: Evaluated, hint: str | None = None) -> Finding:
    return Finding(f"may_fail:{result.error or 'not_boolean'}", pointer, message, step, hint=hint, severity="warning")


def _did_you_mean(close: list[str]) -> str | None:
    return f"did you mean {close[0]!r}?" if close else None
