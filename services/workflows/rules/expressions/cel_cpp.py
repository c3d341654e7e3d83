"""Google's cel-cpp behind the interface: checks types when a definition is saved, bounds what an expression may cost.

Known of cel-expr-python 0.1.3: errors come back as values, the iteration budget as an exception, strings are cut at NUL,
and a datetime inside a dynamic value must be a protobuf Timestamp.
"""

from __future__ import annotations

import re
from datetime import datetime
from typing import Any

from cel_expr_python import cel
from cel_expr_python.ext import ext_strings
from google.protobuf.timestamp_pb2 import Timestamp

from services.workflows.rules.expressions.binding import Bound, admitted, bounded
from services.workflows.rules.expressions.bounds import MAX_COST, MAX_NODES, MAX_TRANSLATED_NODES, check_bounds
from services.workflows.rules.expressions.interface import (
    FALSE,
    MAX_SOURCE,
    MAX_TRANSLATED,
    TRUE,
    Compiled,
    Evaluated,
    ExpressionInvalid,
    Fields,
    FieldType,
    Values,
    check_source,
)
from services.workflows.rules.expressions.shapes import Shape, Shapes, plain_shapes
from services.workflows.rules.expressions.syntax import parse
from services.workflows.rules.expressions.wording import worded

_TYPES = {
    FieldType.BOOL: cel.Type.BOOL,
    FieldType.INT: cel.Type.INT,
    FieldType.DOUBLE: cel.Type.DOUBLE,
    FieldType.STRING: cel.Type.STRING,
    FieldType.TIMESTAMP: cel.Type.TIMESTAMP,
    FieldType.LIST: cel.Type.List(cel.Type.DYN),
    FieldType.TEXTS: cel.Type.List(cel.Type.STRING),
    FieldType.DYN: cel.Type.DYN,
}
_NULLABLE = {
    FieldType.BOOL: cel.Type("google.protobuf.BoolValue"),
    FieldType.INT: cel.Type("google.protobuf.Int64Value"),
    FieldType.DOUBLE: cel.Type("google.protobuf.DoubleValue"),
    FieldType.STRING: cel.Type("google.protobuf.StringValue"),
    FieldType.TIMESTAMP: cel.Type.TIMESTAMP,
}
"""What may be null, for the type check only: at run time it is dynamic."""

_ERROR = re.compile(r"ERROR: <input>:(?P<line>\d+):(?P<column>\d+): (?P<message>[^\n]*)")


class CelCpp:
    """One environment. Compiled expressions are immutable and may be shared."""

    def __init__(self, fields: Fields, shapes: Shapes | None = None) -> None:
        self._fields = fields
        self.shapes = shapes if shapes is not None else plain_shapes(fields)
        self._env = _environment({name: _TYPES[kind] for name, kind in fields.items()})
        self._strict = _environment({name: _strict(shape) for name, shape in self.shapes.items()})

    def compile(self, text: str, *, translated: bool = False) -> Compiled:
        check_source(text, MAX_TRANSLATED if translated else MAX_SOURCE)
        names = check_bounds(parse(text), self.shapes, MAX_COST, MAX_TRANSLATED_NODES if translated else MAX_NODES)
        if not translated and any(self.shapes[name].nullable for name in names):
            self._check_nullable(text)
        try:
            return _Expression(self._env.compile(text), names)
        except RuntimeError as error:
            raise _invalid(text, str(error)) from None

    def _check_nullable(self, text: str) -> None:
        """Types that never fit, whatever is null. Anything else the real environment says."""
        try:
            self._strict.compile(text)
        except RuntimeError as error:
            if "no matching overload" in str(error):
                raise _invalid(text, str(error)) from None

    def bind(self, values: Values) -> Bound:
        known, refused = admitted(values, self.shapes)
        return Bound(
            self._env.Activation(
                {name: value if self._fields[name] is FieldType.TIMESTAMP else _dynamic(value) for name, value in known.items()}
            ),
            refused,
        )


def _environment(variables: dict[str, Any]) -> Any:
    return cel.NewEnv(variables=variables, extensions=[ext_strings.ExtStrings()])


def _strict(shape: Shape) -> Any:
    return _NULLABLE.get(shape.kind, cel.Type.DYN) if shape.nullable else _TYPES[shape.kind]


def _invalid(text: str, said: str) -> ExpressionInvalid:
    found = _ERROR.search(said)
    if found is None:
        return ExpressionInvalid("the expression does not compile")
    message, hint = worded(found["message"].removesuffix(" (in container '')"))
    # The engine counts columns within a line; ours count within the whole text.
    before = sum(len(line) for line in text.splitlines(keepends=True)[: int(found["line"]) - 1])
    return ExpressionInvalid(message, before + int(found["column"]), hint)


def _dynamic(value: Any) -> Any:
    if isinstance(value, str):
        return value.replace("\0", "\ufffd") if "\0" in value else value
    if isinstance(value, datetime):
        stamp = Timestamp()
        stamp.FromDatetime(value)
        return stamp
    if isinstance(value, list):
        return [_dynamic(inner) for inner in value]
    if isinstance(value, dict):
        return {_dynamic(name): _dynamic(inner) for name, inner in value.items()}
    return value


class _Expression:
    def __init__(self, expression: Any, names: frozenset[str]) -> None:
        self._expression = expression
        self._names = names
        # Types of this engine can be compared but not hashed.
        self.is_boolean = any(expression.return_type() == kind for kind in (cel.Type.BOOL, cel.Type.DYN))

    def evaluate(self, bound: Bound) -> Evaluated:
        if bound.refused and (refusal := bound.refusal(self._names)) is not None:
            return refusal
        try:
            result = self._expression.eval(bound.activation)
            value = result.plain_value()
            if value is False or value is True:  # most of all by far
                return TRUE if value else FALSE
            if result.type() == cel.Type.ERROR:
                return Evaluated(error=_class_of(str(result.value())))
            return bounded(Evaluated(value))
        except (RuntimeError, ValueError, TypeError, OverflowError) as error:
            return Evaluated(error=_class_of(str(error)))


def _class_of(text: str) -> str:
    """The class of an error. Its text may hold values of the event and goes no further."""
    if "No matching overload" in text:
        return "no_such_overload"
    if "Iteration budget" in text:
        return "budget_exceeded"
    status, colon, _ = text.partition(":")
    return status.lower() if colon and status.isupper() else "evaluation_error"
