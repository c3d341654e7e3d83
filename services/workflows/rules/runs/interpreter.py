"""The pure interpreter: what a run does next. No clock, no database, no queue.

``advance(compiled, state, input, around, now)`` gives the next state and the effects to perform. Inputs may come twice,
late or in another order: one that does not fit the state changes nothing. Terminal states absorb everything, but a failed
run may be retried. Two engines may drive it; both must perform the effects in the transaction that stores the state.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

from services.workflows.rules.definitions.compiling import CompiledDefinition
from services.workflows.rules.definitions.program import Choice, Gate, Instruction, Jump, Rescue, Waiting
from services.workflows.rules.definitions.steps import ActionStep, StopStep, WaitForStep, WaitStep, WaitUntilStep
from services.workflows.rules.expressions.interface import Evaluated
from services.workflows.rules.runs.acting import act, failed_condition, on_result
from services.workflows.rules.runs.ending import end
from services.workflows.rules.runs.states import (
    MAX_ATTEMPTS,
    AppointmentChanged,
    Branched,
    Cancelled,
    Effect,
    EventArrived,
    Input,
    Moved,
    Paused,
    Resumed,
    Retried,
    Skipped,
    Started,
    State,
    Status,
    StepEnded,
    StepResult,
    Stopped,
    Surroundings,
    TimerFired,
)
from services.workflows.rules.runs.waiting import arrived, begin_wait, lies_ahead, rang, re_anchor

FILTERED = "@condition"


def advance(compiled: CompiledDefinition, state: State, event: Input, around: Surroundings, now: datetime) -> Moved:
    """The next state and what to do."""
    if state.status.terminal:
        return _late(compiled, state, event, around, now)
    match event:
        case Cancelled(reason):
            return end(state, Status.CANCELLED, reason, _left(compiled, state))
        case Paused():
            return (state if state.paused else replace(state, paused=True)), []
        case Resumed():
            return _resume(compiled, state, around, now)
        case Started():
            return (state, []) if state.waiting or state.cursor else _go_on(compiled, (state, []), around, now)
        case Retried():
            return state, []
    if not state.waiting or state.cursor >= len(compiled.program):
        return state, []
    moved = _move(compiled.program[state.cursor], compiled, state, event, around, now)
    return moved if moved[0].waiting or moved[0].status.terminal else _go_on(compiled, moved, around, now)


def _left(compiled: CompiledDefinition, state: State) -> list[Effect]:
    """What a cancelled run waited for does not come any more; an action that was asked for is not taken back."""
    here = compiled.program[state.cursor] if state.waiting and state.cursor < len(compiled.program) else None
    if isinstance(here, Waiting):
        return [StepEnded(here.id, "cancelled", kind=here.kind)]
    return [StepEnded(here.id, "cancelled")] if isinstance(here, ActionStep) and state.retrying else []


def _move(here: Instruction, compiled: CompiledDefinition, state: State, event: Input, around: Surroundings, now: datetime) -> Moved:
    """What an input does to the instruction that is waited at: it goes on waiting, ends, or ends the run."""
    match event:
        case StepResult() if isinstance(here, ActionStep) and here.id == event.step_id and _asked(state, event):
            return on_result(compiled, here, state, event, now)
        case TimerFired(step_id) if isinstance(here, ActionStep) and here.id == step_id and state.retrying:
            return replace(state, waiting=False, retrying=False, due=None), []
        case TimerFired(step_id) if isinstance(here, Waiting) and here.id == step_id:
            return rang(here, state, around, now)
        case EventArrived(step_id) if isinstance(here, WaitForStep) and here.id == step_id:
            return arrived(here, state, event, now)
        case AppointmentChanged() if isinstance(here, WaitUntilStep) and here.anchor is not None:
            return re_anchor(here, state, around, now)
    return state, []


def _asked(state: State, result: StepResult) -> bool:
    """An answer counts when it is to the request that is open: one to an earlier attempt comes too late."""
    return result.attempt == state.attempt and not state.retrying


def _resume(compiled: CompiledDefinition, state: State, around: Surroundings, now: datetime) -> Moved:
    if not state.paused:
        return state, []
    resumed: State = replace(state, paused=False)
    return (resumed, []) if state.waiting else _go_on(compiled, (resumed, []), around, now)


def _late(compiled: CompiledDefinition, state: State, event: Input, around: Surroundings, now: datetime) -> Moved:
    """A cancelled run takes back nothing: what became of the action it had asked for is still recorded. A failed one may be retried."""
    program = compiled.program
    if state.cursor >= len(program):
        return state, []
    here = program[state.cursor]
    if isinstance(event, Retried) and state.status is Status.FAILED and state.attempt < MAX_ATTEMPTS:
        return _go_on(compiled, (_again(program, state, event, around, now), []), around, now)
    asked = isinstance(event, StepResult) and isinstance(here, ActionStep) and here.id == event.step_id and _asked(state, event)
    if isinstance(event, StepResult) and asked and state.waiting and state.status is Status.CANCELLED:
        return state, [StepEnded(event.step_id, event.outcome, event.error_code)]
    return state, []


def _again(program: tuple[Instruction, ...], state: State, event: Retried, around: Surroundings, now: datetime) -> State:
    """A failed run that goes on where it failed: what comes at a time of the appointment with that time, if it has moved ahead since.

    So does what is held: by when it is resumed the time may be over, or the appointment.
    """
    place = _anchor_of(program, state.cursor)
    wait = program[place] if place is not None else None
    back = isinstance(wait, WaitUntilStep) and (event.held or lies_ahead(wait, around, now))
    cursor = place if place is not None and back else state.cursor
    attempt = state.attempt + 1
    return replace(
        state, status=Status.RUNNING, cursor=cursor, waiting=False, error_code=None, attempt=attempt, retried=attempt, paused=event.held
    )  # fmt: skip


def _anchor_of(program: tuple[Instruction, ...], cursor: int) -> int | None:
    """The wait for a time of the appointment right in front of an instruction, with nothing but the workflow's condition between."""
    place = cursor - 1
    while place > 0 and isinstance(program[place], Gate):
        place -= 1
    before = program[place] if place >= 0 else None
    elsewhere = any(isinstance(one, Rescue) and one.first <= place < one.behind <= cursor for one in program)  # steps for a failure
    return place if isinstance(before, WaitUntilStep) and before.anchor is not None and not elsewhere else None


