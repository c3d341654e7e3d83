"""A CEL expression as a tree with places: for bounds before any engine is asked, for hints, for explaining. Pure.

It reads what the engines read, less: no message literals, no optional syntax, no macros but those with one variable.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from services.workflows.rules.expressions.interface import ExpressionInvalid
from services.workflows.rules.expressions.tokens import Token, literal_text, tokens

MAX_DEPTH = 32
"""Expressions within expressions. Everything that walks a tree does so recursively."""

MACROS = frozenset({"all", "exists", "exists_one", "map", "filter"})
_RELATIONS = frozenset({"<", "<=", ">", ">=", "==", "!=", "in"})
_LEVELS = (_RELATIONS, frozenset({"+", "-"}), frozenset({"*", "/", "%"}))
_CONSTANTS = {"true": True, "false": False, "null": None}
_RESERVED = frozenset(
    [
        "as",
        "break",
        "const",
        "continue",
        "else",
        "for",
        "function",
        "if",
        "import",
        "let",
        "loop",
        "package",
        "namespace",
        "return",
        "var",
        "void",
        "while",
    ]
)


@dataclass(frozen=True, slots=True)
class Node:
    """``kind``: literal, name, select, index, call, method, macro, list, map, not, negative, if, and, or, or an operator's own text.

    ``name`` is the name, field, function, macro; ``value`` what a literal says; ``start`` and ``end`` its place, brackets around it
    left out. A macro's children are what it walks, then its arguments; ``variable`` is the name it gives each element.
    """

    kind: str
    start: int
    end: int
    children: tuple[Node, ...] = ()
    name: str = ""
    value: Any = None
    variable: str = ""
    outer: tuple[int, int] = field(default=(0, 0), compare=False)

    def walk(self) -> Iterator[Node]:
        yield self
        for child in self.children:
            yield from child.walk()


def parse(text: str) -> Node:
    """Raises ``ExpressionInvalid`` with the column."""
    return _Parser(text).whole()


def dotted(node: Node) -> str | None:
    """``a.b.c`` of a name or of fields selected from one; None for anything else."""
    if node.kind == "name":
        return node.name
    if node.kind != "select":
        return None
    before = dotted(node.children[0])
    return None if before is None else f"{before}.{node.name}"


class _Parser:
    def __init__(self, text: str) -> None:
        self._tokens = tokens(text)
        self._at = 0
        self._depth = 0

    def whole(self) -> Node:
        node = self._expression()
        if self._here.kind != "end":
            raise self._unexpected()
        return node

    @property
    def _here(self) -> Token:
        return self._tokens[self._at]

    def _next(self) -> Token:
        token = self._here
        self._at += 1
        return token

    def _took(self, text: str) -> bool:
        """Whether this operator (or the word ``in``) stands here; then it is passed."""
        here = self._here
        if here.text != text or here.kind not in {"operator", "name"}:
            return False
        self._at += 1
        return True

    def _need(self, text: str) -> Token:
        if not self._took(text):
            raise self._unexpected(f", {text} is missing")
        return self._tokens[self._at - 1]

    def _unexpected(self, more: str = "") -> ExpressionInvalid:
        here = self._here
        what = "the expression ends too early" if here.kind == "end" else "this does not belong here"
        return ExpressionInvalid(f"syntax error: {what}{more}", here.start + 1)

    def _expression(self) -> Node:
        self._depth += 1
        if self._depth > MAX_DEPTH:
            raise ExpressionInvalid("the expression is nested too deeply", self._here.start + 1)
        condition = self._logical("||", "or")
        if self._took("?"):
            then = self._logical("||", "or")
            self._need(":")
            other = self._expression()
            condition = Node("if", condition.start, other.end, (condition, then, other))
        self._depth -= 1
        return condition

    def _logical(self, operator: str, kind: str) -> Node:
        parts = [self._operand(operator)]
        while self._took(operator):
            parts.append(self._operand(operator))
        return parts[0] if len(parts) == 1 else Node(kind, _start(parts[0]), _end(parts[-1]), tuple(parts))

    def _operand(self, operator: str) -> Node:
        return self._logical("&&", "and") if operator == "||" else self._binary(0)

    def _binary(self, level: int) -> Node:
        if level == len(_LEVELS):
            return self._unary()
        left = self._binary(level + 1)
        while self._here.text in _LEVELS[level] and self._here.kind in {"operator", "name"}:
            operator = self._next().text
            right = self._binary(level + 1)
            left = Node(operator, _start(left), _end(right), (left, right))
        return left

    def _unary(self) -> Node:
        signs: list[Token] = []
        while self._here.kind == "operator" and self._here.text in "!-":
            signs.append(self._next())
            if len(signs) > MAX_DEPTH:
                raise ExpressionInvalid("the expression is nested too deeply", signs[-1].start + 1)
        node = self._member()
        for sign in reversed(signs):
            if sign.text == "-" and node.kind == "literal" and type(node.value) in {int, float} and node.start == sign.end:
                node = Node("literal", sign.start, node.end, value=-node.value)
            else:
                node = Node("not" if sign.text == "!" else "negative", sign.start, _end(node), (node,))
        return node

    def _member(self) -> Node:
        node = self._primary()
        for _ in range(MAX_DEPTH):
            if self._took("["):
                index = self._expression()
                node = Node("index", _start(node), self._need("]").end, (node, index))
            elif self._took("."):
                node = self._selected(node)
            else:
                return node
        raise ExpressionInvalid("the expression is nested too deeply", self._here.start + 1)

    def _selected(self, node: Node) -> Node:
        name = self._next()
        if name.kind != "name":
            self._at -= 1
            raise self._unexpected()
        if not self._took("("):
            return Node("select", _start(node), name.end, (node,), name.text)
        arguments, end = self._listed(")")
        if name.text not in MACROS:
            return Node("method", _start(node), end, (node, *arguments), name.text)
        if len(arguments) not in ((2, 3) if name.text == "map" else (2,)) or arguments[0].kind != "name":
            raise ExpressionInvalid(f"{name.text}() takes the name of an element and what is said of it", name.start + 1)
        return Node("macro", _start(node), end, (node, *arguments[1:]), name.text, variable=arguments[0].name)

    def _listed(self, closing: str) -> tuple[list[Node], int]:
        """Expressions between commas up to the closing bracket; one comma may follow the last of a list."""
        found: list[Node] = []
        while not self._took(closing):
            if found:
                self._need(",")
                if closing == "]" and self._took(closing):
                    break
            found.append(self._expression())
        return found, self._tokens[self._at - 1].end

    def _primary(self) -> Node:
        token = self._next()
        if token.kind in {"string", "int", "float"}:
            return _literal(token)
        if token.kind == "name":
            return self._named(token)
        if token.text == "(":
            inner = self._expression()
            end = self._need(")").end
            return _moved(inner, (token.start, end))
        if token.text == "[":
            items, end = self._listed("]")
            return Node("list", token.start, end, tuple(items))
        if token.text == "{":
            return self._map(token)
        self._at -= 1
        raise self._unexpected()

    def _named(self, token: Token) -> Node:
        if token.text in _CONSTANTS:
            return Node("literal", token.start, token.end, value=_CONSTANTS[token.text])
        if token.text == "in" or token.text in _RESERVED:
            raise ExpressionInvalid(f"syntax error: {token.text} is a word of the language", token.start + 1)
        if not self._took("("):
            return Node("name", token.start, token.end, name=token.text)
        arguments, end = self._listed(")")
        return Node("call", token.start, end, tuple(arguments), token.text)

    def _map(self, opening: Token) -> Node:
        parts: list[Node] = []
        while not self._took("}"):
            if parts:
                self._need(",")
                if self._took("}"):
                    break
            parts.append(self._expression())
            self._need(":")
            parts.append(self._expression())
        return Node("map", opening.start, self._tokens[self._at - 1].end, tuple(parts))


def _literal(token: Token) -> Node:
    if token.kind == "string":
        text = literal_text(token)
        return Node("literal", token.start, token.end, value=token.text.encode() if text is None else text)
    if token.kind == "float":
        return Node("literal", token.start, token.end, value=float(token.text))
    number = token.text.rstrip("uU")
    return Node("literal", token.start, token.end, value=int(number, 16 if number[:2].lower() == "0x" else 10), name=token.text)


def _moved(node: Node, outer: tuple[int, int]) -> Node:
    return Node(node.kind, node.start, node.end, node.children, node.name, node.value, node.variable, outer)


def _start(node: Node) -> int:
    return node.outer[0] if node.outer[1] else node.start


def _end(node: Node) -> int:
    return node.outer[1] or node.end
