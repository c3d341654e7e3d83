"""What a saved filter may ask of a patient: known fields, operators of their kind, values the operator takes. Pure."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache

from libs.contracts.conditions import (
    DAY_OPERATORS,
    EMPTINESS,
    LIST_OPERATORS,
    MAX_CHOICES,
    MAX_FOLDED,
    OPPOSITES,
    PATIENT_FIELDS,
    TEXT_OPERATORS,
    AllOf,
    AnyOf,
    Block,
    Blocks,
    is_day,
)

OPERATORS = {
    "text": (*TEXT_OPERATORS, EMPTINESS), "day": (*TEXT_OPERATORS, *DAY_OPERATORS, EMPTINESS), "texts": (*LIST_OPERATORS, EMPTINESS),
}  # fmt: skip
TAKES_LIST = frozenset({"one_of", "contains_any", "contains_all"})


@dataclass(frozen=True)
class Fault:
    """What is wrong with a block. ``pointer`` leads into the condition; ``hint`` is what may help."""

    pointer: str
    code: str
    message: str
    hint: str | None = None


def faults(condition: Blocks) -> list[Fault]:
    """Everything a filter over patients cannot mean; nothing for one that finds them."""
    return list(_faults_of_group(condition.blocks, "/blocks"))


def _faults_of_group(group: AllOf | AnyOf, pointer: str) -> Iterator[Fault]:
    name, members = ("all", group.all) if isinstance(group, AllOf) else ("any", group.any)
    for number, member in enumerate(members):
        here = f"{pointer}/{name}/{number}"
        yield from _faults_of_block(member, here) if isinstance(member, Block) else _faults_of_group(member, here)


def _faults_of_block(block: Block, pointer: str) -> Iterator[Fault]:
    kind = PATIENT_FIELDS.get(block.field)
    if kind is None:
        yield Fault(f"{pointer}/field", "unknown_field", "A patient has no such field.", _near(block.field, PATIENT_FIELDS))
        return
    positive = OPPOSITES.get(block.operator, block.operator)
    if positive not in OPERATORS[kind]:
        offered = [*OPERATORS[kind], *(name for name, opposite in OPPOSITES.items() if opposite in OPERATORS[kind])]
        hint = _near(block.operator, offered) or f"it has: {', '.join(offered)}"
        yield Fault(f"{pointer}/operator", "unknown_operator", "A field of this kind has no such operator.", hint)
        return
    if block.ignore_case and (kind == "texts" or positive in DAY_OPERATORS):
        yield Fault(f"{pointer}/ignore_case", "invalid_value", "Only texts have cases.")
    if positive != EMPTINESS:
        yield from _faults_of_value(block, positive, f"{pointer}/value")


def _faults_of_value(block: Block, operator: str, pointer: str) -> Iterator[Fault]:
    if operator in DAY_OPERATORS:
        if not is_day(block.value):
            yield Fault(pointer, "invalid_value", "This operator needs a day.", "a day is written 2030-01-31")
    elif operator not in TAKES_LIST:
        yield from _faults_of_text(block.value, pointer, ignore_case=block.ignore_case)
    elif not isinstance(block.value, list) or not 0 < len(block.value) <= MAX_CHOICES:
        yield Fault(pointer, "invalid_value", f"This operator needs a list of one to {MAX_CHOICES} texts.")
    else:
        for number, one in enumerate(block.value):
            yield from _faults_of_text(one, f"{pointer}/{number}", ignore_case=block.ignore_case)


def _faults_of_text(value: object, pointer: str, *, ignore_case: bool) -> Iterator[Fault]:
    if not isinstance(value, str):
        yield Fault(pointer, "invalid_value", "This operator needs a text.")
    elif ignore_case and len(value) > MAX_FOLDED:
        yield Fault(pointer, "invalid_value", f"Without regard to case a text has at most {MAX_FOLDED} characters.")


def _near(name: str, known: Iterable[str]) -> str | None:
    found = difflib.get_close_matches(name, list(known), n=1)
    return f"did you mean {found[0]!r}?" if found else None


def folded_pattern(text: str) -> str:
    """A regular expression of Postgres for ``text`` in whatever capitals, in every script and under every collation."""
    return "".join(_one_character(character) for character in text)


def _one_character(character: str) -> str:
    same = _cases().get(_folded(character), character)
    if len(same) > 1:
        return f"[{same}]"
    return f"\\{character}" if character.isascii() and not character.isalnum() else character


def _folded(character: str) -> str:
    """Unicode's simple case folding: one character for one."""
    found = character.casefold()
    if len(found) > 1:
        found = character.lower()
    return found if len(found) == 1 else character


@cache
def _cases() -> dict[str, str]:
    """The characters that are the same but for their case, by what they fold to. Letters only: none means anything in brackets."""
    found: dict[str, str] = {}
    for character in filter(str.isprintable, map(chr, range(0x1F000))):
        fold = _folded(character)
        if fold != character:
            found[fold] = found.get(fold, fold) + character
    return found
