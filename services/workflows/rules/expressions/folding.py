"""What an expression always comes to, whatever its fields hold. Pure."""

from __future__ import annotations

import operator
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from services.workflows.rules.expressions.interface import ExpressionInvalid
from services.workflows.rules.expressions.syntax import Node, dotted, parse

_ORDERS: dict[str, Callable[[Any, Any], bool]] = {"<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge}
_SUMS: dict[str, Callable[[Any, Any], Any]] = {"+": operator.add, "-": operator.sub, "*": operator.mul}
_NUMBERS = frozenset({int, float})
_CONSTANTS = frozenset({int, float, str, bool, type(None)})


@dataclass(frozen=True, slots=True)
class Constant:
    """A value that is known before anything happens."""

    value: Any


def always(text: str) -> bool | None:
    """True or false when a condition is that whatever happens; None when it depends, or is no condition."""
    try:
        found = folded(parse(text))
    except ExpressionInvalid:
        return None
    return found.value if found is not None and isinstance(found.value, bool) else None


def folded(node: Node) -> Constant | None:
    """The value of a tree that has only one. Arithmetic that overflows or fails has none."""
    match node.kind:
        case "literal":
            return Constant(node.value) if type(node.value) in _CONSTANTS else None
        case "not":
            inner = folded(node.children[0])
            return Constant(not inner.value) if inner is not None and isinstance(inner.value, bool) else None
        case "and" | "or":
            return _logical(node)
        case "if":
            return _chosen(node)
        case "in":
            return _contained(node)
        case "call" if node.name == "dyn" and len(node.children) == 1:
            return folded(node.children[0])
    return _binary(node) if len(node.children) == 2 and (node.kind in {"==", "!="} or node.kind in _ORDERS or node.kind in _SUMS) else None


def _logical(node: Node) -> Constant | None:
    """One false part decides an "and" whatever becomes of the others, one true part an "or"."""
    deciding = node.kind == "or"
    parts = [folded(child) for child in node.children]
    if any(part is not None and part.value is deciding for part in parts):
        return Constant(deciding)
    return Constant(not deciding) if all(part is not None and part.value is (not deciding) for part in parts) else None


def _chosen(node: Node) -> Constant | None:
    asked, then, other = (folded(child) for child in node.children)
    if asked is not None and isinstance(asked.value, bool):
        return then if asked.value else other
    return then if then is not None and then == other and type(then.value) is type(other.value if other else None) else None


def _contained(node: Node) -> Constant | None:
    value, listed = node.children
    if listed.kind != "list":
        return None
    if not listed.children:
        return Constant(value=False)
    sought, held = folded(value), [folded(item) for item in listed.children]
    if sought is None or any(item is None for item in held):
        return None
    return Constant(any(item is not None and _equal(sought.value, item.value) for item in held))


def _binary(node: Node) -> Constant | None:
    left, right = folded(node.children[0]), folded(node.children[1])
    if node.kind in {"==", "!="}:
        name = dotted(node.children[0])
        same = True if name is not None and name == dotted(node.children[1]) else None
        if left is not None and right is not None:
            same = _equal(left.value, right.value)
        return None if same is None else Constant(same is (node.kind == "=="))
    if left is None or right is None or not _fit(node.kind, left.value, right.value):
        return None
    value = (_ORDERS.get(node.kind) or _SUMS[node.kind])(left.value, right.value)
    return Constant(value) if type(value) is not int or -(2**63) <= value < 2**63 else None


def _fit(kind: str, left: Any, right: Any) -> bool:
    both = {type(left), type(right)}
    return both <= _NUMBERS if kind in {"-", "*"} else both <= _NUMBERS or both == {str}


def _equal(left: Any, right: Any) -> bool:
    return left == right and isinstance(left, bool) == isinstance(right, bool)
