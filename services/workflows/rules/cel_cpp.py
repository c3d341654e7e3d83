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

from services.workflows.rules.expressions import Compiled, Evaluated, ExpressionInvalid, Fields, FieldType, Values, check_source

_TYPES = {
    FieldType.BOOL: cel.Type.BOOL,
    FieldType.INT: cel.Type.INT,
    FieldType.DOUBLE: cel.Type.DOUBLE,
    FieldType.STRING: cel.Type.STRING,
    FieldType.TIMESTAMP: cel.Type.TIMESTAMP,
    FieldType.LIST: cel.Type.List(cel.Type.DYN),
    FieldType.DYN: cel.Type.DYN,
}
_ERROR = re.compile(r"ERROR: <input>:(?P<line>\d+):(?P<column>\d+): (?P<message>[^\n]*)")


class CelCpp:
    """One environment. Compiled expressions are immutable and may be shared."""

    def __init__(self, fields: Fields) -> None:
        self._fields = fields
        variables = {name: _TYPES[kind] for name, kind in fields.items()}
        self._env = cel.NewEnv(variables=variables, extensions=[ext_strings.ExtStrings()])

    def compile(self, text: str) -> Compiled:
        check_source(text)
        try:
            return _Expression(self._env.compile(text))
        except RuntimeError as error:
            found = _ERROR.search(str(error))
            if found is None:
                raise ExpressionInvalid("the expression does not compile") from None
            message = found["message"].removesuffix(" (in container '')")
            # The engine counts columns within a line; ours count within the whole text.
            before = sum(len(line) for line in text.splitlines(keepends=True)[: int(found["line"]) - 1])
            raise ExpressionInvalid(message, before + int(found["column"])) from None

    def bind(self, values: Values) -> Any:
        return self._env.Activation(
            {name: value if self._fields[name] is FieldType.TIMESTAMP else _dynamic(value) for name, value in values.items()}
        )


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
    def __init__(self, expression: Any) -> None:
        self._expression = expression
        # Types of this engine can be compared but not hashed.
        self.is_boolean = any(expression.return_type() == kind for kind in (cel.Type.BOOL, cel.Type.DYN))

    def evaluate(self, bound: Any) -> Evaluated:
        try:
            result = self._expression.eval(bound)
            if result.type() == cel.Type.ERROR:
                return Evaluated(error=_class_of(str(result.value())))
            return Evaluated(result.plain_value())
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
