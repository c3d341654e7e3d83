"""The whole path of one run under a virtual clock: each step with its reasons, effects listed and not performed.

What owners answer and what else happens is made up beforehand. Bounded in passages and in time.
"""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from services.workflows.rules.conditions.explaining import SubValue, explain
from services.workflows.rules.definitions.compiling import CompiledDefinition
from services.workflows.rules.definitions.definition import EventTrigger
from services.workflows.rules.expressions.interface import Evaluated
from services.workflows.rules.runs.states import (
    Effect,
    Input,
    OpenWait,
    Perform,
    SetTimer,
    Started,
    StepResult,
    TimerFired,
)
from services.workflows.rules.simulation.admitting import Admitting
from services.workflows.rules.simulation.occurred import Occurred
from services.workflows.rules.simulation.passages import Passage, Telling
from services.workflows.rules.simulation.running import Running

MAX_PASSAGES = 500
LONGEST = timedelta(days=800)
_ANSWER, _EVENT, _TIMER = range(3)


@dataclass(frozen=True)
class Answer:
    """What the owner of an action says, ``after`` it was asked."""

    outcome: str = "succeeded"
    error_code: str | None = None
    retryable: bool = False
    result: Mapping[str, Any] = field(default_factory=dict)
    after: timedelta = timedelta()


@dataclass(frozen=True)
class Script:
    """What is made up: answers per step, one for each time it is asked (the last one again and again), and events, in any order.

    An action nobody wrote an answer for succeeds at once. An ``unknown`` is followed by the next answer, if there is one.
    Events from before the start are there for waits that look back.
    """

    answers: Mapping[str, Sequence[Answer]] = field(default_factory=dict)
    events: Sequence[Occurred] = ()


@dataclass(frozen=True)
class Rehearsed:
    """``verdict``: ``started``, ``filtered``, ``bulk``, or the error that made a failed run. ``waits_until``: what an unfinished run waits for.

    ``cut``: why the path was not followed to its end: ``too_many_steps`` or ``too_long``.
    """

    verdict: str
    reasons: tuple[SubValue, ...]
    path: tuple[Passage, ...] = ()
    status: str | None = None
    error_code: str | None = None
    ended_at: datetime | None = None
    waits_until: datetime | None = None
    cut: str | None = None


def rehearse(compiled: CompiledDefinition, trigger: Occurred, script: Script) -> Rehearsed:
    """One run from its event on. Who went through before is not asked; the event counts as the engine would have it count."""
    run = Running(compiled, trigger.id, trigger.data, trigger.known, now=trigger.at)
    definition = compiled.definition
    why: tuple[SubValue, ...] = ()
    if trigger.bulk and not (isinstance(definition.trigger, EventTrigger) and definition.trigger.bulk):
        return Rehearsed("bulk", why)
    bound = run.bind({})
    if compiled.condition is not None and definition.condition is not None and not compiled.anchored:
        why = explain(definition.condition, compiled.expressions, bound)
        verdict: Evaluated = compiled.condition.evaluate(bound).verdict
        if verdict.error is not None:
            code = f"condition_error:{verdict.error}"
            return Rehearsed(code, why, status="failed", error_code=code, ended_at=trigger.at)
        if not verdict.is_true:
            return Rehearsed("filtered", why)
    _, error = Admitting(compiled).key(run.patient_id, bound)
    if error is not None:
        return Rehearsed(error, why, status="failed", error_code=error, ended_at=trigger.at)
    return _Rehearsal(run, trigger, script).through(why)


class _Rehearsal:
    def __init__(self, run: Running, trigger: Occurred, script: Script) -> None:
        self._run, self._script, self._began = run, script, trigger.at
        self._told = Telling(run)
        self._queue: list[tuple[datetime, int, int, Any]] = []
        self._asked: dict[str, int] = {}
        self._order = itertools.count()
        self._before = sorted((one for one in script.events if one.at < trigger.at), key=lambda one: one.at)
        for occurred in script.events:
            if occurred.at >= trigger.at:
                self._later(occurred.at, _EVENT, occurred)

    def through(self, why: tuple[SubValue, ...]) -> Rehearsed:
        now, cut = self._began, None
        self._move(Started(), now)
        while self._queue and self._run.active:
            at, kind, _, what = heapq.heappop(self._queue)
            if at - self._began > LONGEST or len(self._told.path) >= MAX_PASSAGES:
                cut = "too_long" if at - self._began > LONGEST else "too_many_steps"
                break
            if kind == _TIMER and what is not self._run.timer:
                continue  # it moved, or the wait is over
            now = at
            self._happen(kind, what, now)
        state, timer = self._run.state, self._run.timer
        return Rehearsed(
            "started", why, tuple(self._told.path), str(state.status), state.error_code, None if self._run.active else now,
            timer.due_at if timer is not None else None, cut,
        )  # fmt: skip

    def _later(self, at: datetime, kind: int, what: object) -> None:
        heapq.heappush(self._queue, (at, kind, next(self._order), what))

    def _happen(self, kind: int, what: Any, now: datetime) -> None:
        if kind == _TIMER:
            self._run.timer = None
            self._move(TimerFired(what.step_id), now)
        elif kind == _ANSWER:
            if what.outcome == "unknown":
                self._answer(what.step_id, what.attempt, now)
            self._move(what, now)
        else:
            self._event(what, now)

    def _event(self, occurred: Occurred, now: datetime) -> None:
        """News change what is known; a time that hangs on the appointment follows; what moved the run so is not what it then waits for."""
        self._before.append(occurred)
        self._told.event(occurred, now)
        state = self._run.state
        self._perform(self._run.hears(occurred, now), now)
        following = self._run.answer(occurred) if self._run.state == state else None
        if following is not None:
            self._move(following, now)

    def _move(self, event: Input, now: datetime) -> None:
        self._perform(self._run.move(event, now), now)

    def _perform(self, effects: list[Effect], now: datetime) -> None:
        self._told.effects(effects, now)
        for effect in effects:
            self._queued(effect, now)
        wait = effects[-1] if effects else None
        if isinstance(wait, OpenWait) and self._run.active and wait.since < now:
            found = self._run.looked_back(wait, self._before)
            if found is not None:
                self._move(found, now)

    def _queued(self, effect: Effect, now: datetime) -> None:
        if isinstance(effect, Perform):
            self._answer(effect.step_id, effect.attempt, now)
        elif isinstance(effect, SetTimer) and effect is self._run.timer:
            self._later(effect.due_at, _TIMER, effect)

    def _answer(self, step_id: str, attempt: int, now: datetime) -> None:
        written = self._script.answers.get(step_id) or [Answer()]
        place = self._asked.get(step_id, 0)
        self._asked[step_id] = place + 1
        if place >= len(written) and written[-1].outcome == "unknown":
            return  # nobody will ever know
        answer = written[min(place, len(written) - 1)]
        result = StepResult(step_id, answer.outcome, answer.error_code, attempt, answer.retryable, answer.result)
        self._later(now + answer.after, _ANSWER, result)
