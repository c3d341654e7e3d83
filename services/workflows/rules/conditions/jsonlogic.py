"""JSONLogic as CEL: a condition is true when the rule's result counts as true. Pure.

Translated are var, missing, missing_some, ==, ===, !=, !==, !, !!, and, or, if, <, <=, >, >=, in, cat, substr, max, min, + - * / %, map,
filter, all, none, some, merge. Everything else (reduce, log, what needs conversions between kinds) is refused with its place.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

from services.workflows.rules.conditions import jsonlogic_values as values
from services.workflows.rules.conditions.terms import LISTS, Term, equal, less, true
from services.workflows.rules.conditions.translation import Piece, Untranslatable, literal, reach, read
from services.workflows.rules.conditions.written import JsonLogic
from services.workflows.rules.expressions.interface import FieldType
from services.workflows.rules.expressions.shapes import Shapes
from services.workflows.rules.findings import did_you_mean, pointer_part

MAX_SAID = 80


def from_jsonlogic(condition: JsonLogic, shapes: Shapes) -> Piece:
    """Raises ``Untranslatable`` with the pointer of the part that cannot be said."""
    return Translator(shapes).truth(condition.jsonlogic, "/jsonlogic")


@dataclass(frozen=True, slots=True)
class Argument:
    """A part of a rule, not yet translated."""

    node: Any
    pointer: str


class Translator:
    """``element``: the one a rule inside ``map``, ``filter``, ``all``, ``some``, ``none`` speaks of; ``depth`` names it."""

    def __init__(self, shapes: Shapes, element: Term | None = None, depth: int = 0) -> None:
        self.shapes = shapes
        self.element = element
        self.depth = depth

    def truth(self, node: Any, pointer: str) -> Piece:
        """Whether the result counts as true."""
        operator, arguments, here = self._opened(node, pointer)
        if operator is None or (operator not in _TRUTHS and operator != "if"):
            term = self.value(node, pointer)
            return self._piece([true(term)] if term.constant else _around(true(term), term), pointer, node)
        if operator == "if":
            return self._piece(self._if_true(arguments, here), pointer, node)
        return self._piece(_TRUTHS[operator](self, arguments, here), pointer, node)

    def value(self, node: Any, pointer: str) -> Term:
        """The result itself."""
        operator, arguments, here = self._opened(node, pointer)
        if operator is None:
            return self._constant(node, pointer)
        if operator == "var":
            return self._var(arguments, node, pointer)
        if operator in _TRUTHS and operator not in {"and", "or", "missing", "missing_some"}:
            return Term(self.truth(node, pointer), FieldType.BOOL)
        if operator not in _VALUES:
            known = sorted({*_TRUTHS, *_VALUES, "var"})
            message = f"JSONLogic's {operator!r} cannot be translated here." if operator in _TRUTHS else f"{operator!r} is not translated."
            raise Untranslatable("unsupported_operator", here, message, did_you_mean(operator, known))
        term = _VALUES[operator](self, arguments, here)
        return replace(term, piece=self._piece([term.piece], pointer, node))

    def terms(self, arguments: Sequence[Argument]) -> list[Term]:
        return [self.value(one.node, one.pointer) for one in arguments]

    def within(self, item: Term) -> Translator:
        """For what is said of each element of a list."""
        return Translator(self.shapes, item, self.depth + 1)

    def _piece(self, parts: list[str | Piece], pointer: str, node: Any) -> Piece:
        said = json.dumps(node, ensure_ascii=False)
        return Piece(tuple(parts), pointer, said if len(said) <= MAX_SAID else f"{said[:MAX_SAID]}…", alone=self.element is None)

    def _opened(self, node: Any, pointer: str) -> tuple[str | None, list[Argument], str]:
        """The operator, its arguments and the operator's own place; None for a constant."""
        if not isinstance(node, dict):
            return None, [], pointer
        if len(node) != 1:
            raise Untranslatable("not_a_rule", pointer, "A rule is an object with one key, its operator.")
        ((operator, given),) = node.items()
        here = f"{pointer}/{pointer_part(operator)}"
        operator = {"?:": "if"}.get(operator, operator)
        if isinstance(given, list):
            return operator, [Argument(one, f"{here}/{number}") for number, one in enumerate(given)], here
        return operator, [Argument(given, here)], here

    def _constant(self, node: Any, pointer: str) -> Term:
        if isinstance(node, list):
            return values.merged([self.value(one, f"{pointer}/{number}") for number, one in enumerate(node)], pointer, flat=False)
        kinds = {bool: FieldType.BOOL, int: FieldType.INT, float: FieldType.DOUBLE, str: FieldType.STRING}
        piece = self._piece([literal(node, pointer)], pointer, node)
        return Term(piece, kinds.get(type(node), FieldType.DYN), nullable=node is None, constant=True, value=node)

    def _var(self, arguments: list[Argument], node: Any, pointer: str) -> Term:
        name = arguments[0].node if arguments else ""
        if not isinstance(name, str) or len(arguments) > 2:
            raise Untranslatable("unsupported_operator", pointer, "var takes the name of a field, and what counts when it is null.")
        term = self._element(name, pointer) if self.element is not None else self._field(name, node, pointer)
        if len(arguments) < 2 or not (term.nullable or term.kind is FieldType.DYN):
            return term
        other = self.value(arguments[1].node, arguments[1].pointer)
        if other.is_null:
            return term
        return self._piece_of(values.chosen(f"{term.text} != null", replace(term, nullable=False), other, pointer), pointer, node)

    def _piece_of(self, term: Term, pointer: str, node: Any) -> Term:
        return replace(term, piece=self._piece([term.piece], pointer, node))

    def _field(self, name: str, node: Any, pointer: str) -> Term:
        text, shape = read(name, self.shapes, pointer)
        item = FieldType.STRING if shape.kind is FieldType.TEXTS else FieldType.DYN
        return Term(self._piece([text], pointer, node), shape.kind, nullable=shape.nullable, item=item)

    def _element(self, name: str, pointer: str) -> Term:
        assert self.element is not None
        if not name:
            return self.element
        if self.element.kind is not FieldType.DYN:
            message = "Inside a list a rule sees its elements and nothing else; these have no fields."
            raise Untranslatable("unknown_field", pointer, message, 'the element itself is {"var": ""}')
        path = name.split(".")
        if not all(path):
            raise Untranslatable("unknown_field", pointer, "This is no name of a field.")
        return Term(self._piece([reach(self.element.text, path)], pointer, name), FieldType.DYN, nullable=True)

    def _if_true(self, arguments: list[Argument], here: str) -> list[str | Piece]:
        if not arguments:
            return ["false"]
        if len(arguments) == 1:
            return [self.truth(arguments[0].node, arguments[0].pointer)]
        condition, then = (self.truth(one.node, one.pointer) for one in arguments[:2])
        return ["(", condition, " ? ", then, " : ", "(", *self._if_true(arguments[2:], here), "))"]


