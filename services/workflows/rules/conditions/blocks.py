"""Structured blocks as CEL: field, operator, value. Pure.

A block never fails on an empty field: an empty one equals nothing, contains nothing, is before nothing. Every "not" is the
opposite of its positive.
"""

from __future__ import annotations

import re
from typing import Any

from libs.contracts.conditions import (
    DAY_OPERATORS,
    EMPTINESS,
    LIST_OPERATORS,
    MAX_CHOICES,
    MAX_FOLDED,
    OPPOSITES,
    TEXT_OPERATORS,
    AllOf,
    AnyOf,
    Block,
    Blocks,
    is_day,
)
from services.workflows.rules.conditions.translation import Piece, Untranslatable, literal, read, time_literal
from services.workflows.rules.expressions.interface import FieldType
from services.workflows.rules.expressions.shapes import Shape, Shapes
from services.workflows.rules.findings import did_you_mean

MAX_DAYS = 3650

_SIGNS = {"less_than": "<", "at_most": "<=", "greater_than": ">", "at_least": ">="}
_TEXT_TESTS = {"equals": "^{}$", "contains": "{}", "starts_with": "^{}", "ends_with": "{}$"}
_OPERATORS: dict[FieldType, tuple[str, ...]] = {
    FieldType.STRING: TEXT_OPERATORS,
    FieldType.INT: ("equals", *_SIGNS, "between", "one_of"),
    FieldType.DOUBLE: ("equals", *_SIGNS, "between", "one_of"),
    FieldType.BOOL: ("is_true", "equals"),
    FieldType.TIMESTAMP: ("before", "after", "within_last_days", "in_next_days"),
    FieldType.TEXTS: LIST_OPERATORS,
    FieldType.LIST: LIST_OPERATORS,
    FieldType.DYN: (*TEXT_OPERATORS, *_SIGNS, "between", "is_true"),
}


def from_blocks(condition: Blocks, shapes: Shapes) -> Piece:
    """Raises ``Untranslatable`` with the pointer of the block."""
    return _group(condition.blocks, "/blocks", shapes)


def _group(group: AllOf | AnyOf, pointer: str, shapes: Shapes) -> Piece:
    members, word, name = (group.all, " && ", "all") if isinstance(group, AllOf) else (group.any, " || ", "any")
    parts: list[str | Piece] = ["("]
    for number, member in enumerate(members):
        here = f"{pointer}/{name}/{number}"
        piece = _block(member, here, shapes) if isinstance(member, Block) else _group(member, here, shapes)
        parts += [word, piece] if number else [piece]
    return Piece((*parts, ")"), pointer, name)


def _block(block: Block, pointer: str, shapes: Shapes) -> Piece:
    field, shape = read(block.field, shapes, f"{pointer}/field")
    positive = OPPOSITES.get(block.operator, block.operator)
    offered = (*_OPERATORS[shape.kind], *(DAY_OPERATORS if shape.day else ()), EMPTINESS)
    if positive not in offered:
        every = [*offered, *(name for name, opposite in OPPOSITES.items() if opposite in offered)]
        hint = did_you_mean(block.operator, every) or f"it has: {', '.join(every)}"
        raise Untranslatable("unknown_operator", f"{pointer}/operator", f"A field of this kind has no operator {block.operator!r}.", hint)
    test = _empty(field, shape) if positive == EMPTINESS else _present(_test(positive, field, shape, block, pointer), field, shape)
    said = " ".join([block.field, block.operator, *([str(block.value)] if block.value is not None else [])])
    before, found, behind = (f"!({test})" if positive != block.operator else f"({test})").partition(field)
    read_here = Piece((found,), f"{pointer}/field", block.field)
    return Piece((before, read_here, behind) if found else (before,), pointer, said)


def _present(test: str, field: str, shape: Shape) -> str:
    return f"{field} != null && {test}" if shape.nullable and shape.kind is not FieldType.DYN else test


def _empty(field: str, shape: Shape) -> str:
    nothing = f"{field} == null"
    if shape.kind is FieldType.DYN:
        return f'{nothing} || (type({field}) == string && {field} == "") || (type({field}) in [list, map] && size({field}) == 0)'
    own = {FieldType.STRING: f'{field} == ""', FieldType.TEXTS: f"size({field}) == 0", FieldType.LIST: f"size({field}) == 0"}.get(
        shape.kind
    )
    return " || ".join(filter(None, [nothing if shape.nullable else None, own])) or "false"


def _test(operator: str, field: str, shape: Shape, block: Block, pointer: str) -> str:
    at = f"{pointer}/value"
    of_days = shape.day and operator in DAY_OPERATORS
    if block.ignore_case and (of_days or shape.kind not in {FieldType.STRING, FieldType.DYN}):
        raise Untranslatable("invalid_value", f"{pointer}/ignore_case", "Only texts have cases.")
    if of_days:
        return _day(operator, field, block.value, at)
    if operator == "is_true":
        return f"(type({field}) == bool && {field})" if shape.kind is FieldType.DYN else field
    match shape.kind:
        case FieldType.STRING:
            return _text(operator, field, block, at)
        case FieldType.INT | FieldType.DOUBLE:
            return _number(operator, field, shape.kind, block.value, at)
        case FieldType.BOOL:
            return f"{field} == {literal(_of(block.value, bool, at, 'true or false'), at)}"
        case FieldType.TIMESTAMP:
            return _time(operator, field, block.value, at)
        case FieldType.TEXTS | FieldType.LIST:
            return _list(operator, field, shape.kind, block.value, at)
    return _dynamic(operator, field, block, at)


def _of(value: Any, kind: type | tuple[type, ...], pointer: str, named: str) -> Any:
    if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
        raise Untranslatable("invalid_value", pointer, f"This operator needs {named}.")
    return value


