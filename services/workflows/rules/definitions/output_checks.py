"""What expressions read of earlier steps: does it exist, may it be missing, does it fit? Asked when a draft is saved or published.

A version that is published already is not asked again: what it reads it goes on reading.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import islice, product
from typing import Any

from libs.contracts.envelope import Message
from services.workflows.rules.conditions.forms import translated
from services.workflows.rules.conditions.translation import Piece, Untranslatable
from services.workflows.rules.conditions.written import Condition
from services.workflows.rules.definitions.checking import NO_CONDITION, NO_TEXT, Place
from services.workflows.rules.definitions.definition import Definition, EventTrigger
from services.workflows.rules.definitions.output_reads import guard, lost_at, meant, reads_in, spelt
from services.workflows.rules.definitions.outputs import ABSENT, SUCCEEDED, Catalogue, Left, left_by, outcome_text, outcomes_of
from services.workflows.rules.definitions.passing import NOT_RUN, Passage, Passed, Read, narrowed, read_of
from services.workflows.rules.definitions.steps import ActionStep, BranchStep, Step, WaitForStep, walk
from services.workflows.rules.definitions.triggers import BY_TYPE, event_of
from services.workflows.rules.expressions.cel_cpp import CelCpp
from services.workflows.rules.expressions.engines import environment
from services.workflows.rules.expressions.interface import Evaluated, ExpressionInvalid, Expressions
from services.workflows.rules.expressions.samples import full_sample
from services.workflows.rules.expressions.syntax import Node, parse
from services.workflows.rules.expressions.templates import as_text, is_template, split
from services.workflows.rules.findings import Finding, did_you_mean, pointer_part

MOST_TRIALS = 16
"""Combinations of what may have become of the steps an expression names, each tried with example values."""
ALL_TRIALS = 2000
"""Of all expressions of a definition together: what stands behind so many of them is found out when it runs."""


def output_findings(definition: Definition, offered: Catalogue) -> list[Finding]:
    """What is wrong with reading what steps left, once each."""
    trigger = definition.trigger
    if isinstance(trigger, EventTrigger) and trigger.event not in BY_TYPE:
        return []
    return list(dict.fromkeys(_Outputs(definition, offered).findings()))


@dataclass(frozen=True)
class Said:
    """One expression. ``boolean``: it is a condition; else it stands in a text."""

    text: str
    tree: Node
    place: Place
    boolean: bool
    event: type[Message]
    awaiting: type[Message] | None = None


class _Outputs:
    def __init__(self, definition: Definition, offered: Catalogue) -> None:
        self._definition = definition
        self._offered = offered
        self._event = event_of(definition.trigger)
        self._written = {step.id: (number, step) for number, (step, *_) in enumerate(walk(definition.steps))}
        self._passage = Passage(definition.steps, self._asked)
        self._left: dict[tuple[str, str], Left] = {}
        self._samples: dict[Any, Any] = {}
        self._trials = ALL_TRIALS

    def findings(self) -> Iterator[Finding]:
        for step, pointer, _ in walk(self._definition.steps):
            passed = self._passage.before.get(step.id)
            if passed is None:  # nobody reaches it: that is said elsewhere
                continue
            for said, known in self._of_step(step, pointer, passed):
                yield from self._of(said, known, step.id)

    def _asked(self, step: Step, number: int) -> Node | None:
        when = step.when if isinstance(step, ActionStep) else step.cases[number].when if isinstance(step, BranchStep) else None
        said = self._condition(when, Place("", step.id), self._event)
        return said.tree if said is not None else None

    def _of_step(self, step: Step, pointer: str, passed: Passed) -> Iterator[tuple[Said, Passed]]:
        """The expressions of a step, each with what may have become of the others by then."""
        match step:
            case ActionStep():
                when = self._condition(step.when, Place(f"{pointer}/when", step.id), self._event)
                if when is not None:
                    yield when, passed
                    passed = narrowed(passed, when.tree, holds=True)
                yield from ((said, passed) for said in self._texts(step.parameters, f"{pointer}/parameters", step.id))
            case BranchStep():
                for number, case in enumerate(step.cases):
                    when = self._condition(case.when, Place(f"{pointer}/cases/{number}/when", step.id), self._event)
                    if when is not None:
                        yield when, passed
                        passed = narrowed(passed, when.tree, holds=False)
            case WaitForStep():
                for number, awaited in enumerate(step.events):
                    event = BY_TYPE.get(awaited.event)
                    place = Place(f"{pointer}/events/{number}/when", step.id)
                    when = None if event is None else self._condition(awaited.when, place, event, self._event)
                    if when is not None:
                        yield when, passed

    @staticmethod
    def _condition(condition: Condition | None, place: Place, event: type[Message], awaiting: type[Message] | None = None) -> Said | None:
        if condition is None:
            return None
        piece: Piece | None = None
        if not isinstance(condition, str):
            try:
                piece = translated(condition, _expressions(event, awaiting).shapes)
            except Untranslatable:
                return None
        text = piece.text if piece else str(condition)
        return _said(text, replace(place, piece=piece), event, awaiting, boolean=True)

    def _texts(self, value: Any, pointer: str, step: str) -> Iterator[Said]:
        inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
        for name, one in inner:
            yield from self._texts(one, f"{pointer}/{pointer_part(name)}", step)
        for part in split(value)[1::2] if is_template(value) else ():
            said = _said(part.strip(), Place(pointer, step), self._event, None, boolean=False)
            if said is not None:
                yield said

    def _of(self, said: Said, passed: Passed, here: str) -> Iterator[Finding]:
        found: dict[object, Finding] = {}
        for read, known in reads_in(said.tree, passed):
            for finding in self._read(read, passed, known, said, here):
                found.setdefault((read.step, read.parts, finding.code), finding)
        yield from found.values()
        if all(finding.severity == "warning" for finding in found.values()):
            yield from self._tried(said, passed)

    def _read(self, read: Read, passed: Passed, known: Passed, said: Said, here: str) -> Iterator[Finding]:
        """One place that is read: an error when it is never there, a warning when it may be missing."""
        number, step = self._written.get(read.step, (-1, None))
        if step is None or number > self._written[here][0]:
            return  # compiling says that there is no such step before
        possible = passed.get(read.step, NOT_RUN) - {ABSENT}
        if not outcomes_of(step):
            yield said.place.finding("no_output", f"This step is a {step.kind}: it leaves nothing for later ones.", read.column)
        elif not possible:
            message = "This step cannot have run before: what it leaves is never there."
            yield said.place.finding("no_output", message, read.column, _never_hint(step.id == here))
        else:
            yield from self._place(read, step, possible, known.get(read.step, NOT_RUN), said)

    def _place(self, read: Read, step: Step, possible: frozenset[str], known: frozenset[str], said: Said) -> Iterator[Finding]:
        lost = {outcome: lost_at(self._what(step, outcome), read) for outcome in outcomes_of(step)}
        if all(lost[outcome] is not None for outcome in possible):
            number = max(at for outcome in possible if (at := lost[outcome]) is not None)
            ever = any(at is None for at in lost.values())
            message = "This is never there: nothing that may become of the step leaves it." if ever else "The step leaves no such field."
            roots = [self._what(step, outcome) for outcome in outcomes_of(step)]
            hint = None if ever else meant(read, number, roots)
            yield said.place.finding("unknown_output", message, read.columns[number], hint)
        elif not read.safe and ABSENT in known:
            message = "This step may not have run: then this fails, and the run with it."
            yield said.place.finding("output_may_be_missing", message, read.column, guard(read, None, said.boolean), warning=True)
        elif not read.safe and any(lost[outcome] is not None for outcome in known):
            gone = next(outcome for outcome in outcomes_of(step) if outcome in known and lost[outcome] is not None)
            good = next((outcome for outcome in outcomes_of(step) if lost[outcome] is None), SUCCEEDED)
            message = f"{_when(gone)} this is not there: then this fails, and the run with it."
            same = all(at is None for one, at in lost.items() if outcome_text(one) == outcome_text(good))
            hint = guard(read, outcome_text(good) if same else good, said.boolean)
            yield said.place.finding("output_may_be_missing", message, read.columns[lost[gone] or 0], hint, warning=True)

    def _what(self, step: Step, outcome: str) -> Left:
        key = step.id, outcome
        if key not in self._left:
            self._left[key] = left_by(step, outcome, self._offered)
        return self._left[key]

    def _tried(self, said: Said, passed: Passed) -> Iterator[Finding]:
        """What comes out with example values of everything that may have become of the steps it names."""
        reads = [read for read, _ in reads_in(said.tree, passed)]
        names = sorted({read.step for read in reads if passed.get(read.step, NOT_RUN) - {ABSENT}})
        ends = [(read, self._end(read, outcome)) for read in reads for outcome in passed.get(read.step, NOT_RUN) - {ABSENT}]
        if not names or any(end is not None and end.open for _, end in ends):
            return
        yield from self._strange(said, reads, passed)
        if self._trials <= 0:
            return
        try:
            compiled = _expressions(said.event, said.awaiting).compile(said.text, translated=said.place.piece is not None)
        except ExpressionInvalid:
            return
        for empty in (False, True):
            for chosen in islice(product(*(sorted(passed[name] - {ABSENT}) for name in names)), min(MOST_TRIALS, self._trials)):
                bound = self._bound(said, tuple(zip(names, chosen, strict=True)), empty=empty)
                finding = _came_to(said, compiled.evaluate(bound), ends, empty=empty)
                if finding is not None:
                    yield finding
                    return

    def _bound(self, said: Said, chosen: tuple[tuple[str, str], ...], *, empty: bool) -> Any:
        """Example values where that became of the steps, made ready once for all expressions that name the same ones."""
        self._trials -= 1
        key = said.event, said.awaiting, chosen, empty
        if key not in self._samples:
            steps = {name: self._what(self._written[name][1], outcome).example(empty=empty) for name, outcome in chosen}
            fields, expressions = environment(said.event, CelCpp, awaiting=said.awaiting is not None)
            self._samples[key] = expressions.bind({**full_sample(said.event, fields, said.awaiting), "steps": steps})
        return self._samples[key]

    def _end(self, read: Read, outcome: str) -> Left | None:
        """What stands where it reads; what nobody declared ends it early."""
        here = self._what(self._written[read.step][1], outcome)
        for part in read.parts:
            inner = here.at(part)
            if inner is None:
                return here if here.open else None
            here = inner
        return here

    def _strange(self, said: Said, reads: list[Read], passed: Passed) -> Iterator[Finding]:
        """Texts that what a step leaves never is."""
        for node in said.tree.walk():
            if node.kind not in {"==", "!=", "in"}:
                continue
            for one, other in (node.children, node.children[::-1]):
                read = read_of(one)
                if read is None or read not in reads:
                    continue
                ends = [self._end(read, outcome) for outcome in passed.get(read.step, NOT_RUN) - {ABSENT}]
                choices = tuple(dict.fromkeys(text for end in ends if end is not None for text in end.choices))
                for value in other.children if node.kind == "in" and other.kind == "list" else (other,):
                    if choices and isinstance(value.value, str) and value.value not in choices:
                        close = did_you_mean(value.value, choices)
                        hint = f"it holds one of: {', '.join(choices)}" + (f"; {close}" if close else "")
                        message = f"{spelt(read)} never holds this text: this is always the same."
                        yield said.place.finding("no_member", message, value.start + 1, hint, warning=True)


def _expressions(event: type[Message], awaiting: type[Message] | None) -> Expressions:
    return environment(event, CelCpp, awaiting=awaiting is not None)[1]


def _said(text: str, place: Place, event: type[Message], awaiting: type[Message] | None, *, boolean: bool) -> Said | None:
    """None for what does not parse: compiling says so."""
    try:
        return Said(text, parse(text), place, boolean, event, awaiting)
    except ExpressionInvalid:
        return None


def _never_hint(itself: bool) -> str:
    return "a step does not see what it leaves itself" if itself else "it stands in another case, behind a stop, or is always skipped"


def _when(outcome: str) -> str:
    return f"When the event that comes is number {outcome}" if outcome.isdecimal() else f"When the step's outcome is {outcome}"


def _came_to(said: Said, result: Evaluated, ends: list[tuple[Read, Left | None]], *, empty: bool) -> Finding | None:
    if result.error == "no_such_overload":
        read = next((read for read, end in ends if end is not None and (end.nullable if empty else end.time)), None)
        if empty:
            hint = None if read is None else f"compare with null first: {spelt(read)} != null && …"
            return said.place.may_fail("When a field is empty this fails; then the run fails.", result, hint)
        message = "An operator or function here does not take values of these types."
        hint = None if read is None else f"what steps leave is kept as JSON, a time as a text: write timestamp({spelt(read)})"
        return said.place.finding("types_differ", message, hint=hint)
    if result.error is not None or empty:
        return None
    if said.boolean and not isinstance(result.value, bool):
        return said.place.finding("not_a_condition", NO_CONDITION)
    if not said.boolean and as_text(result.value) is None:
        return said.place.finding("not_text", NO_TEXT)
    return None
