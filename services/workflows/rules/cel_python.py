"""cel-python behind the interface: the second opinion, chosen by setting, never a silent fallback.

Its interpreter only: the compiled runner shares state between threads. It has no type check: types are found out at
run time. It compares across kinds of numbers by an error.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

import celpy
from celpy.adapter import json_to_cel
from celpy.celparser import CELParseError
from celpy.evaluation import CELEvalError

from services.workflows.rules.binding import Bound, admitted, bounded
from services.workflows.rules.bounds import MAX_NODES, MAX_TRANSLATED_NODES, check_bounds
from services.workflows.rules.expressions import (
    MAX_SOURCE,
    MAX_TRANSLATED,
    Compiled,
    Evaluated,
    ExpressionInvalid,
    Fields,
    Values,
    check_source,
)
from services.workflows.rules.shapes import Shapes, plain_shapes
from services.workflows.rules.syntax import parse

MAX_COST = 150_000


class CelPython:
    """One environment."""

    def __init__(self, fields: Fields, shapes: Shapes | None = None) -> None:
        self._fields = fields
        self.shapes = shapes if shapes is not None else plain_shapes(fields)
        self._environment = celpy.Environment()

    def compile(self, text: str, *, translated: bool = False) -> Compiled:
        check_source(text, MAX_TRANSLATED if translated else MAX_SOURCE)
        names = check_bounds(parse(text), self.shapes, MAX_COST, MAX_TRANSLATED_NODES if translated else MAX_NODES)
        try:
            tree = self._environment.compile(text)
        except CELParseError as error:
            raise ExpressionInvalid("syntax error", getattr(error, "column", None)) from None
        except RecursionError:
            raise ExpressionInvalid("the expression is nested too deeply") from None
        return _Expression(self._environment.program(tree), names)

    def bind(self, values: Values) -> Bound:
        nested: dict[str, Any] = {}
        known, refused = admitted(values, self.shapes)
        for name, value in known.items():
            *path, last = name.split(".")
            inner = nested
            for part in path:
                inner = inner.setdefault(part, {})
            inner[last] = value
        return Bound({name: _to_celpy(value) for name, value in nested.items()}, refused)


def _to_celpy(value: Any) -> Any:
    if isinstance(value, datetime):
        return celpy.celtypes.TimestampType(value)
    if isinstance(value, dict):
        return celpy.celtypes.MapType({celpy.celtypes.StringType(key): _to_celpy(inner) for key, inner in value.items()})
    if isinstance(value, list):
        return celpy.celtypes.ListType([_to_celpy(inner) for inner in value])
    return json_to_cel(value)


class _Expression:
    is_boolean = True

    def __init__(self, program: Any, names: frozenset[str]) -> None:
        self._program = program
        self._names = names

    def evaluate(self, bound: Bound) -> Evaluated:
        if bound.refused and (refusal := bound.refusal(self._names)) is not None:
            return refusal
        try:
            value = self._program.evaluate(bound.activation)
        except (CELEvalError, ValueError, TypeError, OverflowError, RecursionError):
            return Evaluated(error="evaluation_error")
        return bounded(Evaluated(bool(value) if isinstance(value, celpy.celtypes.BoolType) else value))
