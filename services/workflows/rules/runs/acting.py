"""Actions of a run: asking for one, and what its answer means. Failures that may pass are tried again, others follow the step's policy."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta

from services.workflows.rules.definitions.compiling import CompiledDefinition
from services.workflows.rules.definitions.program import Rescue
from services.workflows.rules.definitions.steps import ActionStep, Retry
from services.workflows.rules.expressions.interface import Evaluated
from services.workflows.rules.expressions.templates import rendered
from services.workflows.rules.runs.ending import end, passed
from services.workflows.rules.runs.states import (
    MAX_ATTEMPTS,
    Effect,
    Moved,
    Perform,
    SetTimer,
    Skipped,
    State,
    Status,
    StepEnded,
    StepResult,
    Surroundings,
)

JITTER = 0.2


def act(compiled: CompiledDefinition, step: ActionStep, state: State, around: Surroundings) -> Moved:
    """Ask for the action, unless its condition is false."""
    bound = around.bind(state.outputs)
    when = compiled.conditions.get(step.id)
    verdict = Evaluated(value=True) if when is None else when.evaluate(bound).verdict
    if verdict.error is not None:
        return _failed(compiled, step, state, f"condition_error:{verdict.error}", [StepEnded(step.id, "failed", "condition_error")])
    if not verdict.is_true:
        return passed(state, state.cursor + 1), [Skipped(step.id)]
    parameters = rendered(compiled.templates[step.id], bound)
    if isinstance(parameters, Evaluated):
        return _failed(compiled, step, state, f"template_error:{parameters.error}", [StepEnded(step.id, "failed", "template_error")])
    return replace(state, waiting=True), [Perform(step.id, step.action, parameters, state.attempt)]


def on_result(compiled: CompiledDefinition, step: ActionStep, state: State, result: StepResult, now: datetime) -> Moved:
    """What follows from the owner's answer."""
    ended: list[Effect] = [StepEnded(step.id, result.outcome, result.error_code, output=result.result)]
    if result.outcome == "unknown":
        return state, ended  # nobody knows yet whether it happened; the owner will say
    if result.outcome == "succeeded":
        return passed(state, state.cursor + 1, step.id, {"outcome": "succeeded", "result": dict(result.result)}), ended
    tried = state.attempt - state.retried  # by hand it begins anew
    if result.retryable and step.retry is not None and tried + 1 < step.retry.attempts and state.attempt < MAX_ATTEMPTS:
        due = now + pause_before(step.retry, tried)
        later: State = replace(state, attempt=state.attempt + 1, retrying=True, due=due)
        return later, [StepEnded(step.id, "retrying", result.error_code), SetTimer(step.id, due, "action", JITTER)]
    return _failed(compiled, step, state, result.error_code or "action_failed", ended)


def _failed(compiled: CompiledDefinition, step: ActionStep, state: State, code: str, ended: list[Effect]) -> Moved:
    """It stays failed: the step's policy says whether the run does."""
    failure = {"outcome": "failed", "error_code": code}
    if step.on_error == "skip":
        return passed(state, state.cursor + 1, step.id, failure), ended
    if step.on_error == "branch":
        rescue = compiled.program[state.cursor + 1]
        assert isinstance(rescue, Rescue)
        return passed(state, rescue.first, step.id, failure), ended
    return end(state, Status.FAILED, code, ended)


def pause_before(retry: Retry, attempt: int) -> timedelta:
    """Before attempt ``attempt + 1``: the first pause, growing, up to the limit."""
    return min(timedelta(seconds=retry.first.total_seconds() * retry.factor**attempt), retry.limit)


def failed_condition(state: State, step_id: str, kind: str, verdict: Evaluated) -> Moved:
    ended = StepEnded(step_id, "failed", "condition_error", kind=kind)
    return end(state, Status.FAILED, f"condition_error:{verdict.error}", [ended])