def _around(test: str, term: Term) -> list[str | Piece]:
    """The test with its first mention of the value as the value's own part."""
    before, found, behind = test.partition(term.text)
    return [before, term.piece, behind] if found else [test]


Truth = Callable[[Translator, list[Argument], str], list[str | Piece]]


def _joined(word: str, empty: str) -> Truth:
    def emit(translator: Translator, arguments: list[Argument], _: str) -> list[str | Piece]:
        parts: list[str | Piece] = ["("]
        for number, one in enumerate(arguments):
            parts += [word, translator.truth(one.node, one.pointer)] if number else [translator.truth(one.node, one.pointer)]
        return [*parts, ")"] if arguments else [empty]

    return emit


def _negated(translator: Translator, arguments: list[Argument], here: str) -> list[str | Piece]:
    (one,) = values.exactly(arguments, here, 1)
    return ["!(", translator.truth(one.node, one.pointer), ")"]


def _itself(translator: Translator, arguments: list[Argument], here: str) -> list[str | Piece]:
    (one,) = values.exactly(arguments, here, 1)
    return [translator.truth(one.node, one.pointer)]


def _equality(*, strict: bool, negated: bool) -> Truth:
    def emit(translator: Translator, arguments: list[Argument], here: str) -> list[str | Piece]:
        left, right = translator.terms(values.exactly(arguments, here, 2))
        test = equal(left, right, strict=strict, pointer=here)
        return [*(["!"] if negated else []), *values.with_parts(test, left, right)]

    return emit


