"""What may have become of the earlier steps when a step's turn comes: skipped, in another case, succeeded, timed out. Pure.

Conditions on the way narrow it: in the case of ``steps.reply.outcome == 'event'`` the wait has not timed out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from services.workflows.rules.definitions.outputs import ABSENT, FAILED, SUCCEEDED, Part, outcome_text, outcomes_of
from services.workflows.rules.definitions.steps import ActionStep, BranchStep, Step, StopStep, WaitForStep
from services.workflows.rules.expressions.folding import folded
from services.workflows.rules.expressions.syntax import Node

Passed = Mapping[str, frozenset[str]]
"""By step id, what may have become of it. One that is not named has not run."""

NOT_RUN = frozenset({ABSENT})


@dataclass(frozen=True)
class Read:
    """A place in what a step left. ``safe``: where it is not, the expression sees null. ``columns`` count from 1, one per part."""

    step: str
    parts: tuple[Part, ...]
    columns: tuple[int, ...]
    column: int
    safe: bool = False


def read_of(node: Node) -> Read | None:
    """``steps.<id>.…``, in any spelling; None for anything else."""
    if (
        node.kind == "if"
        and _is_null(node.children[2])
        and any(one.kind == "call" and one.name == "type" for one in node.children[0].walk())
    ):
        inner = read_of(node.children[1])
        return None if inner is None else Read(inner.step, inner.parts, inner.columns, inner.column, safe=True)
    if node.kind == "call" and node.name == "dyn" and len(node.children) == 1:
        return read_of(node.children[0])
    parts: list[Part] = []
    columns: list[int] = []
    here = node
    while here.kind in {"select", "index"}:
        said = here.name if here.kind == "select" else here.children[1].value
        if type(said) not in {str, int}:
            return None
        parts.insert(0, said)
        columns.insert(0, here.end - len(here.name) + 1 if here.kind == "select" else here.children[1].start + 1)
        here = here.children[0]
    if here.kind != "name" or here.name != "steps" or not parts or not isinstance(parts[0], str):
        return None
    return Read(parts[0], tuple(parts[1:]), tuple(columns[1:]), here.start + 1)


def _is_null(node: Node) -> bool:
    inner = node.children[0] if node.kind == "call" and node.name == "dyn" and node.children else node
    return inner.kind == "literal" and inner.value is None


def narrowed(passed: Passed, tree: Node | None, *, holds: bool) -> Passed:
    """What is left of it where a condition came to this."""
    if tree is None:
        return passed
    if tree.kind == "not":
        return narrowed(passed, tree.children[0], holds=not holds)
    if tree.kind in {"and", "or"}:
        if holds is (tree.kind == "and"):
            for child in tree.children:
                passed = narrowed(passed, child, holds=holds)
            return passed
        return joined(narrowed(passed, child, holds=holds) for child in tree.children) or passed
    return _compared(passed, tree, holds=holds)


def _compared(passed: Passed, tree: Node, *, holds: bool) -> Passed:
    if tree.kind not in {"==", "!=", "in"}:
        return passed
    left, right = tree.children
    if tree.kind == "in" and right.kind == "name" and right.name == "steps" and isinstance(left.value, str):
        return _kept(passed, left.value, lambda outcome: (outcome != ABSENT) is holds)
    read, other = (read_of(left), right) if read_of(left) is not None else (read_of(right), left)
    values = other.children if tree.kind == "in" and other.kind == "list" else (other,)
    if read is None or any(value.kind != "literal" for value in values):
        return passed
    same, wanted, only = holds is not (tree.kind == "!="), [value.value for value in values], read
    return _kept(passed, read.step, lambda outcome: _may_be(outcome, only, wanted, same=same))


def _may_be(outcome: str, read: Read, wanted: list[object], *, same: bool) -> bool:
    """Whether comparing what it left with these values may come to this. A comparison that fails comes to nothing."""
    if outcome == ABSENT:
        return read.safe and (None in wanted) is same
    match read.parts:
        case ("outcome",):
            return (outcome_text(outcome) in wanted) is same
        case ("number",):
            return ((int(outcome) if outcome.isdecimal() else None) in wanted) is same
        case ("event",) if wanted == [None]:
            return outcome.isdecimal() is not same
    return True


def _kept(passed: Passed, step: str, keep: Callable[[str], bool]) -> Passed:
    before = passed.get(step, NOT_RUN)
    kept = frozenset(outcome for outcome in before if keep(outcome))
    return passed if kept == before else {**passed, step: kept}


def joined(ways: Iterable[Passed | None]) -> Passed | None:
    """Either of them; None when nobody comes out of any."""
    open_ways = [way for way in ways if way is not None]
    if not open_ways:
        return None
    names = dict.fromkeys(name for way in open_ways for name in way)
    return {name: frozenset().union(*(way.get(name, NOT_RUN) for way in open_ways)) for name in names}


Asked = Callable[[Step, int], Node | None]
"""The tree of a step's own condition, or of the numbered case of a branch; None where there is none."""


class Passage:
    """Walks the steps once; ``before`` says for each what may have become of the others, None for one nobody reaches."""

    def __init__(self, steps: Sequence[Step], asked: Asked) -> None:
        self.before: dict[str, Passed | None] = {}
        self._asked = asked
        self._block(steps, {})

    def _block(self, steps: Sequence[Step], passed: Passed | None) -> Passed | None:
        for step in steps:
            passed = self._step(step, passed)
        return passed

    def _step(self, step: Step, passed: Passed | None) -> Passed | None:
        self.before[step.id] = passed
        match step:
            case BranchStep():
                return self._branch(step, passed)
            case ActionStep():
                return self._action(step, passed)
            case StopStep():
                return None
            case WaitForStep() if passed is not None:
                return {**passed, step.id: frozenset(outcomes_of(step))}
        return passed

    def _action(self, step: ActionStep, passed: Passed | None) -> Passed | None:
        asked, always = self._asked(step, 0), None
        if asked is not None:
            found = folded(asked)
            always = found.value if found is not None else None
        run = None if passed is None or always is False else narrowed(passed, asked, holds=True)
        skipped = None if passed is None or asked is None or always is True else narrowed(passed, asked, holds=False)
        # A condition that fails counts as a failure of the step: nothing is narrowed there.
        failed = None if passed is None or run is None else {**passed, step.id: frozenset({FAILED})}
        rescued = self._block(step.error_steps, failed) if step.error_steps else failed if step.on_error == "skip" else None
        return joined([None if run is None else {**run, step.id: frozenset({SUCCEEDED})}, skipped, rescued])

    def _branch(self, step: BranchStep, passed: Passed | None) -> Passed | None:
        ends: list[Passed | None] = []
        for number, case in enumerate(step.cases):
            asked = self._asked(step, number)
            found = folded(asked) if asked is not None else None
            always = found.value if found is not None else None
            taken = None if passed is None or always is False else narrowed(passed, asked, holds=True)
            ends.append(self._block(case.steps, taken))
            passed = None if passed is None or always is True else narrowed(passed, asked, holds=False)
        return joined([*ends, self._block(step.otherwise, passed)])
