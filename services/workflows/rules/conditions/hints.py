"""What is odd about an expression that compiles, and what may help. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from services.workflows.rules.expressions.shapes import Shapes
from services.workflows.rules.expressions.syntax import Node, dotted, parse
from services.workflows.rules.expressions.wording import TIME_AS_TEXT
from services.workflows.rules.findings import did_you_mean

_EQUALITY = frozenset({"==", "!="})
_FAILING = frozenset({"method", "call", "<", "<=", ">", ">=", "+", "-", "*", "/", "%", "macro", "index", "and", "or", "not"})
"""What does not take null."""


def odd_members(text: str, shapes: Shapes) -> Iterator[tuple[int, str, str]]:
    """Texts a field is compared with that it never holds: column, message, hint."""
    for node in parse(text).walk():
        if node.kind not in _EQUALITY and node.kind != "in":
            continue
        for field, other in (node.children, node.children[::-1]):
            name = dotted(field) or ""
            members = shapes[name].members if name in shapes else ()
            values = other.children if node.kind == "in" and other.kind == "list" else (other,)
            for value in values if members else ():
                if isinstance(value.value, str) and value.value not in members:
                    close = did_you_mean(value.value, members)
                    hint = f"it holds one of: {', '.join(members)}" + (f"; {close}" if close else "")
                    yield value.start + 1, f"{name} never holds this text: this is always the same.", hint


def may_be_null(text: str, shapes: Shapes) -> str:
    """How to ask a field first that may be null, by the name of one the expression uses."""
    tree = parse(text)
    asked = {dotted(side) for node in tree.walk() if node.kind in _EQUALITY and _with_null(node) for side in node.children}
    used = (dotted(side) or "" for node in tree.walk() if node.kind in _FAILING for side in node.children)
    name = next((name for name in used if name in shapes and shapes[name].nullable and name not in asked), "patient.email")
    return f"compare with null first: {name} != null && …"


def _with_null(node: Node) -> bool:
    return any(side.kind == "literal" and side.value is None for side in node.children)


def for_types(text: str, shapes: Shapes) -> str | None:
    """A hint for values that do not fit together, when nobody declared their types."""
    names = {dotted(node) or "" for node in parse(text).walk()}
    return TIME_AS_TEXT if any(name in shapes and shapes[name].kind == "timestamp" for name in names) else None