def _go_on(compiled: CompiledDefinition, moved: Moved, around: Surroundings, now: datetime) -> Moved:
    """Instructions from the cursor on, until one has to be waited for or none is left. Targets only lead forward."""
    state, effects = moved
    if state.paused and state.held is None:
        state = replace(state, held=now)
    while not state.paused and not state.waiting and state.status is Status.RUNNING:
        if state.cursor >= len(compiled.program):
            return end(state, Status.COMPLETED, None, effects)
        state, more = _begin(compiled.program[state.cursor], compiled, state, around, now)
        effects = [*effects, *more]
    return state, effects


def _begin(here: Instruction, compiled: CompiledDefinition, state: State, around: Surroundings, now: datetime) -> Moved:
    """One instruction begins."""
    match here:
        case ActionStep():
            return act(compiled, here, state, around)
        case WaitStep() | WaitUntilStep() | WaitForStep():
            return begin_wait(here, state, around, now)
        case StopStep():
            return end(state, Status.COMPLETED, None, [Stopped(here.id)])
        case Jump(target) | Rescue(_, _, target):
            return replace(state, cursor=target, attempt=0, retried=0), []
        case Choice():
            return _choose(compiled, here, state, around)
        case Gate():
            return _ask(compiled, state, around)


def _choose(compiled: CompiledDefinition, choice: Choice, state: State, around: Surroundings) -> Moved:
    """The first case that holds; a case that fails to evaluate is not the same as false."""
    taken: int | None = None
    bound = around.bind(state.outputs)
    for number, when in enumerate(compiled.cases[choice.step.id]):
        verdict = when.evaluate(bound).verdict
        if verdict.error is not None:
            return failed_condition(state, choice.step.id, "branch", verdict)
        if verdict.is_true:
            taken = number
            break
    target = choice.targets[-1 if taken is None else taken]
    effect: list[Effect] = [Branched(choice.step.id, taken)]
    return replace(state, cursor=target, attempt=0, retried=0), effect


def _ask(compiled: CompiledDefinition, state: State, around: Surroundings) -> Moved:
    """The workflow's own condition, at the time it is about: false ends the run without a word to anybody."""
    verdict = Evaluated(value=True)
    if compiled.condition is not None:
        verdict = compiled.condition.evaluate(around.bind(state.outputs)).verdict
    if verdict.error is not None:
        return end(state, Status.FAILED, f"condition_error:{verdict.error}", [])
    if not verdict.is_true:
        return end(state, Status.COMPLETED, None, [Skipped(FILTERED)])
    return replace(state, cursor=state.cursor + 1), []  # attempts at what follows are counted on where it waits once more
