"""CEL behind a small interface: compile once, evaluate often, errors as values.

cel-cpp (Google's ``cel-expr-python``) checks types when a definition is saved and bounds what an expression may cost.
cel-python is the second opinion: the same interface, chosen by setting, never a silent fallback.

Names are dotted (``patient.email``): each known field is a declared variable, so an unknown one is an error at save time
and every declared one always exists; an unset one is null. ``has()`` would say nothing here and is refused.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any, Protocol

import celpy
from cel_expr_python import cel
from cel_expr_python.ext import ext_strings
from celpy.adapter import json_to_cel
from celpy.celparser import CELParseError
from celpy.evaluation import CELEvalError


class FieldType(StrEnum):
    BOOL = "bool"
    INT = "int"
    DOUBLE = "double"
    STRING = "string"
    TIMESTAMP = "timestamp"
    LIST = "list"
    DYN = "dyn"


Fields = Mapping[str, FieldType]
Values = Mapping[str, Any]


class ExpressionInvalid(ValueError):
    """The expression does not compile. ``column`` counts from 1; the text is the engine's, without the source."""

    def __init__(self, message: str, column: int | None = None) -> None:
        super().__init__(message)
        self.column = column


@dataclass(frozen=True)
class Evaluated:
    """What an expression came to: a value, or the class of its error. Test ``is_true``, never the truth of ``value``."""

    value: Any = None
    error: str | None = None

    @property
    def is_true(self) -> bool:
        return self.error is None and self.value is True


class Bound(Protocol):
    """The values of one event, made ready once for all its expressions."""


class Compiled(Protocol):
    @property
    def is_boolean(self) -> bool: ...

    def evaluate(self, bound: Any) -> Evaluated: ...


class Expressions(Protocol):
    """One engine, one set of declared fields."""

    def compile(self, text: str) -> Compiled:
        """Raises ``ExpressionInvalid``."""

    def bind(self, values: Values) -> Any:
        """Values by dotted name; datetimes are aware, unset is None."""


_HAS = re.compile(r"\bhas\s*\(")
_STRINGS = re.compile(r"\"(?:[^\"\\]|\\.)*\"|'(?:[^'\\]|\\.)*'")


def _refuse_has(text: str) -> None:
    bare = _STRINGS.sub(lambda match: " " * len(match[0]), text)
    found = _HAS.search(bare)
    if found:
        raise ExpressionInvalid("has() is not needed: every field exists, compare it with null", found.start() + 1)


_CPP_TYPES = {
    FieldType.BOOL: cel.Type.BOOL,
    FieldType.INT: cel.Type.INT,
    FieldType.DOUBLE: cel.Type.DOUBLE,
    FieldType.STRING: cel.Type.STRING,
    FieldType.TIMESTAMP: cel.Type.TIMESTAMP,
    FieldType.LIST: cel.Type.List(cel.Type.DYN),
    FieldType.DYN: cel.Type.DYN,
}
_CPP_ERROR = re.compile(r"ERROR: <input>:(?P<line>\d+):(?P<column>\d+): (?P<message>[^\n]*)")


class CelCpp:
    """Google's cel-cpp. Compiled expressions are immutable and may be shared."""

    def __init__(self, fields: Fields) -> None:
        variables = {name: _CPP_TYPES[kind] for name, kind in fields.items()}
        self._env = cel.NewEnv(variables=variables, extensions=[ext_strings.ExtStrings()])

    def compile(self, text: str) -> Compiled:
        _refuse_has(text)
        try:
            return _CppExpression(self._env.compile(text))
        except RuntimeError as error:
            found = _CPP_ERROR.search(str(error))
            if found is None:
                raise ExpressionInvalid("the expression does not compile") from None
            raise ExpressionInvalid(found["message"].removesuffix(" (in container '')"), int(found["column"])) from None

    def bind(self, values: Values) -> Any:
        return self._env.Activation(dict(values))


class _CppExpression:
    def __init__(self, expression: Any) -> None:
        self._expression = expression
        self.is_boolean = any(expression.return_type() == kind for kind in (cel.Type.BOOL, cel.Type.DYN))  # types are not hashable

    def evaluate(self, bound: Any) -> Evaluated:
        result = self._expression.eval(bound)
        if result.type() == cel.Type.ERROR:
            # The text may hold values of the event: only its class leaves.
            return Evaluated(error=str(result.value()).split(":", 1)[0].lower())
        return Evaluated(result.plain_value())


class CelPython:
    """cel-python's interpreter (its compiled runner shares state between threads). No type check at compile time."""

    def __init__(self, fields: Fields) -> None:
        self._fields = fields
        self._environment = celpy.Environment()

    def compile(self, text: str) -> Compiled:
        _refuse_has(text)
        try:
            tree = self._environment.compile(text)
        except CELParseError as error:
            raise ExpressionInvalid("syntax error", getattr(error, "column", None)) from None
        return _PythonExpression(self._environment.program(tree))

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


class _PythonExpression:
    is_boolean = True

    def __init__(self, program: Any) -> None:
        self._program = program

    def evaluate(self, bound: Any) -> Evaluated:
        try:
            value = self._program.evaluate(bound)
        except CELEvalError:
            return Evaluated(error="evaluation_error")
        return Evaluated(bool(value) if isinstance(value, celpy.celtypes.BoolType) else value)


ENGINES = {"cel-cpp": CelCpp, "cel-python": CelPython}
