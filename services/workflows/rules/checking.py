"""Check the expressions of one definition: compile, try on made-up values, say what is wrong and where."""

from __future__ import annotations

import re
from typing import Any

from libs.contracts.envelope import Message
from services.workflows.rules.engines import Engine, environment
from services.workflows.rules.expressions import Compiled, Evaluated, ExpressionInvalid, without_strings
from services.workflows.rules.findings import Finding, did_you_mean, pointer_part
from services.workflows.rules.samples import empty_sample, full_sample
from services.workflows.rules.templates import Template, as_text, is_template, split

_UNDECLARED = re.compile(r"undeclared reference to '([^']+)'")
_ROOTS = re.compile(r"\b(patient|appointment|practice|steps)\b\s*[.\[]")
_OUTPUTS = re.compile(r"\bsteps\s*(?:\.\s*([A-Za-z_]\w*)|\[)")
_QUOTED = re.compile(r"\bsteps\s*\[\s*['\"]([^'\"]*)['\"]\s*\]")


class Checker:
    """Everything about one kind of event. Findings and the names looked at are added to the lists given.

    ``awaiting``: what started the run that waits for the event. ``known_steps``: the steps written before the expression, whose outputs it may name.
    """

    def __init__(
        self,
        event: type[Message],
        engine: Engine,
        findings: list[Finding],
        names: set[str],
        *,
        awaiting: type[Message] | None = None,
        known_steps: list[str] | None = None,
    ) -> None:
        self.fields, self.expressions = environment(event, engine, awaiting=awaiting is not None)
        self.known_steps = known_steps if known_steps is not None else []
        self._samples = [self.expressions.bind(sample(event, self.fields, awaiting)) for sample in (full_sample, empty_sample)]
        self._findings = findings
        self._names = names

    def condition(self, text: str | None, pointer: str, step: str | None) -> Compiled | None:
        """Something that is true or false."""
        return self._expression(text, pointer, step, boolean=True)

    def value(self, text: str | None, pointer: str) -> Compiled | None:
        """Something that can stand in a text."""
        return self._expression(text, pointer, None, boolean=False)

    def parameters(self, value: Any, pointer: str, step: str) -> Any:
        """Parameters with every text that holds expressions as a template."""
        if isinstance(value, dict):
            return {name: self.parameters(inner, f"{pointer}/{pointer_part(name)}", step) for name, inner in value.items()}
        if isinstance(value, list):
            return [self.parameters(inner, f"{pointer}/{index}", step) for index, inner in enumerate(value)]
        return self._template(value, pointer, step) if is_template(value) else value

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
            compiled = self.expressions.compile(text)
        except ExpressionInvalid as error:
            self._findings.append(Finding("invalid_expression", pointer, str(error), step, error.column, self._hint(str(error))))
            return None
        self._names.update(_ROOTS.findall(without_strings(text)))
        unknown = self._unknown_step(text)
        if unknown is not None:
            hint = did_you_mean(unknown, self.known_steps)
            message = "No step of this name stands before this one."
            self._findings.append(Finding("unknown_step", pointer, message, step, hint=hint))
            return None
        if boolean and not compiled.is_boolean:
            self._findings.append(_no_condition(pointer, step))
            return None
        found = self._try(compiled, pointer, step, boolean=boolean, outputs=_OUTPUTS.search(without_strings(text)) is not None)
        if found is not None:
            self._findings.append(found)
        return compiled

    def _unknown_step(self, text: str) -> str | None:
        named = [match[1] for match in _OUTPUTS.finditer(without_strings(text)) if match[1]] + _QUOTED.findall(text)
        return next((name for name in named if name not in self.known_steps), None)

    def _try(self, compiled: Compiled, pointer: str, step: str | None, *, boolean: bool, outputs: bool) -> Finding | None:
        """What comes out with every field set, then with what may be empty empty. What steps leave nobody knows before."""
        full, empty = (compiled.evaluate(sample) for sample in self._samples)
        if outputs and full.error is not None:
            return None
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
        return did_you_mean(found[1], self.fields) if found else None


def _no_condition(pointer: str, step: str | None) -> Finding:
    return Finding("not_a_condition", pointer, "A condition is true or false; this is neither.", step)


def _may_fail(pointer: str, step: str | None, message: str, result: Evaluated, hint: str | None = None) -> Finding:
    return Finding(f"may_fail:{result.error or 'not_boolean'}", pointer, message, step, hint=hint, severity="warning")
