"""CEL behind a small interface: compile once, bind an event once, evaluate often, errors as values.

Names are dotted (``patient.email``): each known field is a declared variable, so an unknown one is an error at save time
and every declared one always exists; an unset one is null. ``has()`` would say nothing here and is refused.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType
from typing import Any, Protocol

MAX_SOURCE = 1000
"""Characters of one expression. Longer ones cost time to parse before anything can be said about them."""

MAX_TRANSLATED = 20_000
"""The same for one that was made of another form."""

MAX_RESULT = 10_000
"""Characters of a text an expression may come to; a longer one is the error ``result_too_large``."""

MAX_NESTING = 32
"""Brackets within brackets. Engines walk them recursively."""


class FieldType(StrEnum):
    BOOL = "bool"
    INT = "int"
    DOUBLE = "double"
    STRING = "string"
    TIMESTAMP = "timestamp"
    LIST = "list"
    TEXTS = "texts"
    DYN = "dyn"


Fields = Mapping[str, FieldType]
Values = Mapping[str, Any]
NOTHING: Values = MappingProxyType({})


class ExpressionInvalid(ValueError):
    """The expression does not compile. ``column`` counts from 1; the text never repeats a value. ``hint``: what may help."""

    def __init__(self, message: str, column: int | None = None, hint: str | None = None) -> None:
        super().__init__(message)
        self.column = column
        self.hint = hint


@dataclass(frozen=True)
class Evaluated:
    """What an expression came to: a value, or the class of its error. Test ``is_true``, never the truth of ``value``."""

    value: Any = None
    error: str | None = None

    @property
    def is_true(self) -> bool:
        return self.error is None and self.value is True

    @property
    def verdict(self) -> Evaluated:
        """As a condition: true, false, or an error. What is neither is the error ``not_boolean``, not false."""
        return self if self.error is not None or isinstance(self.value, bool) else Evaluated(error="not_boolean")


TRUE, FALSE = Evaluated(value=True), Evaluated(value=False)


class Compiled(Protocol):
    @property
    def is_boolean(self) -> bool:
        """False when it can never be a condition."""

    def evaluate(self, bound: Any) -> Evaluated:
        """Total: whatever goes wrong is the error of the answer. ``bound`` comes from the same engine and fields."""


class Expressions(Protocol):
    """One engine, one set of declared fields. Immutable: shared by every rule about the same kind of event."""

    @property
    def shapes(self) -> Mapping[str, Any]:
        """What is known of each field (``shapes.Shape``)."""

    def compile(self, text: str, *, translated: bool = False) -> Compiled:
        """Raises ``ExpressionInvalid``. What was translated from another form may be longer than what a person writes."""

    def bind(self, values: Values) -> Any:
        """The values of one event, made ready once for all its expressions. Datetimes are aware, unset is None.

        A value larger than its field's declared size is an error of the expressions that name it (``value_too_large``).
        """


_HAS = re.compile(r"\bhas\s*\(")
_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\ud800-\udfff]")
STRING = r"\"(?:[^\"\\]|\\.)*\"|'(?:[^'\\]|\\.)*'"
"""A string literal, as a regular expression."""
_STRINGS = re.compile(STRING)


def without_strings(text: str) -> str:
    """The source with its string literals blanked, columns unchanged."""
    return _STRINGS.sub(lambda match: " " * len(match[0]), text)


def check_source(text: str, longest: int = MAX_SOURCE) -> None:
    """What can be said before anything is parsed. Raises ``ExpressionInvalid``."""
    if not text.strip():
        raise ExpressionInvalid("the expression is empty", 1)
    if len(text) > longest:
        message = f"an expression has at most {longest} characters"
        raise ExpressionInvalid(message, longest + 1)
    control = _CONTROL.search(text)
    if control:
        raise ExpressionInvalid("the expression holds a control character", control.start() + 1)
    bare = without_strings(text)
    depth = 0
    for column, character in enumerate(bare, 1):
        depth += (character in "([{") - (character in ")]}")
        if depth > MAX_NESTING:
            raise ExpressionInvalid("the expression is nested too deeply", column)
    found = _HAS.search(bare)
    if found:
        raise ExpressionInvalid("has() is not needed: every field exists, compare it with null", found.start() + 1)
