"""How large a value can be and what working on it can cost, at worst. Pure.

The unit of cost is about 0.1 microseconds of cel-cpp (docs/decisions/0018 has the measurements).
"""

from __future__ import annotations

from dataclasses import dataclass

from services.workflows.rules.expressions.interface import FieldType
from services.workflows.rules.expressions.shapes import MAX_ITEM_TEXT, MAX_ITEMS, MAX_TEXT, MAX_VALUES, MAX_VALUES_TEXT, Shape

READING_DYNAMIC = 2 * MAX_VALUES
"""Making a value without declared parts ready for the engine, once per expression that names it."""


@dataclass(frozen=True, slots=True)
class Size:
    """At most so many characters if it is a text, items if it is a list or map.

    ``dynamic``: its items may be anything again; the number is what walking all of it costs, ``total`` the characters in all of it.
    """

    characters: int = 0
    items: int = 0
    item: Size | None = None
    dynamic: int = 0
    total: int = 0

    @property
    def element(self) -> Size:
        return self if self.dynamic else self.item or SCALAR

    @property
    def walked(self) -> int:
        """Items, on average where this is one of many that are walked."""
        return min(self.items, self.dynamic // 2 + 1) if self.dynamic else self.items

    @property
    def each(self) -> Size:
        """An element while all are walked: all of them together cost what walking the whole costs."""
        if not self.dynamic:
            return self.element
        share = max(1, self.items)
        return Size(self.characters, self.items, dynamic=self.dynamic // share + 1, total=self.total // share + 1)

    @property
    def built(self) -> int:
        """Characters in all of it."""
        return self.total if self.dynamic else self.characters if self.item is None else self.characters + self.items * self.item.built

    @property
    def comparing(self) -> float:
        """What comparing it with something as large costs."""
        if self.dynamic:
            return self.dynamic
        return 1 + self.characters / 1000 + (self.items * (1 + self.item.comparing) if self.item else self.items)

    def or_(self, other: Size) -> Size:
        """One of the two."""
        if self.dynamic or other.dynamic:
            most = max(self.comparing, other.comparing)
            return Size(
                max(self.characters, other.characters),
                max(self.items, other.items),
                dynamic=round(most) + 1,
                total=max(self.built, other.built),
            )
        item = self.item.or_(other.item) if self.item and other.item else self.item or other.item
        return Size(max(self.characters, other.characters), max(self.items, other.items), item)

    def and_(self, other: Size) -> Size:
        """Both, one behind the other."""
        either = self.or_(other)
        total = self.built + other.built
        return Size(self.characters + other.characters, self.items + other.items, either.item, either.dynamic, total)


SCALAR = Size()
ANYTHING = Size(MAX_TEXT, MAX_ITEMS, dynamic=READING_DYNAMIC, total=MAX_VALUES_TEXT)
ANY_LIST = Size(MAX_ITEM_TEXT, MAX_ITEMS, dynamic=3 * MAX_ITEMS, total=MAX_VALUES_TEXT)


def text(characters: int) -> Size:
    return Size(characters)


def size_of(shape: Shape) -> Size:
    """The largest value a field may hold."""
    match shape.kind:
        case FieldType.STRING:
            return Size(shape.most)
        case FieldType.TEXTS:
            return Size(items=MAX_ITEMS, item=Size(MAX_ITEM_TEXT))
        case FieldType.LIST:
            return ANY_LIST
        case FieldType.DYN:
            return ANYTHING
    return SCALAR
