"""Where an expression reads what earlier steps left, what may have become of them there, and what its author may have meant. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain

from services.workflows.rules.definitions.outputs import Left
from services.workflows.rules.definitions.passing import NOT_RUN, Passed, Read, narrowed, read_of
from services.workflows.rules.expressions.syntax import Node
from services.workflows.rules.findings import did_you_mean


def reads_in(tree: Node, passed: Passed) -> Iterator[tuple[Read, Passed]]:
    """Every place that is read, with what may have become of the steps where it is: the other parts of an "and" ask first or last."""
    read = read_of(tree)
    if read is not None:
        yield read, passed
        return
    if tree.kind in {"and", "or"}:
        said = [_narrowing(passed, child, holds=tree.kind == "and") for child in tree.children]
        for number, child in enumerate(tree.children):
            known = dict(passed)
            for step, outcomes in chain(*said[:number], *said[number + 1 :]):
                known[step] = known.get(step, NOT_RUN) & outcomes
            yield from reads_in(child, known)
    elif tree.kind == "if":
        asked, then, other = tree.children
        yield from reads_in(asked, passed)
        yield from reads_in(then, narrowed(passed, asked, holds=True))
        yield from reads_in(other, narrowed(passed, asked, holds=False))
    else:
        for child in tree.children:
            yield from reads_in(child, passed)


def _narrowing(passed: Passed, tree: Node, *, holds: bool) -> list[tuple[str, frozenset[str]]]:
    """What a condition changes where it came to this."""
    found = narrowed(passed, tree, holds=holds)
    return [] if found is passed else [(step, outcomes) for step, outcomes in found.items() if outcomes != passed.get(step)]


def lost_at(left: Left, read: Read) -> int | None:
    """The number of the first part that is not there; None when all are, or nobody can know."""
    here = left
    for number, part in enumerate(read.parts):
        inner = here.at(part)
        if inner is None:
            return None if here.open else number
        here = inner
    return None


def meant(read: Read, number: int, roots: list[Left]) -> str | None:
    """The field that is close by name, or the one of this name that stands elsewhere in what the step leaves."""
    name = str(read.parts[number])
    for root in roots:
        for path in _paths(root):
            if path[-1] == name:
                return f"did you mean {spelt(Read(read.step, path, (), 0))!r}?"
    around = [here for root in roots if (here := _inside(root, read.parts[:number])) is not None]
    known = dict.fromkeys(name for here in around for name in here.members)
    return did_you_mean(name, known) or (f"it has: {', '.join(known)}" if known else None)


def _inside(left: Left, parts: tuple[str | int, ...]) -> Left | None:
    here: Left | None = left
    for part in parts:
        here = here.at(part) if here is not None else None
    return here


def _paths(left: Left, before: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """Every field in it, those nearer first."""
    yield from ((*before, name) for name in left.members)
    for name, inner in left.members.items() if len(before) < 3 else ():
        yield from _paths(inner, (*before, name))


def spelt(read: Read) -> str:
    """As a person writes it."""
    start = f"steps.{read.step}" if read.step.isidentifier() else f"steps['{read.step}']"
    return start + "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in read.parts)


def guard(read: Read, outcome: str | None, boolean: bool) -> str:
    """How to ask first: whether the step ran, or whether this became of it (a number: which of its events came)."""
    step = spelt(Read(read.step, (), (), 0))
    asked = f"'{read.step}' in steps"
    if outcome is not None:
        asked = f"{step}.number == {outcome}" if outcome.isdecimal() else f"{step}.outcome == '{outcome}'"
    return f"ask first: {asked} && …" if boolean else f"ask first: {{{{ {asked} ? {spelt(read)} : '' }}}}"
