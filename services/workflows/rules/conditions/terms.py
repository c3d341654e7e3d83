"""Values of JSONLogic while they become CEL: what kind they are, when they count as true, how they compare. Pure.

JavaScript's rules where CEL can follow them exactly; where it cannot, the condition is refused, never bent.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from services.workflows.rules.conditions.translation import Piece, Untranslatable, time_literal
from services.workflows.rules.expressions.interface import FieldType

_NUMBERS = frozenset({FieldType.INT, FieldType.DOUBLE})
LISTS = frozenset({FieldType.LIST, FieldType.TEXTS})
_SAID = {
    FieldType.BOOL: "true or false", FieldType.INT: "a number", FieldType.DOUBLE: "a number", FieldType.STRING: "a text",
    FieldType.TIMESTAMP: "a time", FieldType.LIST: "a list", FieldType.TEXTS: "a list", FieldType.DYN: "something nobody declared",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Term:
    """A value. ``constant``: it was written out, as ``value``; null is a constant of kind DYN. ``item`` is what a list holds."""

    piece: Piece
    kind: FieldType
    nullable: bool = False
    constant: bool = False
    value: Any = None
    item: FieldType = FieldType.DYN
    computed: bool = False

    @property
    def text(self) -> str:
        return self.piece.text

    @property
    def is_null(self) -> bool:
        return self.constant and self.value is None

    @property
    def number(self) -> bool:
        return self.kind in _NUMBERS

    @property
    def said(self) -> str:
        return "null" if self.is_null else _SAID[self.kind]

    @property
    def family(self) -> str:
        """Kinds that compare with each other."""
        return "number" if self.number else "list" if self.kind in LISTS else self.kind.value


def true(term: Term) -> str:
    """When a value counts as true: not null, not false, not 0, not an empty text or list."""
    x = term.text
    if term.constant:
        return "true" if term.value else "false"
    if term.kind is FieldType.DYN:
        kinds = f'(type({x}) == bool && {x}) || (type({x}) in [int, double] && {x} != 0) || (type({x}) == string && {x} != "")'
        return f"({kinds} || (type({x}) == list && size({x}) > 0) || type({x}) == map)"
    tests = {
        FieldType.BOOL: x, FieldType.INT: f"{x} != 0", FieldType.DOUBLE: f"{x} != 0.0", FieldType.STRING: f'{x} != ""',
        FieldType.TIMESTAMP: "true",
    }  # fmt: skip
    test = tests.get(term.kind, f"size({x}) > 0")
    if term.kind is FieldType.DOUBLE and term.computed:
        test = f"({x} != 0.0 && {x} == {x})"  # what is no number is false
    return f"({x} != null && {test})" if term.nullable else f"({test})"


def equal(left: Term, right: Term, *, strict: bool, pointer: str) -> str:
    """``==`` or ``===``. Between kinds JavaScript converts; here it is refused."""
    for one, other in ((left, right), (right, left)):
        if one.is_null:
            return f"({other.text} == null)" if other.nullable or other.kind is FieldType.DYN else "false"
    if FieldType.DYN in {left.kind, right.kind}:
        known = right if left.kind is FieldType.DYN else left
        if not strict or known.kind in {*LISTS, FieldType.DYN, FieldType.TIMESTAMP}:
            raise Untranslatable("unknown_kind", pointer, "Nobody declared of what kind this is.", 'compare it with "===" and a constant')
        return f"({left.text} == {right.text})"
    left, right = timed(left, right)
    if left.family != right.family or left.family == "list":
        raise differ(left, right, pointer)
    return f"({numbered(left, right)} == {numbered(right, left)})"


def less(left: Term, right: Term, sign: str, pointer: str) -> str:
    """An order between two numbers, two texts or two times. Null counts as 0 among numbers; beside a text or a time nothing holds."""
    if left.is_null or right.is_null:
        raise Untranslatable("types_differ", pointer, "Null is neither less nor more.")
    if FieldType.DYN in {left.kind, right.kind}:
        known = right if left.kind is FieldType.DYN else left
        if not known.number:
            raise Untranslatable("unknown_kind", pointer, "Nobody declared of what kind this is; only numbers compare with it.")
        return f"({_or_zero(left)} {sign} {_or_zero(right)})"
    left, right = timed(left, right)
    if left.family != right.family or left.kind in {*LISTS, FieldType.BOOL}:
        raise differ(left, right, pointer)
    if left.number:
        return f"({numbered(left, right, zero=True)} {sign} {numbered(right, left, zero=True)})"
    if left.kind is FieldType.STRING and (left.nullable or right.nullable):
        other = right if left.nullable else left
        if not other.constant or _reads_as_number(other.value):
            hint = 'say what counts when it is empty: {"var": ["patient.email", "-"]}'
            raise Untranslatable("may_be_null", pointer, "One of the texts may be null; JavaScript would compare numbers then.", hint)
    present = [f"{one.text} != null" for one in (left, right) if one.nullable]
    return f"({' && '.join([*present, f'{left.text} {sign} {right.text}'])})"


def timed(left: Term, right: Term) -> tuple[Term, Term]:
    """A text beside a time is read as a time: times compare as moments, not by their letters."""
    if left.kind is FieldType.TIMESTAMP and right.kind is FieldType.STRING and right.constant:
        return left, _as_time(right)
    if right.kind is FieldType.TIMESTAMP and left.kind is FieldType.STRING and left.constant:
        return _as_time(left), right
    return left, right


def _as_time(term: Term) -> Term:
    pointer = term.piece.pointer
    text = time_literal(term.value, pointer)
    return Term(Piece((text,), pointer, term.piece.said), FieldType.TIMESTAMP, value=datetime.fromisoformat(term.value))


def numbered(term: Term, beside: Term, *, zero: bool = False) -> str:
    """A number as the other one is: engines differ about whole numbers beside others."""
    if zero and term.nullable:
        return _or_zero(term)
    if term.kind is FieldType.INT and beside.kind is FieldType.DOUBLE and not term.nullable:
        return as_double(term)
    return term.text


def as_double(term: Term) -> str:
    if term.kind is FieldType.DOUBLE:
        return term.text
    return repr(float(term.value)) if term.constant else f"double({term.text})"


def _or_zero(term: Term) -> str:
    if not term.nullable and term.kind is not FieldType.DYN:
        return term.text
    return f"({term.text} == null ? dyn(0) : dyn({term.text}))"


def differ(left: Term, right: Term, pointer: str) -> Untranslatable:
    message = f"This compares {left.said} with {right.said}; what JavaScript makes of that is not translated."
    return Untranslatable("types_differ", pointer, message, "compare values of one kind")


def _reads_as_number(text: str) -> bool:
    """Whether JavaScript makes a number of a text."""
    bare = text.strip().lower()
    if bare in {"", "infinity", "+infinity", "-infinity"} or bare[:2] in {"0x", "0o", "0b"}:
        return True
    try:
        float(bare)
    except ValueError:
        return False
    return True
