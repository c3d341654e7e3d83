"""Why a condition came out as it did: the value of every part of it. For people who ask why, or why not. Pure.

Each part is compiled and evaluated by itself, on the values the whole was evaluated on.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from services.workflows.rules.conditions.forms import translated
from services.workflows.rules.conditions.translation import Piece, Untranslatable
from services.workflows.rules.conditions.written import Condition
from services.workflows.rules.expressions.interface import ExpressionInvalid, Expressions
from services.workflows.rules.expressions.syntax import Node, parse

MAX_SHOWN = 200
"""Characters of a value, and items of a list, that are shown."""

_SPLIT = frozenset({"and", "or", "not", "if"})
_OPAQUE = frozenset({"literal", "name", "select"})


@dataclass(frozen=True)
class SubValue:
    """A part of a condition in its author's words, and what it came to: ``value`` (JSON; times as ISO 8601) or ``error``.

    A part of a CEL text has its place there, ``start`` and ``end`` counting characters from 0; of another form, ``pointer`` leads to it.
    """

    text: str
    value: Any = None
    error: str | None = None
    children: tuple[SubValue, ...] = ()
    start: int | None = None
    end: int | None = None
    pointer: str | None = None


def explain(condition: Condition, expressions: Expressions, bound: Any) -> tuple[SubValue, ...]:
    """The condition with its value and, below it, those of its parts. Total: what does not compile is an error of its part.

    ``bound`` comes from ``expressions``. Values are personal data: show them to those who may see the patient.
    """
    try:
        if not isinstance(condition, str):
            return (_of_piece(translated(condition, expressions.shapes), expressions, bound),)
        return (_explained(parse(condition), condition, expressions, bound),)
    except (ExpressionInvalid, Untranslatable):
        return (SubValue(condition if isinstance(condition, str) else "", error="invalid_expression"),)


def _of_piece(piece: Piece, expressions: Expressions, bound: Any) -> SubValue:
    """A block or a rule. What speaks of the elements of a list has no value of its own."""
    children = tuple(_of_piece(part, expressions, bound) for part in _alone(piece))
    value, error = _came_to(piece.text, expressions, bound, translated=True)
    return SubValue(piece.said, value, error, children, pointer=piece.pointer)


def _alone(piece: Piece) -> list[Piece]:
    """The parts an author wrote: those between that only the translation made are passed through, constants are left out."""
    found: dict[str, Piece] = {}
    for part in piece.inner():
        if not part.said or part.pointer == piece.pointer:
            found |= {one.pointer: one for one in _alone(part)}
        elif part.alone and parse(part.text).kind != "literal":
            inner = [*part.inner()]
            same = len(inner) == 1 and inner[0].said == part.said
            found.setdefault(part.pointer, inner[0] if same else part)  # the value itself, not whether it counts as true
    return list(found.values())


def _explained(node: Node, source: str, expressions: Expressions, bound: Any) -> SubValue:
    text = source[node.start : node.end]
    children = tuple(_explained(part, source, expressions, bound) for part in _parts(node))
    value, error = _came_to(text, expressions, bound)
    return SubValue(text, value, error, children, node.start, node.end)


def _parts(node: Node) -> list[Node]:
    """What is worth a look by itself. What is said of each element of a list has no value of its own."""
    if node.kind in _OPAQUE:
        return []
    inside = node.children[:1] if node.kind == "macro" else node.children
    return [part for part in inside if node.kind in _SPLIT or part.kind != "literal"]


def _came_to(text: str, expressions: Expressions, bound: Any, *, translated: bool = False) -> tuple[Any, str | None]:
    try:
        result = expressions.compile(text, translated=translated).evaluate(bound)
    except ExpressionInvalid:
        return None, "invalid_expression"
    return shown(result.value), result.error


def shown(value: Any, depth: int = 3) -> Any:
    """A value as JSON, cut to what a person reads."""
    if value is None or isinstance(value, (bool, float)):
        return value if value is None or isinstance(value, bool) else float(value)
    if isinstance(value, int):
        return int(value)
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, timedelta):
        return f"{value.total_seconds():.15g}s"
    if isinstance(value, str):
        return str(value) if len(value) <= MAX_SHOWN else f"{value[:MAX_SHOWN]}…"
    if depth and isinstance(value, dict):
        return {str(name): shown(inner, depth - 1) for name, inner in list(value.items())[:MAX_SHOWN]}
    if depth and isinstance(value, list):
        return [shown(inner, depth - 1) for inner in value[:MAX_SHOWN]]
    return f"({type(value).__name__})"
