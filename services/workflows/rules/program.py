"""A definition's steps as a flat program: what a run's cursor points into.

A definition without branches is its own program, step by step, so the cursor of a run that started before there were
branches means what it always meant.
"""

from __future__ import annotations

from dataclasses import dataclass

from services.workflows.rules.definition import ActionStep, BranchStep, Step, StopStep, WaitStep


@dataclass(frozen=True)
class Jump:
    """Go on elsewhere: the end of a case."""

    target: int


@dataclass(frozen=True)
class Choice:
    """Where each case of a branch begins; the last one is for when none holds."""

    step: BranchStep
    targets: tuple[int, ...]


Instruction = ActionStep | WaitStep | StopStep | Choice | Jump


def program_of(steps: list[Step], start: int = 0) -> tuple[Instruction, ...]:
    """The instructions of these steps, placed from ``start`` on."""
    program: list[Instruction] = []
    for step in steps:
        if isinstance(step, BranchStep):
            program += _branch(step, start + len(program))
        else:
            program.append(step)
    return tuple(program)


def _branch(step: BranchStep, at: int) -> list[Instruction]:
    ways = [*(case.steps for case in step.cases), step.otherwise]
    targets: list[int] = []
    bodies: list[tuple[Instruction, ...]] = []
    here = at + 1
    for way in ways:
        targets.append(here)
        bodies.append(program_of(way, here))
        here += len(bodies[-1]) + 1  # the jump behind each way
    jumps = [Jump(here)] * len(bodies)
    return [Choice(step, tuple(targets)), *(one for body, jump in zip(bodies, jumps, strict=True) for one in (*body, jump))]
