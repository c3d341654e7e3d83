"""cel-python behind the interface: the second opinion, chosen by setting, never a silent fallback.

Its interpreter only: the compiled runner shares state between threads. It has no type check: types are found out at
run time. It compares across kinds of numbers by an error.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from datetime import datetime
from typing import Any

import celpy
from celpy.adapter import json_to_cel
from celpy.celparser import CELParseError
from celpy.evaluation import CELEvalError

from services.workflows.rules.expressions.binding import Bound, admitted, bounded
from services.workflows.rules.expressions.bounds import MAX_COST, MAX_NODES, MAX_TRANSLATED_NODES, check_bounds
from services.workflows.rules.expressions.interface import (
    MAX_SOURCE,
    MAX_TRANSLATED,
    Compiled,
    Evaluated,
    ExpressionInvalid,
    Fields,
    Values,
    check_source,
)
from services.workflows.rules.expressions.shapes import Shapes, plain_shapes
from services.workflows.rules.expressions.syntax import Node, dotted, parse

MAX_WALKED = 12
"""Elements of a list that is walked. Errors of this engine hold the errors before them: each one more doubles its text."""

# What it logs about errors repeats values of the event.
logging.getLogger("celpy").setLevel(logging.CRITICAL + 1)


class CelPython:
    """One environment."""

    def __init__(self, fields: Fields, shapes: Shapes | None = None) -> None:
        self._fields = fields
        self.shapes = shapes if shapes is not None else plain_shapes(fields)
        self._environment = celpy.Environment()

    def compile(self, text: str, *, translated: bool = False) -> Compiled:
        check_source(text, MAX_TRANSLATED if translated else MAX_SOURCE)
        parsed = parse(text)
        names = check_bounds(parsed, self.shapes, MAX_COST, MAX_TRANSLATED_NODES if translated else MAX_NODES)
        walked = frozenset(self._walked(parsed))
        try:
            tree = self._environment.compile(text)
        except CELParseError as error:
            raise ExpressionInvalid("syntax error", getattr(error, "column", None)) from None
        except RecursionError:
            raise ExpressionInvalid("the expression is nested too deeply") from None
        return _Expression(self._environment.program(tree), names, walked)

    def _walked(self, tree: Node) -> Iterator[str]:
        """The fields whose elements are walked. Raises ``ExpressionInvalid`` for what could be longer than ``MAX_WALKED``."""
        for node in tree.walk():
            if node.kind != "macro":
                continue
            listed, *said = node.children
            if any(inner.kind == "macro" for one in said for inner in one.walk()):
                raise ExpressionInvalid("this engine walks one list at a time", node.start + 1)
            name = dotted(listed)
            if name in self.shapes:
                yield str(name)
            elif listed.kind != "list" or len(listed.children) > MAX_WALKED:
                raise ExpressionInvalid(f"this engine walks fields, and lists written out of at most {MAX_WALKED} items", node.start + 1)

    def bind(self, values: Values) -> Bound:
        nested: dict[str, Any] = {}
        known, refused = admitted(values, self.shapes)
        long = frozenset(name for name, value in known.items() if isinstance(value, (list, dict)) and len(value) > MAX_WALKED)
        for name, value in known.items():
            *path, last = name.split(".")
            inner = nested
            for part in path:
                inner = inner.setdefault(part, {})
            inner[last] = value
        return Bound({name: _to_celpy(value) for name, value in nested.items()}, refused, long)


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

    def __init__(self, program: Any, names: frozenset[str], walked: frozenset[str]) -> None:
        self._program = program
        self._names = names
        self._walked = walked

    def evaluate(self, bound: Bound) -> Evaluated:
        if bound.refused and (refusal := bound.refusal(self._names)) is not None:
            return refusal
        if self._walked & bound.long:
            return Evaluated(error="value_too_large")
        try:
            value = self._program.evaluate(bound.activation)
        except (CELEvalError, ValueError, TypeError, OverflowError, RecursionError):
            return Evaluated(error="evaluation_error")
        return bounded(Evaluated(bool(value) if isinstance(value, celpy.celtypes.BoolType) else value))
