"""cel-python behind the interface: the second opinion, chosen by setting, never a silent fallback.

Its interpreter only: the compiled runner shares state between threads. It has no type check, so names are checked here
against the declared fields; types are found out at run time. It compares across kinds of numbers by an error.
"""

from __future__ import annotations

import re
from datetime import datetime
from typing import Any

import celpy
from celpy.adapter import json_to_cel
from celpy.celparser import CELParseError
from celpy.evaluation import CELEvalError

from services.workflows.rules.expressions import Compiled, Evaluated, ExpressionInvalid, Fields, Values, check_source, without_strings

_NAME = re.compile(r"(?<![\w.])[a-z_]+(?:\.[a-z_][a-z0-9_]*)+(?![\w(])")


class CelPython:
    """One environment."""

    def __init__(self, fields: Fields) -> None:
        self._fields = fields
        self._roots = {name.split(".")[0] for name in fields}
        self._environment = celpy.Environment()

    def compile(self, text: str) -> Compiled:
        check_source(text)
        try:
            tree = self._environment.compile(text)
        except CELParseError as error:
            raise ExpressionInvalid("syntax error", getattr(error, "column", None)) from None
        except RecursionError:
            raise ExpressionInvalid("the expression is nested too deeply") from None
        self._check_names(text)
        return _Expression(self._environment.program(tree))

    def _check_names(self, text: str) -> None:
        for match in _NAME.finditer(without_strings(text)):
            name = match[0]
            # A field may be followed by a field of its own value: event.result.message_id.
            known = any(name == field or name.startswith(f"{field}.") for field in self._fields)
            if name.split(".")[0] in self._roots and not known:
                message = f"undeclared reference to '{name}'"
                raise ExpressionInvalid(message, match.start() + 1)

    def bind(self, values: Values) -> Any:
        nested: dict[str, Any] = {}
        for name, value in values.items():
            *path, last = name.split(".")
            inner = nested
            for part in path:
                inner = inner.setdefault(part, {})
            inner[last] = value
        return {name: _to_celpy(value) for name, value in nested.items()}


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

    def __init__(self, program: Any) -> None:
        self._program = program

    def evaluate(self, bound: Any) -> Evaluated:
        try:
            value = self._program.evaluate(bound)
        except (CELEvalError, ValueError, TypeError, OverflowError, RecursionError):
            return Evaluated(error="evaluation_error")
        return Evaluated(bool(value) if isinstance(value, celpy.celtypes.BoolType) else value)
