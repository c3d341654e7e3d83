"""Check the expressions of one definition: compile, try on made-up values, say what is wrong and where."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, Literal

from libs.contracts.envelope import Message
from services.workflows.rules.conditions.forms import translated
from services.workflows.rules.conditions.hints import for_types, may_be_null, odd_members
from services.workflows.rules.conditions.translation import Piece, Untranslatable, pointer_at
from services.workflows.rules.conditions.written import Condition
from services.workflows.rules.expressions.engines import Engine, environment
from services.workflows.rules.expressions.interface import Compiled, Evaluated, ExpressionInvalid, without_strings
from services.workflows.rules.expressions.samples import empty_sample, full_sample
from services.workflows.rules.expressions.templates import Template, as_text, is_template, split
from services.workflows.rules.findings import Finding, did_you_mean, pointer_part

NO_CONDITION = "A condition is true or false; this is neither."
NO_TEXT = "This is nothing that can stand in a text."
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

    def condition(self, condition: Condition | None, pointer: str, step: str | None) -> Compiled | None:
        """Something that is true or false, in any of its forms. What is wrong points to where its author wrote it."""
        if condition is None or isinstance(condition, str):
            return self._expression(condition, Place(pointer, step), boolean=True)
        try:
            piece = translated(condition, self.expressions.shapes)
        except Untranslatable as error:
            self._findings.append(Finding(error.code, pointer + error.pointer, str(error), step, hint=error.hint))
            return None
        return self._expression(piece.text, Place(pointer, step, piece), boolean=True)

    def value(self, text: str | None, pointer: str) -> Compiled | None:
        """Something that can stand in a text."""
        return self._expression(text, Place(pointer, None), boolean=False)

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
            compiled = self._expression(part.strip(), Place(pointer, step), boolean=False)
            if compiled is not None:
                parts.append(compiled)
        return Template(tuple(parts))

    def _expression(self, text: str | None, place: Place, *, boolean: bool) -> Compiled | None:
        if text is None:
            return None
        try:
            compiled = self.expressions.compile(text, translated=place.piece is not None)
        except ExpressionInvalid as error:
            self._findings.append(place.finding("invalid_expression", str(error), error.column, error.hint))
            return None
        self._names.update(_ROOTS.findall(without_strings(text)))
        unknown = self._unknown_step(text)
        if unknown is not None:
            hint = did_you_mean(unknown, self.known_steps)
            self._findings.append(place.finding("unknown_step", "No step of this name stands before this one.", hint=hint))
            return None
        if boolean and not compiled.is_boolean:
            self._findings.append(place.finding("not_a_condition", NO_CONDITION))
            return None
        shapes = self.expressions.shapes
        self._findings += [place.finding("no_member", said, at, hint, warning=True) for at, said, hint in odd_members(text, shapes)]
        found = self._try(compiled, text, place, boolean=boolean)
        if found is not None:
            self._findings.append(found)
        return compiled

    def _unknown_step(self, text: str) -> str | None:
        named = [match[1] for match in _OUTPUTS.finditer(without_strings(text)) if match[1]] + _QUOTED.findall(text)
        return next((name for name in named if name not in self.known_steps), None)

    def _try(self, compiled: Compiled, text: str, place: Place, *, boolean: bool) -> Finding | None:
        """What comes out with every field set, then with what may be empty empty. What steps leave nobody knows before."""
        full, empty = (compiled.evaluate(sample) for sample in self._samples)
        if full.error is not None and _OUTPUTS.search(without_strings(text)) is not None:
            return None
        if full.error is None and boolean and not isinstance(full.value, bool):
            return place.finding("not_a_condition", NO_CONDITION)
        if full.error is None and not boolean and as_text(full.value) is None:
            return place.finding("not_text", NO_TEXT)
        if full.error == "no_such_overload":
            message = "An operator or function here does not take values of these types."
            return place.finding("types_differ", message, hint=for_types(text, self.expressions.shapes))
        if full.error is not None:
            return place.may_fail("With example values this fails; then the run fails.", full)
        empty = empty.verdict if boolean else empty
        if empty.error is not None:
            hint = may_be_null(text, self.expressions.shapes)
            return place.may_fail("When a field is empty this fails; then the run fails.", empty, hint)
        return None


@dataclass(frozen=True)
class Place:
    """Where an expression stands. Of a translated one every part knows where its author wrote it; columns mean nothing there."""

    pointer: str
    step: str | None
    piece: Piece | None = None

    def finding(self, code: str, message: str, column: int | None = None, hint: str | None = None, *, warning: bool = False) -> Finding:
        severity: Literal["error", "warning"] = "warning" if warning else "error"
        if self.piece is None:
            return Finding(code, self.pointer, message, self.step, column, hint, severity)
        return Finding(code, self.pointer + pointer_at(self.piece, column), message, self.step, None, hint, severity)

    def may_fail(self, message: str, result: Evaluated, hint: str | None = None) -> Finding:
        return self.finding(f"may_fail:{result.error or 'not_boolean'}", message, hint=hint, warning=True)
