"""A condition of another form on its way to CEL: its text, made of parts, each with its place in what the author wrote. Pure."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from services.workflows.rules.expressions.interface import FieldType
from services.workflows.rules.expressions.shapes import Shape, Shapes
from services.workflows.rules.findings import did_you_mean


class Untranslatable(ValueError):
    """Something CEL cannot say, or that means nothing. ``pointer`` leads into the condition."""

    def __init__(self, code: str, pointer: str, message: str, hint: str | None = None) -> None:
        super().__init__(message)
        self.code, self.pointer, self.hint = code, pointer, hint


@dataclass(frozen=True, slots=True)
class Piece:
    """``said`` is the part in its author's words. ``alone``: it means something by itself, outside of any list it speaks about."""

    parts: tuple[str | Piece, ...]
    pointer: str
    said: str = ""
    alone: bool = True

    @property
    def text(self) -> str:
        return "".join(part if isinstance(part, str) else part.text for part in self.parts)

    def spots(self, start: int = 0) -> Iterator[tuple[int, int, str]]:
        """From and to in the text, and the pointer; what is inside follows what it is inside of."""
        yield start, start + len(self.text), self.pointer
        for part in self.parts:
            if isinstance(part, Piece):
                yield from part.spots(start)
            start += len(part if isinstance(part, str) else part.text)

    def inner(self) -> Iterator[Piece]:
        return (part for part in self.parts if isinstance(part, Piece))


def pointer_at(piece: Piece, column: int | None) -> str:
    """The innermost part at a column (from 1) of the text."""
    found = piece.pointer
    for start, end, pointer in piece.spots() if column is not None else ():
        if start < (column or 0) <= end:
            found = pointer
    return found


def literal(value: Any, pointer: str) -> str:
    """A JSON value as CEL. Raises ``Untranslatable``."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int) and -(2**63) <= value < 2**63:
        return str(value)
    if isinstance(value, float) and math.isfinite(value):
        return repr(value)
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False)
    if isinstance(value, list):
        return f"[{', '.join(literal(one, pointer) for one in value)}]"
    raise Untranslatable("invalid_value", pointer, "This value cannot stand in a condition.")


def time_literal(value: Any, pointer: str) -> str:
    """An ISO 8601 time with its offset as CEL. Raises ``Untranslatable``."""
    try:
        moment = datetime.fromisoformat(value)
    except (TypeError, ValueError):
        moment = None
    if moment is None or moment.tzinfo is None:
        raise Untranslatable("invalid_time", pointer, "This is no time.", "a time is written 2030-01-31T09:30:00Z, with its offset")
    return f'timestamp("{moment.astimezone(UTC).isoformat().replace("+00:00", "Z")}")'


def read(name: str, shapes: Shapes, pointer: str) -> tuple[str, Shape]:
    """How CEL reads a field, and what it holds. Inside what nobody declared, what is not there is null. Raises ``Untranslatable``."""
    if name in shapes:
        return name, shapes[name]
    field, path = name, list[str]()
    while field and field not in shapes:
        field, _, last = field.rpartition(".")
        path.insert(0, last)
    if not field or shapes[field].kind is not FieldType.DYN or not all(path):
        raise Untranslatable("unknown_field", pointer, f"There is no field {name!r}.", did_you_mean(name, shapes))
    return reach(field, path), Shape(FieldType.DYN, nullable=True)


def reach(start: str, path: list[str]) -> str:
    """A value inside another, null when it is not there."""
    here, conditions = start, list[str]()
    for part in path:
        key = json.dumps(part, ensure_ascii=False)
        conditions.append(f"type({here}) == map && {key} in {here}")
        here = f"{here}[{key}]"
    return f"({' && '.join(conditions)} ? dyn({here}) : dyn(null))"
