"""A definition's steps as a flat program: what a run's cursor points into.

A definition without branches is its own program, step by step, so the cursor of a run that started before there were
branches means what it always meant. Targets only lead forward: every program ends.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from services.workflows.rules.definitions.definition import AnchoredTrigger, Definition
from services.workflows.rules.definitions.steps import ActionStep, BranchStep, Step, StopStep, WaitForStep, WaitStep, WaitUntilStep, ways

ANCHOR = "@anchor"
"""The step id of the wait in front of an anchored workflow. Nobody can write it: ids begin with a letter."""


@dataclass(frozen=True)
class Jump:
    """Go on elsewhere: the end of a way."""

    target: int


@dataclass(frozen=True)
class Choice:
    """Where each case of a branch begins; the last one is for when none holds."""

    step: BranchStep
    targets: tuple[int, ...]


@dataclass(frozen=True)
class Gate:
    """The workflow's condition, asked here: an anchored workflow asks when its time has come."""


@dataclass(frozen=True)
class Rescue:
    """Behind an action with steps for its failure: passed by when it succeeded, ``first`` is where the steps begin."""

    step_id: str
    first: int
    behind: int


Waiting = WaitStep | WaitUntilStep | WaitForStep
Instruction = ActionStep | Waiting | StopStep | Choice | Jump | Gate | Rescue


def program_of(definition: Definition) -> tuple[Instruction, ...]:
    """The instructions of a definition."""
    trigger = definition.trigger
    if not isinstance(trigger, AnchoredTrigger):
        return _block(definition.steps, 0)
    wait = WaitUntilStep.model_construct(kind="wait_until", id=ANCHOR, anchor=trigger.anchor, past_due=trigger.past_due, local=None)
    return (wait, Gate(), *_block(definition.steps, 2))


def _block(steps: Sequence[Step], start: int) -> tuple[Instruction, ...]:
    """The instructions of these steps, placed from ``start`` on."""
    program: list[Instruction] = []
    for step in steps:
        at = start + len(program)
        if isinstance(step, BranchStep):
            program += _branch(step, at)
        elif isinstance(step, ActionStep) and step.error_steps:
            inner = _block(step.error_steps, at + 2)
            program += [step, Rescue(step.id, at + 2, at + 2 + len(inner)), *inner]
        else:
            program.append(step)
    return tuple(program)


def _branch(step: BranchStep, at: int) -> list[Instruction]:
    targets: list[int] = []
    bodies: list[tuple[Instruction, ...]] = []
    here = at + 1
    for way, _ in ways(step):
        targets.append(here)
        bodies.append(_block(way, here))
        here += len(bodies[-1]) + 1  # the jump behind each way
    jumps = [Jump(here)] * len(bodies)
    return [Choice(step, tuple(targets)), *(one for body, jump in zip(bodies, jumps, strict=True) for one in (*body, jump))]
