"""JSONLogic's operators that make values: numbers, texts, lists, the first that counts. Pure."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from services.workflows.rules.conditions.terms import LISTS, Term, as_double, differ, true
from services.workflows.rules.conditions.translation import Piece, Untranslatable, read
from services.workflows.rules.expressions.interface import FieldType

if TYPE_CHECKING:
    from services.workflows.rules.conditions.jsonlogic import Argument, Translator

Value = Callable[["Translator", "list[Argument]", str], Term]
MOST_COMPARED = 10


def exactly(arguments: list[Argument], pointer: str, count: int) -> list[Argument]:
    if len(arguments) != count:
        raise Untranslatable("wrong_count", pointer, f"This takes {count} argument{'s' if count > 1 else ''}, not {len(arguments)}.")
    return arguments


def with_parts(test: str, *terms: Term) -> list[str | Piece]:
    """A test with the first mention of each value, in their order, as the value's own part."""
    parts: list[str | Piece] = []
    for term in terms:
        before, found, behind = test.partition(term.text)
        if found:
            parts += [before, term.piece]
            test = behind
    return [*parts, test]


def absent(translator: Translator, arguments: Sequence[Argument], pointer: str) -> list[str]:
    """For each name whether there is nothing: null or an empty text."""
    if translator.element is not None:
        raise Untranslatable("unsupported_operator", pointer, "Inside a list nothing is asked to be there.")
    names = [one.node for one in arguments]
    if len(names) == 1 and isinstance(names[0], list):
        names = names[0]
    tests: list[str] = []
    for name in names:
        if not isinstance(name, str):
            raise Untranslatable("unsupported_operator", pointer, "Names of fields are written out here.")
        text, shape = read(name, translator.shapes, pointer)
        nothing = [f"{text} == null"] if shape.nullable or shape.kind is FieldType.DYN else []
        empty = {FieldType.STRING: [f'{text} == ""'], FieldType.DYN: [f'(type({text}) == string && {text} == "")']}.get(shape.kind, [])
        tests.append(f"({' || '.join([*nothing, *empty]) or 'false'})")
    return tests


def walked(translator: Translator, argument: Argument) -> tuple[Term, Term]:
    """A list, and what stands for each of its elements."""
    term = translator.value(argument.node, argument.pointer)
    if term.kind not in LISTS:
        raise Untranslatable("not_a_list", argument.pointer, f"This walks a list, and here is {term.said}.")
    name = f"e{translator.depth + 1}"
    return term, Term(Piece((name,), argument.pointer, name, alone=False), term.item, nullable=term.item is FieldType.DYN)


def chosen(condition: str, then: Term, other: Term, pointer: str) -> Term:
    """One or the other, which must be of one kind; null beside it makes it nullable."""
    if then.is_null or other.is_null or then.nullable or other.nullable:
        kind = other.kind if then.is_null else then.kind
        if not (then.is_null or other.is_null) and then.family != other.family:
            raise differ(then, other, pointer)
        piece = Piece((f"({condition} ? dyn({then.text}) : dyn({other.text}))",), pointer)
        return Term(piece, kind, nullable=True, item=then.item)
    if FieldType.DYN in {then.kind, other.kind}:
        return Term(Piece((f"({condition} ? dyn({then.text}) : dyn({other.text}))",), pointer), FieldType.DYN)
    if then.family != other.family or (then.family == "list" and then.item is not other.item):
        raise differ(then, other, pointer)
    mixed = then.kind is not other.kind and then.number
    texts = [as_double(one) if mixed else one.text for one in (then, other)]
    kind = FieldType.DOUBLE if mixed else then.kind
    computed = then.computed or other.computed
    return Term(Piece((f"({condition} ? {texts[0]} : {texts[1]})",), pointer), kind, item=then.item, computed=computed)


def _if(translator: Translator, arguments: list[Argument], pointer: str) -> Term:
    if len(arguments) < 2:
        if not arguments:
            return Term(Piece(("null",), pointer), FieldType.DYN, nullable=True, constant=True)
        return translator.value(arguments[0].node, arguments[0].pointer)
    condition = translator.truth(arguments[0].node, arguments[0].pointer)
    then = translator.value(arguments[1].node, arguments[1].pointer)
    return chosen(condition.text, then, _if(translator, arguments[2:], pointer), pointer)


def _first(*, stops_at: bool) -> Value:
    """``or`` is the first that counts as true, ``and`` the first that does not; else the last."""

    def emit(translator: Translator, arguments: list[Argument], pointer: str) -> Term:
        if not arguments:
            raise Untranslatable("wrong_count", pointer, "This takes at least one argument.")
        *terms, last = translator.terms(arguments)
        for term in reversed(terms):
            last = chosen(true(term), term, last, pointer) if stops_at else chosen(true(term), last, term, pointer)
        return last

    return emit


