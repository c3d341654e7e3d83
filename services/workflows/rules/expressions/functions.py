"""The functions an expression may call: what each costs at worst, and how large its answer can be. Pure.

Everything else is refused: what nobody has measured nobody may call.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import cache
from zoneinfo import available_timezones

from services.workflows.rules.expressions.interface import ExpressionInvalid
from services.workflows.rules.expressions.patterns import MAX_PATTERN, weight
from services.workflows.rules.expressions.sizes import SCALAR, Size, text
from services.workflows.rules.expressions.syntax import Node, dotted

Cost = tuple[float, Size]
Function = Callable[[Node, list[Size]], Cost]

MAX_DIGITS = 20
_PLACES = re.compile(r"%(?:\.(\d+))?.")
_OFFSET = re.compile(r"[+-]\d\d:\d\d")
_TIME_PARTS = (
    "getDate", "getDayOfMonth", "getDayOfWeek", "getDayOfYear", "getFullYear", "getHours", "getMilliseconds", "getMinutes", "getMonth",
    "getSeconds",
)  # fmt: skip


def _searching(_: Node, sizes: list[Size]) -> Cost:
    """A text in a text: at worst every place is compared."""
    whole, part = sizes[0].characters, sizes[1].characters
    return 2 + whole / 30 + whole * part / 10_000, SCALAR


def _finding(_: Node, sizes: list[Size]) -> Cost:
    whole, part = sizes[0].characters, sizes[1].characters
    return 2 + whole / 1000 + whole * part / 10_000, SCALAR


def _along(divisor: int) -> Function:
    return lambda _, sizes: (2 + sizes[0].characters / divisor, text(sizes[0].characters))


def _measuring(_: Node, sizes: list[Size]) -> Cost:
    return 2 + sizes[0].characters / 100, SCALAR


def _to_number(_: Node, sizes: list[Size]) -> Cost:
    return 3 + sizes[0].characters / 10, SCALAR


def _to_text(_: Node, sizes: list[Size]) -> Cost:
    return 5 + sizes[0].characters / 100, text(max(60, sizes[0].characters))


def _same(_: Node, sizes: list[Size]) -> Cost:
    return 1, sizes[0]


def _matching(node: Node, sizes: list[Size]) -> Cost:
    pattern = node.children[1]
    if pattern.kind != "literal" or not isinstance(pattern.value, str):
        raise ExpressionInvalid("the pattern of matches() is written out, as a text", pattern.start + 1)
    if len(pattern.value) > MAX_PATTERN:
        raise ExpressionInvalid(f"a pattern has at most {MAX_PATTERN} characters", pattern.start + 1)
    machine = weight(pattern.value)
    if machine is None:
        raise ExpressionInvalid("this is no pattern: a bracket is missing", pattern.start + 1)
    return 50 * machine + 0.35 * machine * sizes[0].characters, SCALAR


def _joining(_: Node, sizes: list[Size]) -> Cost:
    between = sizes[1].characters if len(sizes) > 1 else 0
    built = sizes[0].items * (sizes[0].element.characters + between)
    return 2 + sizes[0].items + built / 20, text(built)


def _splitting(node: Node, sizes: list[Size]) -> Cost:
    whole = sizes[0].characters
    limit = node.children[2].value if len(node.children) > 2 and node.children[2].kind == "literal" else None
    pieces = min(whole + 1, limit) if isinstance(limit, int) and limit >= 0 else whole + 1
    return 2 + whole / 2 + whole * sizes[1].characters / 10_000, Size(items=pieces, item=text(whole))


def _replacing(node: Node, sizes: list[Size]) -> Cost:
    whole, old, new = sizes[0].characters, sizes[1].characters, sizes[2].characters
    literal = node.children[1].kind == "literal" and old > 0
    built = whole + (whole // old if literal else whole + 1) * new
    return 2 + whole / 2 + built / 20 + whole * old / 10_000, text(built)


def _formatting(node: Node, sizes: list[Size]) -> Cost:
    pattern = node.children[0]
    if pattern.kind != "literal" or not isinstance(pattern.value, str):
        raise ExpressionInvalid("what format() fills is written out, as a text", pattern.start + 1)
    digits = [int(match[1]) for match in _PLACES.finditer(pattern.value) if match[1]]
    if any(number > MAX_DIGITS for number in digits):
        raise ExpressionInvalid(f"format() writes at most {MAX_DIGITS} digits", pattern.start + 1)
    built = len(pattern.value) + 4 * sizes[1].built + 400 * len(node.children[1].children)
    return 5 + built / 10, text(built)


@cache
def _zones() -> frozenset[str]:
    return frozenset(available_timezones())


def _in_zone(node: Node, _: list[Size]) -> Cost:
    """A part of a time, in a zone that is one: names of zones are names of files to the engine."""
    for zone in node.children[1:]:
        if isinstance(zone.value, str):
            if not _OFFSET.fullmatch(zone.value) and zone.value not in _zones():
                raise ExpressionInvalid("there is no such time zone", zone.start + 1)
        elif not (dotted(zone) or "").endswith("time_zone"):
            raise ExpressionInvalid("a time zone is written out, or is a field named time_zone", zone.start + 1)
    return 5, SCALAR


METHODS: dict[str, tuple[tuple[int, ...], Function]] = {
    "contains": ((1,), _finding), "startsWith": ((1,), _along(1000)), "endsWith": ((1,), _along(1000)), "matches": ((1,), _matching),
    "size": ((0,), _measuring), "lowerAscii": ((0,), _along(100)), "upperAscii": ((0,), _along(50)), "trim": ((0,), _along(20)),
    "reverse": ((0,), _along(10)), "charAt": ((1,), _along(30)), "substring": ((1, 2), _along(30)), "indexOf": ((1, 2), _searching),
    "lastIndexOf": ((1, 2), _searching), "split": ((1, 2), _splitting), "join": ((0, 1), _joining), "replace": ((2, 3), _replacing),
    "format": ((1,), _formatting), **dict.fromkeys(_TIME_PARTS, ((0, 1), _in_zone)),
}  # fmt: skip
"""What is called on a value: how many arguments, and what it comes to."""

CALLS: dict[str, tuple[tuple[int, ...], Function]] = {
    "size": ((1,), _measuring), "matches": ((2,), _matching), "int": ((1,), _to_number), "uint": ((1,), _to_number),
    "double": ((1,), _to_number), "bool": ((1,), _to_number), "timestamp": ((1,), _to_number), "duration": ((1,), _to_number),
    "string": ((1,), _to_text), "bytes": ((1,), _to_text), "dyn": ((1,), _same), "type": ((1,), lambda *_: (1, SCALAR)),
}  # fmt: skip
"""The same for what is called by itself."""
