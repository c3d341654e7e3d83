"""What waits and exit conditions read of what started the run: does it exist, does it fit? Asked when a draft is saved or published.

A version that is published already is not asked again: what it reads it goes on reading.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import lru_cache

from libs.contracts.envelope import MESSAGES, Message
from services.workflows.rules.conditions.forms import translated
from services.workflows.rules.conditions.translation import Untranslatable
from services.workflows.rules.conditions.written import Condition
from services.workflows.rules.definitions.checking import Place
from services.workflows.rules.definitions.definition import Definition, EventTrigger
from services.workflows.rules.definitions.steps import WaitForStep, walk
from services.workflows.rules.definitions.triggers import BY_TYPE, began_with, event_of
from services.workflows.rules.expressions.cel_cpp import CelCpp
from services.workflows.rules.expressions.context import shapes_for
from services.workflows.rules.expressions.engines import environment
from services.workflows.rules.expressions.interface import ExpressionInvalid, Expressions, FieldType
from services.workflows.rules.expressions.shapes import Shapes, shapes_of
from services.workflows.rules.expressions.syntax import Node, parse
from services.workflows.rules.findings import Finding, did_you_mean

ROOT = "trigger"
_OPEN = frozenset({FieldType.DYN, FieldType.LIST, FieldType.TEXTS})
"""Nobody declared what is in these."""


def trigger_findings(definition: Definition) -> list[Finding]:
    """What is wrong with reading what started the run."""
    trigger = definition.trigger
    if isinstance(trigger, EventTrigger) and trigger.event not in BY_TYPE:
        return []
    kinds = frozenset({event_of(trigger), *(MESSAGES[name] for name in began_with(trigger))})
    return [finding for condition, event, place in _awaited(definition) for finding in _of(condition, event, place, kinds)]


def trigger_shapes(kinds: frozenset[type[Message]]) -> Shapes:
    """What runs begin with that begin with any of these. A field that not all of them have may be null."""
    each = [dict(shapes_of(kind)) for kind in sorted(kinds, key=lambda kind: kind.__name__)]
    found = {name: shape for shapes in each for name, shape in shapes.items()}
    return {
        f"{ROOT}.{name}": shape if all(name in shapes for shapes in each) else replace(shape, nullable=True)
        for name, shape in found.items()
    }


@dataclass(frozen=True)
class Reading:
    """A place in what started the run. ``columns`` count from 1, one per part."""

    parts: tuple[str | int, ...]
    columns: tuple[int, ...]


def readings(tree: Node) -> Iterator[Reading]:
    """Every ``trigger.…``, in any spelling, as far as it says what it reads."""
    parts: list[str | int] = []
    columns: list[int] = []
    here = tree
    while here.kind in {"select", "index"} and type(said := _said(here)) in {str, int}:
        parts.insert(0, said)  # type: ignore[arg-type]
        columns.insert(0, here.end - len(here.name) + 1 if here.kind == "select" else here.children[1].start + 1)
        here = here.children[0]
    if here.kind == "name" and here.name == ROOT and parts:
        yield Reading(tuple(parts), tuple(columns))
        return
    for child in tree.children:
        yield from readings(child)


def _said(node: Node) -> object:
    return node.name if node.kind == "select" else node.children[1].value


def _awaited(definition: Definition) -> Iterator[tuple[Condition, type[Message], Place]]:
    """The conditions that see what started the run, each with the event it is asked of."""
    for number, one in enumerate(definition.exit or ()):
        if one.when is not None and one.event in BY_TYPE:
            yield one.when, BY_TYPE[one.event], Place(f"/exit/{number}/when", None)
    for step, pointer, _ in walk(definition.steps):
        for number, awaited in enumerate(step.events if isinstance(step, WaitForStep) else ()):
            if awaited.when is not None and awaited.event in BY_TYPE:
                yield awaited.when, BY_TYPE[awaited.event], Place(f"{pointer}/events/{number}/when", step.id)


def _of(condition: Condition, event: type[Message], place: Place, kinds: frozenset[type[Message]]) -> Iterator[Finding]:
    untyped = environment(event, CelCpp, awaiting=True)[1]
    try:
        if not isinstance(condition, str):
            place = replace(place, piece=translated(condition, untyped.shapes))
        text = place.piece.text if place.piece is not None else str(condition)
        tree = parse(text)
        untyped.compile(text, translated=place.piece is not None)
    except (ExpressionInvalid, Untranslatable):
        return  # that is said by whoever compiles it
    known = trigger_shapes(kinds)
    found: dict[str, Finding] = {}
    for reading in readings(tree):
        finding = _unknown(reading, place, known)
        if finding is not None:
            found.setdefault(finding.message, finding)  # a block names its field more than once
    yield from found.values()
    if not found and place.piece is None:
        try:
            _typed(event, kinds).compile(text)
        except ExpressionInvalid as error:
            yield place.finding("invalid_expression", str(error), error.column, error.hint)


def _unknown(reading: Reading, place: Place, known: Shapes) -> Finding | None:
    """The first part from which on there is no such field."""
    name = ROOT
    for part, column in zip(reading.parts, reading.columns, strict=True):
        if name in known and known[name].kind in _OPEN:
            return None
        name = f"{name}.{part}"
        if not any(field == name or field.startswith(f"{name}.") for field in known):
            return place.finding("invalid_expression", f"there is no field '{name}'", column, did_you_mean(name, known))
    return None


@lru_cache(maxsize=100)
def _typed(event: type[Message], kinds: frozenset[type[Message]]) -> Expressions:
    """An environment in which what started the run has the types of its fields. Nothing is evaluated in it."""
    shapes = {**shapes_for(event, awaiting=True), **trigger_shapes(kinds)}
    return CelCpp({name: shape.declared for name, shape in shapes.items()}, shapes)