def _choices(value: Any, kind: type | tuple[type, ...], pointer: str, named: str) -> list[Any]:
    found = _of(value, list, pointer, f"a list, each of it {named}")
    if not 0 < len(found) <= MAX_CHOICES:
        raise Untranslatable("invalid_value", pointer, f"A list of one to {MAX_CHOICES}.")
    return [_of(one, kind, f"{pointer}/{number}", named) for number, one in enumerate(found)]


def _text(operator: str, field: str, block: Block, pointer: str) -> str:
    if operator == "one_of":
        choices = _choices(block.value, str, pointer, "a text")
        if block.ignore_case:
            return f"({' || '.join(_folded('equals', field, one, pointer) for one in choices)})"
        return f"{field} in {literal(choices, pointer)}"
    value = _of(block.value, str, pointer, "a text")
    if block.ignore_case:
        return _folded(operator, field, value, pointer)
    if operator == "equals":
        return f"{field} == {literal(value, pointer)}"
    method = {"contains": "contains", "starts_with": "startsWith", "ends_with": "endsWith"}[operator]
    return f"{field}.{method}({literal(value, pointer)})"


def _folded(operator: str, field: str, value: str, pointer: str) -> str:
    """Without regard to case, in every script: lower-casing functions of the engines know ASCII only."""
    if len(value) > MAX_FOLDED:
        raise Untranslatable("invalid_value", pointer, f"Without regard to case a text has at most {MAX_FOLDED} characters.")
    plain = re.sub(r"([^\w\s])", r"\\\1", value, flags=re.ASCII) if value.isascii() else re.sub(r"([!-/:-@\[-^`{-~])", r"\\\1", value)
    pattern = "(?is)" + _TEXT_TESTS[operator].replace("{}", plain)
    return f"{field}.matches({literal(pattern, pointer)})"


def _number(operator: str, field: str, kind: FieldType, value: Any, pointer: str) -> str:
    if operator == "one_of":
        choices = _choices(value, (int, float), pointer, "a number")
        return f"({' || '.join(_compared(field, kind, '==', one, pointer) for one in choices)})"
    if operator == "between":
        low, high = _pair(value, pointer)
        return f"({_compared(field, kind, '>=', low, pointer)} && {_compared(field, kind, '<=', high, pointer)})"
    return _compared(field, kind, _SIGNS.get(operator, "=="), _of(value, (int, float), pointer, "a number"), pointer)


def _compared(field: str, kind: FieldType, sign: str, number: float, pointer: str) -> str:
    """Numbers of one kind: engines compare whole and other numbers by an error, or not at all."""
    if kind is FieldType.INT and isinstance(number, float):
        return f"double({field}) {sign} {literal(number, pointer)}"
    return f"{field} {sign} {literal(float(number) if kind is FieldType.DOUBLE else number, pointer)}"


def _pair(value: Any, pointer: str) -> list[Any]:
    found = _choices(value, (int, float), pointer, "a number")
    if len(found) != 2:
        raise Untranslatable("invalid_value", pointer, "Two numbers: from and to, both included.")
    return found


def _time(operator: str, field: str, value: Any, pointer: str) -> str:
    if operator in {"before", "after"}:
        return f"{field} {'<' if operator == 'before' else '>'} {time_literal(value, pointer)}"
    days = _of(value, int, pointer, "a number of days")
    if not 0 < days <= MAX_DAYS:
        raise Untranslatable("invalid_value", pointer, f"A number of days from 1 to {MAX_DAYS}.")
    span = f'duration("{24 * days}h")'
    if operator == "within_last_days":
        return f"({field} <= now && {field} >= now - {span})"
    return f"({field} >= now && {field} <= now + {span})"


def _day(operator: str, field: str, value: Any, pointer: str) -> str:
    """Days are texts, in the order of the days."""
    if not is_day(value):
        raise Untranslatable("invalid_value", pointer, "This is no day.", "a day is written 2030-01-31")
    return f"{field} {'<' if operator == 'before' else '>'} {literal(value, pointer)}"


def _list(operator: str, field: str, kind: FieldType, value: Any, pointer: str) -> str:
    allowed: tuple[type, ...] = (str,) if kind is FieldType.TEXTS else (str, int, float)
    if operator == "contains":
        return f"{literal(_of(value, allowed, pointer, 'an item'), pointer)} in {field}"
    word = " || " if operator == "contains_any" else " && "
    choices = _choices(value, allowed, pointer, "an item")
    return f"({word.join(f'{literal(one, pointer)} in {field}' for one in choices)})"


def _dynamic(operator: str, field: str, block: Block, pointer: str) -> str:
    """Of what nobody declared the kind is asked first: what is of another kind is not equal, not contained, not less."""
    if operator == "equals" and isinstance(block.value, bool):
        return f"(type({field}) == bool && {field} == {literal(block.value, pointer)})"
    if operator == "equals" and isinstance(block.value, (int, float)):
        return f"(type({field}) in [int, double] && {field} == {literal(block.value, pointer)})"
    if operator in _SIGNS or operator == "between":
        return f"(type({field}) in [int, double] && {_number(operator, field, FieldType.DYN, block.value, pointer)})"
    if operator == "one_of" and isinstance(block.value, list) and not all(isinstance(one, str) for one in block.value):
        return f"(type({field}) in [int, double] && {_number(operator, field, FieldType.DYN, block.value, pointer)})"
    text = f"(type({field}) == string && {_text(operator, field, block, pointer)})"
    if operator == "contains" and not block.ignore_case:
        return f"({text} || (type({field}) == list && {literal(block.value, pointer)} in {field}))"
    return text