def _order(sign: str) -> Truth:
    def emit(translator: Translator, arguments: list[Argument], here: str) -> list[str | Piece]:
        between = sign in {"<", "<="} and len(arguments) == 3
        terms = translator.terms(values.exactly(arguments, here, 3 if between else 2))
        parts = [values.with_parts(less(a, b, sign, here), a, b) for a, b in pairwise(terms)]
        return ["(", *parts[0], " && ", *parts[1], ")"] if between else parts[0]

    return emit


def _missing(translator: Translator, arguments: list[Argument], here: str) -> list[str | Piece]:
    tests = values.absent(translator, arguments, here)
    return [f"({' || '.join(tests)})" if tests else "false"]


def _missing_some(translator: Translator, arguments: list[Argument], here: str) -> list[str | Piece]:
    least, names = values.exactly(arguments, here, 2)
    if type(least.node) is not int or not isinstance(names.node, list):
        raise Untranslatable("unsupported_operator", here, "missing_some takes a number and a list of names.")
    tests = values.absent(translator, [Argument(one, f"{names.pointer}/{number}") for number, one in enumerate(names.node)], here)
    if not tests:
        return ["false"]
    there = f"size([{', '.join(f'!{test}' for test in tests)}].filter(p, p))"
    return [f"({there} < {least.node} && ({' || '.join(tests)}))"]


def _each(name: str) -> Truth:
    def emit(translator: Translator, arguments: list[Argument], here: str) -> list[str | Piece]:
        walked, said = values.exactly(arguments, here, 2)
        term, element = values.walked(translator, walked)
        if term.constant and not term.value:
            return ["true" if name == "none" else "false"]
        inside = translator.within(element).truth(said.node, said.pointer)
        word = "all" if name == "all" else "exists"
        holds: list[str | Piece] = [term.piece, f".{word}({element.text}, ", inside, ")"]
        if name == "all":
            holds = [f"(size({term.text}) > 0 && ", *holds, ")"]
        if term.nullable:
            holds = [f"({term.text} != null && ", *holds, ")"]
        return ["!", *holds] if name == "none" else holds

    return emit


def _contained(translator: Translator, arguments: list[Argument], here: str) -> list[str | Piece]:
    needle, haystack = translator.terms(values.exactly(arguments, here, 2))
    if haystack.kind in LISTS:
        return [values.in_list(needle, haystack, here)]
    return [values.in_text(needle, haystack, here)]


_TRUTHS: dict[str, Truth] = {
    "and": _joined(" && ", "false"), "or": _joined(" || ", "false"), "!": _negated, "!!": _itself,
    "==": _equality(strict=False, negated=False), "===": _equality(strict=True, negated=False),
    "!=": _equality(strict=False, negated=True), "!==": _equality(strict=True, negated=True),
    "<": _order("<"), "<=": _order("<="), ">": _order(">"), ">=": _order(">="),
    "missing": _missing, "missing_some": _missing_some, "all": _each("all"), "some": _each("some"), "none": _each("none"),
    "in": _contained,
}  # fmt: skip
_VALUES: dict[str, Callable[[Translator, list[Argument], str], Term]] = values.OPERATORS