def _numbers(translator: Translator, arguments: list[Argument]) -> list[Term]:
    terms = translator.terms(arguments)
    for term in terms:
        if not term.number or term.nullable:
            message = f"This calculates with {term.said}{' that may be null' if term.nullable and not term.is_null else ''}."
            raise Untranslatable("not_a_number", term.piece.pointer, message, 'say what counts when it is null: {"var": ["event.x", 0]}')
    return terms


def _calculated(sign: str) -> Value:
    """In floating point, as JavaScript does: nothing overflows, and dividing by 0 is infinite."""

    def emit(translator: Translator, arguments: list[Argument], pointer: str) -> Term:
        many = sign in "+*"
        if not arguments or (not many and len(arguments) > 2) or (sign == "/" and len(arguments) < 2):
            raise Untranslatable("wrong_count", pointer, f"{sign} does not take so many arguments.")
        texts = [as_double(term) for term in _numbers(translator, arguments)]
        text = f"(-{texts[0]})" if sign == "-" and len(texts) == 1 else f"({f' {sign} '.join(texts)})"
        return Term(Piece((text,), pointer), FieldType.DOUBLE, computed=True)

    return emit


def _rest(translator: Translator, arguments: list[Argument], pointer: str) -> Term:
    left, right = _numbers(translator, exactly(arguments, pointer, 2))
    if left.kind is not FieldType.INT or right.kind is not FieldType.INT or not right.constant or not right.value:
        message = "% takes a whole number and a written one that is not 0."
        raise Untranslatable("unsupported_operator", pointer, message)
    return Term(Piece((f"({left.text} % {right.text})",), pointer), FieldType.INT)


def _extreme(sign: str) -> Value:
    def emit(translator: Translator, arguments: list[Argument], pointer: str) -> Term:
        terms = _numbers(translator, arguments)
        if not 0 < len(terms) <= MOST_COMPARED or any(term.computed for term in terms):
            raise Untranslatable("unsupported_operator", pointer, f"One to {MOST_COMPARED} numbers that are not calculated.")
        if len(terms) == 1:
            return terms[0]
        mixed = len({term.kind for term in terms}) > 1
        listed = f"[{', '.join(as_double(term) if mixed else term.text for term in terms)}]"
        text = f"{listed}.filter(m, {listed}.all(n, m {sign} n))[0]"
        return Term(Piece((text,), pointer), FieldType.DOUBLE if mixed else terms[0].kind)

    return emit


def _cat(translator: Translator, arguments: list[Argument], pointer: str) -> Term:
    texts = ['""']
    for term in translator.terms(arguments):
        if term.kind is FieldType.STRING:
            texts.append(f'({term.text} == null ? "" : string({term.text}))' if term.nullable else term.text)
        elif term.kind in {FieldType.INT, FieldType.BOOL} and not term.nullable:
            texts.append(f"string({term.text})")
        else:
            message = f"How JavaScript writes {term.said} as a text is not translated."
            raise Untranslatable("not_a_text", term.piece.pointer, message)
    return Term(Piece((f"({' + '.join(texts)})",), pointer), FieldType.STRING)


def _substr(translator: Translator, arguments: list[Argument], pointer: str) -> Term:
    """Characters from a place on, so many: negative ones count from the end. Places outside of the text are its ends."""
    if len(arguments) not in {2, 3}:
        raise Untranslatable("wrong_count", pointer, "substr takes a text, a place, and a length.")
    term, *places = translator.terms(arguments)
    if term.kind is not FieldType.STRING or term.nullable or not all(one.constant and type(one.value) is int for one in places):
        raise Untranslatable("unsupported_operator", pointer, "substr takes a text that is never null, and places that are written out.")
    if any(abs(one.value) > 10_000 for one in places):
        raise Untranslatable("unsupported_operator", pointer, "A place is at most 10,000.")
    text, size, start = term.text, f"size({term.text})", places[0].value
    begin = f"({size} < {start} ? {size} : {start})" if start >= 0 else f"({size} < {-start} ? 0 : {size} - {-start})"
    rest = f"{text}.substring({begin})"  # cel-cpp refuses an end that is the text's own
    if len(places) == 2 and places[1].value >= 0:
        length = places[1].value
        rest = f"({size} - {begin} <= {length} ? {rest} : {text}.substring({begin}, {begin} + {length}))"
    elif len(places) == 2:
        left_out = -places[1].value
        rest = f'({size} - {left_out} <= {begin} ? "" : {text}.substring({begin}, {size} - {left_out}))'
    return Term(Piece((rest,), pointer), FieldType.STRING)


