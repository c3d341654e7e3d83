"""Which patients: a condition over the fields of a patient alone."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from services.workflows.rules.expressions.context import PATIENT, values_for
from services.workflows.rules.expressions.engines import Engine
from services.workflows.rules.expressions.interface import Compiled, Evaluated, ExpressionInvalid, Expressions, Fields, FieldType
from services.workflows.rules.findings import did_you_mean

FIELDS: Fields = {f"patient.{name}": FieldType.DYN for name in PATIENT}
_environments: dict[Engine, Expressions] = {}


@dataclass(frozen=True)
class PatientFilter:
    """Compiled once, asked of each patient."""

    expressions: Expressions
    condition: Compiled

    def verdict(self, patient: Mapping[str, Any]) -> Evaluated:
        """Total: what fails to evaluate is an error, not false."""
        return self.condition.evaluate(self.expressions.bind(values_for(FIELDS, {}, patient, None, {}))).verdict


def patient_filter(text: str, engine: Engine) -> PatientFilter:
    """Raises ``ExpressionInvalid`` with the column and what may help."""
    expressions = _environments.setdefault(engine, engine(FIELDS))
    try:
        compiled = expressions.compile(text)
    except ExpressionInvalid as error:
        hint = next((found for word in str(error).split("'")[1::2] if (found := did_you_mean(word, FIELDS))), None)
        raise ExpressionInvalid(f"{error}; {hint}" if hint else str(error), error.column) from None
    if not compiled.is_boolean:
        message = "a filter is true or false; this is neither"
        raise ExpressionInvalid(message, 1)
    return PatientFilter(expressions, compiled)
