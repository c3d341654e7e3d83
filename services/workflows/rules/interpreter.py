"""The pure interpreter: what a run does next. No clock, no database, no queue.

``advance(compiled, state, input, now)`` gives the next state and the effects to perform. Inputs may come twice, late or
in another order: one that does not fit the state changes nothing. Terminal states absorb everything. Two engines may
drive it; both must perform the effects in the transaction that stores the state.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum
from typing import Any

from services.workflows.rules.compiling import CompiledDefinition
from services.workflows.rules.definition import ActionStep, StopStep, WaitStep
from services.workflows.rules.expressions import Evaluated
from services.workflows.rules.program import Choice, Jump
from services.workflows.rules.templates import rendered


class Status(StrEnum):
    RUNNING = "running"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def terminal(self) -> bool:
        return self is not Status.RUNNING


@dataclass(frozen=True)
class State:
    """Where a run stands: at step ``cursor``, asked for (an action's result, a timer) or not yet begun."""

    status: Status = Status.RUNNING
    cursor: int = 0
    waiting: bool = False
    error_code: str | None = None


@dataclass(frozen=True)
class Started:
    """The run begins."""


@dataclass(frozen=True)
class StepResult:
    """An action came to an end: ``succeeded``, ``failed``, or ``unknown`` (not an end yet)."""

    step_id: str
    outcome: str
    error_code: str | None = None


@dataclass(frozen=True)
class TimerFired:
    step_id: str


@dataclass(frozen=True)
class Cancelled:
    """Somebody stopped the run."""


Input = Started | StepResult | TimerFired | Cancelled


@dataclass(frozen=True)
class Perform:
    """Ask for an action, once."""

    step_id: str
    action: str
    parameters: dict[str, Any]


@dataclass(frozen=True)
class SetTimer:
    """Come back at ``due_at`` (aware UTC)."""

    step_id: str
    due_at: datetime


@dataclass(frozen=True)
class Skipped:
    """A step whose condition was false."""

    step_id: str


@dataclass(frozen=True)
class Branched:
    """Which way a branch took: the number of the case, None for ``otherwise``."""

    step_id: str
    case: int | None


@dataclass(frozen=True)
class Stopped:
    """A stop was reached."""

    step_id: str


@dataclass(frozen=True)
class StepEnded:
    """A step asked for earlier ended."""

    step_id: str
    outcome: str
    error_code: str | None = None


@dataclass(frozen=True)
class Finished:
    """The run ended."""

    status: Status
    error_code: str | None = None


Effect = Perform | SetTimer | Skipped | Branched | Stopped | StepEnded | Finished


def advance(compiled: CompiledDefinition, state: State, event: Input, bound: Any, now: datetime) -> tuple[State, list[Effect]]:
    """The next state and what to do. ``bound`` holds the values expressions see, bound by the definition's engine."""
    if state.status.terminal:
        return state, _late(compiled, state, event)
    match event:
        case Cancelled():
            return _end(state, Status.CANCELLED, None, [])
        case Started():
            return (state, []) if state.waiting or state.cursor else _go_on(compiled, state, bound, now, [])
        case StepResult(step_id):
            return _result(compiled, state, event, bound, now) if _awaits(compiled, state, step_id, ActionStep) else (state, [])
        case TimerFired(step_id):
            if not _awaits(compiled, state, step_id, WaitStep):
                return state, []
            ended: list[Effect] = [StepEnded(step_id, "succeeded")]
            return _go_on(compiled, replace(state, cursor=state.cursor + 1, waiting=False), bound, now, ended)


def _late(compiled: CompiledDefinition, state: State, event: Input) -> list[Effect]:
    """A cancelled run takes back nothing: what became of the action it had asked for is still recorded."""
    program = compiled.program
    if state.status is Status.CANCELLED and isinstance(event, StepResult) and state.cursor < len(program):
        step = program[state.cursor]
        if state.waiting and isinstance(step, ActionStep) and step.id == event.step_id:
            return [StepEnded(event.step_id, event.outcome, event.error_code)]
    return []


def _awaits(compiled: CompiledDefinition, state: State, step_id: str, kind: type[ActionStep | WaitStep]) -> bool:
    step = compiled.program[state.cursor]
    return state.waiting and isinstance(step, kind) and step.id == step_id


def _result(compiled: CompiledDefinition, state: State, event: StepResult, bound: Any, now: datetime) -> tuple[State, list[Effect]]:
    ended: list[Effect] = [StepEnded(event.step_id, event.outcome, event.error_code)]
    if event.outcome == "unknown":
        return state, ended  # nobody knows yet whether it happened; the owner will say
    if event.outcome == "failed":
        return _end(state, Status.FAILED, event.error_code or "action_failed", ended)
    return _go_on(compiled, replace(state, cursor=state.cursor + 1, waiting=False), bound, now, ended)


def _go_on(compiled: CompiledDefinition, state: State, bound: Any, now: datetime, effects: list[Effect]) -> tuple[State, list[Effect]]:
    """Instructions from the cursor on, until one has to be waited for or none is left. Targets only lead forward."""
    cursor = state.cursor
    while cursor < len(compiled.program):
        instruction = compiled.program[cursor]
        here = replace(state, cursor=cursor, waiting=True)
        match instruction:
            case WaitStep():
                return here, [*effects, SetTimer(instruction.id, now + instruction.duration)]
            case StopStep():
                return _end(replace(here, waiting=False), Status.COMPLETED, None, [*effects, Stopped(instruction.id)])
            case Jump(target):
                cursor = target
            case Choice():
                taken = _choose(compiled, instruction, bound)
                if isinstance(taken, Evaluated):
                    return _condition_failed(here, instruction.step.id, taken, effects)
                cursor = instruction.targets[-1 if taken is None else taken]
                effects = [*effects, Branched(instruction.step.id, taken)]
            case ActionStep():
                begun = _act(compiled, here, instruction, bound, effects)
                if begun is not None:
                    return begun
                cursor, effects = cursor + 1, [*effects, Skipped(instruction.id)]
    return _end(replace(state, cursor=len(compiled.program), waiting=False), Status.COMPLETED, None, effects)


def _act(
    compiled: CompiledDefinition, here: State, step: ActionStep, bound: Any, effects: list[Effect]
) -> tuple[State, list[Effect]] | None:
    """Ask for the action; None when its condition is false."""
    verdict = _condition(compiled, step, bound)
    if verdict.error is not None:
        return _condition_failed(here, step.id, verdict, effects)
    if not verdict.is_true:
        return None
    parameters = rendered(compiled.templates[step.id], bound)
    if isinstance(parameters, Evaluated):
        ended = StepEnded(step.id, "failed", "template_error")
        return _end(here, Status.FAILED, f"template_error:{parameters.error}", [*effects, ended])
    return here, [*effects, Perform(step.id, step.action, parameters)]


def _condition_failed(here: State, step_id: str, verdict: Evaluated, effects: list[Effect]) -> tuple[State, list[Effect]]:
    ended = StepEnded(step_id, "failed", "condition_error")
    return _end(here, Status.FAILED, f"condition_error:{verdict.error}", [*effects, ended])


def _choose(compiled: CompiledDefinition, choice: Choice, bound: Any) -> int | Evaluated | None:
    """The first case that holds, None when none does; a case that fails to evaluate is not the same as false."""
    for number, when in enumerate(compiled.cases[choice.step.id]):
        verdict = when.evaluate(bound).verdict
        if verdict.error is not None:
            return verdict
        if verdict.is_true:
            return number
    return None


def _condition(compiled: CompiledDefinition, step: ActionStep, bound: Any) -> Evaluated:
    when = compiled.conditions.get(step.id)
    if when is None:
        return Evaluated(value=True)
    return when.evaluate(bound).verdict


def _end(state: State, status: Status, error_code: str | None, effects: list[Effect]) -> tuple[State, list[Effect]]:
    waiting = state.waiting and status is Status.CANCELLED  # the answer to what it asked for may still come
    return replace(state, status=status, waiting=waiting, error_code=error_code), [*effects, Finished(status, error_code)]
