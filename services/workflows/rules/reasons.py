"""Why a condition came out as it did: its value, and the value of each part of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from services.workflows.rules.expressions import ExpressionInvalid, Expressions


@dataclass(frozen=True)
class Reason:
    """A part of a condition as it is written, and its value or the class of its error."""

    text: str
    value: Any = None
    error: str | None = None
    parts: tuple[Reason, ...] = ()


def reasons(source: str, expressions: Expressions, bound: Any) -> tuple[Reason, ...]:
    """Why a condition was true, false or failed, outermost first. ``bound`` comes from ``expressions``."""
    try:
        result = expressions.compile(source).evaluate(bound)
    except ExpressionInvalid:
        return (Reason(source, error="invalid_expression"),)
    return (Reason(source, result.value, result.error),)
