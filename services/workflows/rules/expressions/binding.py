"""Values on their way into an engine: what is larger than declared stays outside. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from services.workflows.rules.expressions.interface import MAX_RESULT, Evaluated, Values
from services.workflows.rules.expressions.shapes import Shapes, size_exceeded

_ZONE = re.compile(r"[A-Za-z][\w+-]*(?:/[\w+-]+)*|[+-]\d\d:\d\d|")


@dataclass(frozen=True, slots=True)
class Bound:
    """What an engine made of the values, which fields it was not given, with the reason, and which are too long to walk for it."""

    activation: Any
    refused: Mapping[str, str] = field(default_factory=dict)
    long: frozenset[str] = frozenset()

    def refusal(self, names: frozenset[str]) -> Evaluated | None:
        """The error of an expression that names one of them."""
        return next((Evaluated(error=self.refused[name]) for name in sorted(names) if name in self.refused), None)


def admitted(values: Values, shapes: Shapes) -> tuple[dict[str, Any], dict[str, str]]:
    """The values an engine may see, and what is refused: it is null there."""
    admitted: dict[str, Any] = {}
    refused: dict[str, str] = {}
    for name, value in values.items():
        if value is None or type(value) is bool:
            admitted[name] = value
        elif size_exceeded(value, shapes[name]):
            admitted[name], refused[name] = None, "value_too_large"
        elif name.endswith("time_zone") and isinstance(value, str) and _ZONE.fullmatch(value) is None:
            # An engine looks a zone up as a file of that name.
            admitted[name], refused[name] = None, "value_invalid"
        else:
            admitted[name] = value
    return admitted, refused


def bounded(result: Evaluated) -> Evaluated:
    """A text that is too long is an error."""
    return Evaluated(error="result_too_large") if isinstance(result.value, str) and len(result.value) > MAX_RESULT else result
