"""Which patients: a condition over the fields of a patient alone, in any of the three forms.

It comes with the wish that uses it. Filters that are kept under a name belong to whoever owns patients, who would hand one over in
one of these forms.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from services.workflows.rules.conditions.forms import translated
from services.workflows.rules.conditions.translation import Piece, Untranslatable, pointer_at
from services.workflows.rules.conditions.written import Condition
from services.workflows.rules.expressions.context import PATIENT, values_for
from services.workflows.rules.expressions.engines import Engine
from services.workflows.rules.expressions.interface import Compiled, Evaluated, ExpressionInvalid, Expressions, Fields
from services.workflows.rules.expressions.shapes import Shapes
from services.workflows.rules.findings import did_you_mean

SHAPES: Shapes = {f"patient.{name}": shape for name, shape in PATIENT.items()}
FIELDS: Fields = {name: shape.declared for name, shape in SHAPES.items()}
_environments: dict[Engine, Expressions] = {}


class NoFilter(ValueError):
    """It does not select patients. ``pointer`` leads into what its author wrote, ``column`` (from 1) into a CEL text."""

    def __init__(self, message: str, pointer: str = "", column: int | None = None, hint: str | None = None) -> None:
        super().__init__(f"{message}; {hint}" if hint else message)
        self.pointer, self.column = pointer, column


@dataclass(frozen=True)
class PatientFilter:
    """Compiled once, asked of each patient."""

    expressions: Expressions
    condition: Compiled

    def verdict(self, patient: Mapping[str, Any]) -> Evaluated:
        """Total: what fails to evaluate is an error, not false."""
        return self.condition.evaluate(self.expressions.bind(values_for(FIELDS, {}, patient, None, {}))).verdict


def patient_filter(condition: Condition, engine: Engine) -> PatientFilter:
    """Raises ``NoFilter`` with the place and what may help."""
    expressions = _environments.setdefault(engine, engine(FIELDS, SHAPES))
    if isinstance(condition, str):
        return _compiled(condition, None, expressions)
    try:
        piece = translated(condition, expressions.shapes)
    except Untranslatable as error:
        raise NoFilter(str(error), error.pointer, hint=error.hint) from None
    return _compiled(piece.text, piece, expressions)


def _compiled(text: str, piece: Piece | None, expressions: Expressions) -> PatientFilter:
    try:
        compiled = expressions.compile(text, translated=piece is not None)
    except ExpressionInvalid as error:
        hint = error.hint or next((found for word in str(error).split("'")[1::2] if (found := did_you_mean(word, FIELDS))), None)
        if piece is None:
            raise NoFilter(str(error), column=error.column, hint=hint) from None
        raise NoFilter(str(error), pointer_at(piece, error.column), hint=hint) from None
    if not compiled.is_boolean:
        message = "a filter is true or false; this is neither"
        raise NoFilter(message, column=1 if piece is None else None)
    return PatientFilter(expressions, compiled)