def merged(terms: list[Term], pointer: str, *, flat: bool = True) -> Term:
    """One list of all of them; lists among them are taken apart when ``flat``."""
    items = [term.item if term.kind in LISTS else term.kind for term in terms]
    if len({item if item is not FieldType.INT else FieldType.DOUBLE for item in items}) > 1:
        raise Untranslatable("types_differ", pointer, "The items of a list are of one kind.")
    if not flat and any(term.kind in LISTS for term in terms):
        raise Untranslatable("unsupported_operator", pointer, "Lists of lists are not translated.")
    if any(term.nullable for term in terms):
        raise Untranslatable("unsupported_operator", pointer, "What may be null does not stand in a list.")
    item = FieldType.DOUBLE if len(set(items)) > 1 else items[0] if items else FieldType.DYN
    kind = FieldType.TEXTS if item is FieldType.STRING else FieldType.LIST
    constant = all(term.constant for term in terms)
    parts: list[str | Piece] = []
    single: list[str] = []
    for term in terms:
        if term.kind in LISTS:
            parts += [f"[{', '.join(single)}] + "] if single else []
            parts += [term.piece, " + "]
            single = []
        else:
            single.append(as_double(term) if item is FieldType.DOUBLE else term.text)
    parts.append(f"[{', '.join(single)}]")
    value = [term.value for term in terms] if constant and not any(term.kind in LISTS for term in terms) else None
    return Term(Piece(("(", *parts, ")"), pointer), kind, constant=value is not None, value=value, item=item)


def _merge(translator: Translator, arguments: list[Argument], pointer: str) -> Term:
    return merged(translator.terms(arguments), pointer)


def _filter(translator: Translator, arguments: list[Argument], pointer: str) -> Term:
    listed, said = exactly(arguments, pointer, 2)
    term, element = walked(translator, listed)
    if term.nullable:
        raise Untranslatable("may_be_null", pointer, "This list may be null.")
    if term.constant and not term.value:
        return term
    test = translator.within(element).truth(said.node, said.pointer)
    piece = Piece((term.piece, f".filter({element.text}, ", test, ")"), pointer)
    return replace(term, piece=piece, constant=False, value=None)


def _map(translator: Translator, arguments: list[Argument], pointer: str) -> Term:
    listed, said = exactly(arguments, pointer, 2)
    term, element = walked(translator, listed)
    if term.nullable or (term.constant and not term.value):
        raise Untranslatable("may_be_null", pointer, "This list may be null, or is empty.")
    made = translator.within(element).value(said.node, said.pointer)
    if made.kind in LISTS:
        raise Untranslatable("unsupported_operator", pointer, "Lists of lists are not translated.")
    piece = Piece((term.piece, f".map({element.text}, ", made.piece, ")"), pointer)
    item = FieldType.DYN if made.nullable else made.kind
    return Term(piece, FieldType.TEXTS if item is FieldType.STRING else FieldType.LIST, item=item)


def in_list(needle: Term, haystack: Term, pointer: str) -> str:
    """Strictly: what is of another kind is not in it."""
    if needle.kind in LISTS or (FieldType.DYN in {needle.kind, haystack.item} and not (needle.constant or haystack.constant)):
        raise Untranslatable("unknown_kind", pointer, "Nobody declared of what kind this is.")
    if haystack.constant and not haystack.value:
        return "false"
    known = FieldType.DYN not in {needle.kind, haystack.item}
    numbers = needle.number and haystack.item in {FieldType.INT, FieldType.DOUBLE}
    if known and needle.kind is not haystack.item and not numbers:
        raise differ(needle, replace(haystack, kind=haystack.item), pointer)
    if needle.kind is FieldType.INT and haystack.item is FieldType.DOUBLE:
        return f"({as_double(needle)} in {haystack.text})" if not needle.nullable else f"(dyn({needle.text}) in {haystack.text})"
    present = f"{haystack.text} != null && " if haystack.nullable else ""
    return f"({present}{needle.text} in {haystack.text})"


def in_text(needle: Term, haystack: Term, pointer: str) -> str:
    if haystack.kind is not FieldType.STRING or needle.kind is not FieldType.STRING or needle.nullable:
        message = "in looks for a text in a text, or for an item in a list."
        raise Untranslatable("types_differ", pointer, message, 'say what counts when it is null: {"var": ["patient.email", "-"]}')
    text = haystack.text
    present = f"{text} != null && " if haystack.nullable else ""
    empty = f'{text} != "" && ' if not haystack.constant else ""
    return f"({present}{empty}{text}.contains({needle.text}))" if haystack.value != "" or not haystack.constant else "false"


OPERATORS: dict[str, Value] = {
    "if": _if, "and": _first(stops_at=False), "or": _first(stops_at=True), "cat": _cat, "substr": _substr, "merge": _merge,
    "filter": _filter, "map": _map, "+": _calculated("+"), "-": _calculated("-"), "*": _calculated("*"), "/": _calculated("/"), "%": _rest,
    "max": _extreme(">="), "min": _extreme("<="),
}  # fmt: skip
