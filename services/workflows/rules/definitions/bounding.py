"""What keeps a workflow that starts itself from going round at once: a condition, an enrolment, a wait of a day. Pure.

A condition that is always true keeps nobody from anything. Guards at run time by depth and rate stop what is left.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import timedelta

from services.workflows.rules.conditions.forms import always_comes_to
from services.workflows.rules.conditions.written import Condition
from services.workflows.rules.definitions.definition import AnchoredTrigger, Definition
from services.workflows.rules.definitions.steps import ActionStep, BranchStep, Step, StopStep, WaitStep, WaitUntilStep
from services.workflows.rules.definitions.triggers import event_of
from services.workflows.rules.expressions.context import shapes_for
from services.workflows.rules.expressions.shapes import Shapes

LONG = timedelta(days=1)
"""A circle that takes so long is slow enough to be seen."""


def bounded_steps(definition: Definition) -> frozenset[str]:
    """The ids of the actions that something stands before."""
    shapes = shapes_for(event_of(definition.trigger))
    trigger, enrolment = definition.trigger, definition.enrolment
    slept = max(timedelta(), trigger.anchor.offset) if isinstance(trigger, AnchoredTrigger) else timedelta()
    asked = asks(definition.condition, shapes) or (enrolment is not None and enrolment.policy != "every")
    return frozenset(_Way(shapes, asked=asked, slept=slept).block(definition.steps))


def asks(condition: Condition | None, shapes: Shapes) -> bool:
    """Whether a condition can be true and false."""
    return condition is not None and always_comes_to(condition, shapes) is None


class _Way:
    """What stood before on the way to where we are: whether anything was asked, and how long was waited at least."""

    def __init__(self, shapes: Shapes, *, asked: bool, slept: timedelta) -> None:
        self._shapes = shapes
        self._asked = asked
        self._slept = slept

    def block(self, steps: Sequence[Step]) -> Iterator[str]:
        for step in steps:
            match step:
                case WaitStep():
                    self._slept += step.duration
                case WaitUntilStep() if step.anchor is not None:
                    self._slept = max(self._slept, step.anchor.offset)
                case ActionStep():
                    yield from self._action(step)
                case BranchStep():
                    yield from self._branch(step)

    def _action(self, step: ActionStep) -> Iterator[str]:
        asked = self._asked or asks(step.when, self._shapes)
        if asked or self._slept >= LONG:
            yield step.id
        yield from _Way(self._shapes, asked=asked, slept=self._slept).block(step.error_steps or ())

    def _branch(self, step: BranchStep) -> Iterator[str]:
        asked = self._asked
        for case in step.cases:
            asked = asked or asks(case.when, self._shapes)
            yield from _Way(self._shapes, asked=asked, slept=self._slept).block(case.steps)
        yield from _Way(self._shapes, asked=asked, slept=self._slept).block(step.otherwise)
        if any(isinstance(last, StopStep) for way in (*(case.steps for case in step.cases), step.otherwise) for last in way[-1:]):
            self._asked = asked  # who comes by here was asked
