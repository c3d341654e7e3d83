"""What each field holds, as far as the contracts say: its kind, whether it may be empty, its members, how much at most. Pure.

The sizes are promises of the evaluation: what is larger than declared is not evaluated (``value_too_large``).
"""

from __future__ import annotations

import types
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import date, datetime
from enum import Enum
from typing import Any, Union, get_args, get_origin
from uuid import UUID

from pydantic import BaseModel

from services.workflows.rules.expressions.interface import Fields, FieldType

MAX_TEXT = 4000
"""Characters of a text whose contract says nothing else."""

MAX_ITEMS = 500
MAX_ITEM_TEXT = 500
"""Items of a list, and characters of each of them."""

MAX_VALUES = 5000
MAX_VALUES_TEXT = 50_000
"""Values in something whose parts nobody declared (what steps left, a body from outside), and characters of all of them together.
A list or map in it has no more than ``MAX_ITEMS``, a text no more than ``MAX_TEXT``."""

SHORT = 100
"""Characters of identifiers, names of zones and members."""


@dataclass(frozen=True)
class Shape:
    """``kind`` is what it holds when it holds something; ``most`` counts characters of a text; ``day``: it is written 2030-01-31."""

    kind: FieldType
    nullable: bool = False
    members: tuple[str, ...] = ()
    most: int = MAX_TEXT
    day: bool = False

    @property
    def declared(self) -> FieldType:
        """Its type for an engine: what may be null is dynamic there."""
        return FieldType.DYN if self.nullable else self.kind


Shapes = Mapping[str, Shape]

_SCALARS: dict[Any, Shape] = {
    bool: Shape(FieldType.BOOL),
    int: Shape(FieldType.INT),
    float: Shape(FieldType.DOUBLE),
    str: Shape(FieldType.STRING),
    UUID: Shape(FieldType.STRING, most=36),
    date: Shape(FieldType.STRING, most=10, day=True),
}


def shapes_of(model: type[BaseModel], prefix: str = "") -> Iterator[tuple[str, Shape]]:
    """Every field of a message under its dotted name, those of its parts included."""
    for name, field in model.model_fields.items():
        annotation = field.annotation
        if isinstance(annotation, type) and issubclass(annotation, BaseModel):
            yield from shapes_of(annotation, f"{prefix}{name}.")
        else:
            yield prefix + name, shape_of(annotation, [*field.metadata])


def shape_of(annotation: Any, metadata: list[Any] | None = None) -> Shape:
    """What a type of the contracts means here."""
    origin = get_origin(annotation)
    if origin in {Union, types.UnionType}:
        inner = [kind for kind in get_args(annotation) if kind is not type(None)]
        return replace(shape_of(inner[0], metadata), nullable=True) if len(inner) == 1 else Shape(FieldType.DYN, nullable=True)
    if origin is list:
        item = shape_of(get_args(annotation)[0])
        return Shape(FieldType.TEXTS if item.kind is FieldType.STRING and not item.nullable else FieldType.LIST)
    if hasattr(annotation, "__metadata__"):
        return shape_of(get_args(annotation)[0], [*annotation.__metadata__, *(metadata or [])])
    if not isinstance(annotation, type):
        return Shape(FieldType.DYN, nullable=True)
    if issubclass(annotation, datetime):
        return Shape(FieldType.TIMESTAMP)
    if issubclass(annotation, Enum):
        return Shape(FieldType.STRING, members=tuple(str(member.value) for member in annotation), most=SHORT)
    found = _SCALARS.get(annotation) or (Shape(FieldType.TIMESTAMP) if annotation.__name__ == "AwareDatetime" else None)
    if found is None:
        return Shape(FieldType.DYN, nullable=True)
    lengths = [one.max_length for one in metadata or [] if getattr(one, "max_length", None)]
    return replace(found, most=min([found.most, *lengths])) if found.kind is FieldType.STRING else found


def plain_shapes(fields: Fields) -> Shapes:
    """The shapes of fields of which only the types are known."""
    return {name: Shape(kind, nullable=kind is FieldType.DYN) for name, kind in fields.items()}


def size_exceeded(value: Any, shape: Shape) -> bool:
    """Whether a value is larger than declared. Walks no further than the limits."""
    if value is None or isinstance(value, (bool, float, datetime)):
        return False
    if isinstance(value, str):
        return len(value) > shape.most
    if isinstance(value, int):
        return not -(2**63) <= value < 2**63
    if shape.kind is FieldType.TEXTS:
        return _exceeds(value, MAX_ITEMS, MAX_ITEMS * MAX_ITEM_TEXT, MAX_ITEM_TEXT)
    if shape.kind is FieldType.LIST:
        return _exceeds(value, MAX_ITEMS, MAX_VALUES_TEXT, MAX_ITEM_TEXT)
    return _exceeds(value, MAX_VALUES, MAX_VALUES_TEXT, MAX_TEXT)


def _exceeds(value: Any, values: int, characters: int, longest: int) -> bool:
    todo = [value]
    while todo:
        one = todo.pop()
        if isinstance(one, str):
            characters -= len(one)
            if len(one) > longest or characters < 0:
                return True
        elif isinstance(one, (Mapping, list, tuple)):
            values -= len(one)
            if values < 0 or len(one) > MAX_ITEMS:
                return True
            todo += (*one.keys(), *one.values()) if isinstance(one, Mapping) else one
    return False
