"""A workflow over events of the past: every run they would have started, under a virtual clock, actions assumed to succeed.

Waits are answered by what really came later; times that hang on appointments follow their real moves. Timers ring when due.
"""

from __future__ import annotations

import heapq
import itertools
from collections import defaultdict, deque
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from libs.contracts.scheduling import AppointmentBooked
from services.workflows.rules.definitions.compiling import CompiledDefinition
from services.workflows.rules.definitions.definition import EventTrigger
from services.workflows.rules.definitions.steps import WaitForStep, walk
from services.workflows.rules.definitions.triggers import seen_as
from services.workflows.rules.expressions.interface import NOTHING, Evaluated, Expressions
from services.workflows.rules.runs.considering import takes
from services.workflows.rules.runs.states import (
    Effect,
    Finished,
    Input,
    OpenWait,
    Perform,
    SetTimer,
    Started,
    StepEnded,
    StepResult,
    TimerFired,
)
from services.workflows.rules.simulation.admitting import Admitting
from services.workflows.rules.simulation.answering import results_read
from services.workflows.rules.simulation.comparing import Asked, Comparing, Story
from services.workflows.rules.simulation.given import Given
from services.workflows.rules.simulation.occurred import Occurred
from services.workflows.rules.simulation.running import EXIT, NO_RESULTS, Results, Running
from services.workflows.rules.simulation.tally import Tally

MAX_RUNNING = 20_000
MAX_REMEMBERED = 20_000
MAX_STARTED = 500_000


class Replayed:
    """One workflow being replayed. Memory is bounded: runs under way, events that waits may look back to, names of bookings."""

    def __init__(self, side: str, workflow_id: UUID, compiled: CompiledDefinition, given: Given, told: Comparing, text: str) -> None:
        """``text`` is where a name stands if any expression looks at it: of all that share an event's values."""
        self.tally = Tally()
        self._fields = {name: kind for name, kind in compiled.fields.items() if name.rpartition(".")[2] in text}
        self._side, self._workflow_id, self._compiled, self._told = side, workflow_id, compiled, told
        self.reads = results_read(compiled.definition)
        self._given = given
        self._admitting = Admitting(compiled, given)
        self._timers: list[tuple[datetime, int, Running, SetTimer]] = []
        self._order = itertools.count()
        self._about: dict[UUID, dict[Running, None]] = defaultdict(dict)
        self._stories: dict[Running, tuple[object, Story]] = {}
        self._bookings: dict[UUID, datetime] = dict(given.booked)
        self._look_back = longest_look_back(compiled)
        self._before: dict[UUID, deque[Occurred]] = defaultdict(deque)
        self._remembered: deque[Occurred] = deque()

    def until(self, now: datetime, *, most: int = 0) -> bool:
        """Ring every timer that is due by now, ``most`` at once (0: all). False while more are due."""
        rung = 0
        while self._timers and self._timers[0][0] <= now:
            if most and rung >= most:
                return False
            due, _, run, timer = heapq.heappop(self._timers)
            if run.timer is timer:
                rung += 1
                run.timer = None
                self._move(run, TimerFired(timer.step_id), due)
        return True

    def hear(self, occurred: Occurred, bound: dict[Expressions, Any], *, starts: bool = True, results: Results = NO_RESULTS) -> None:
        """What follows from an event: runs it starts, then news for those under way, then what it is to those that wait for it.

        ``bound`` keeps the event's values for whoever looks at it next; ``starts`` is False for what only prepares looking back;
        ``results`` are those of the run the event really started.
        """
        if self._look_back and any(occurred.subjects):
            self._remember(occurred)
        if starts:
            self._consider(occurred, bound, results)
        for run in self._concerned(occurred) if self._stories else ():
            self._tell(run, occurred)

    def _tell(self, run: Running, occurred: Occurred) -> None:
        """What moved a run with its appointment is not what it then waits for."""
        state, patient_id = run.state, run.patient_id
        effects = run.hears(occurred, occurred.at)
        if run.patient_id != patient_id and run.patient_id is not None:
            self._about[run.patient_id][run] = None
            self._admitting.active[run.patient_id] += 1
        self._perform(run, effects, occurred.at)
        following = run.answer(occurred) if run.state == state else None
        if following is not None:
            self._move(run, following, occurred.at)
        while run.wrong:
            step, error = run.wrong.pop()
            self.tally.warn(f"condition_error:{error}", step, occurred.id)

    def end(self) -> None:
        """No more events: what still runs is counted as running."""
        for run in self._stories:
            self.tally.outcomes["running"] += 1
            if run.timer is None:
                self.tally.warn("never_ends", None, run.event_id)
        self._stories.clear()

    def _concerned(self, occurred: Occurred) -> list[Running]:
        runs: dict[Running, None] = {}
        for subject in occurred.subjects:
            if subject is not None and subject in self._about:
                runs |= self._about[subject]
        return list(runs)

    def _consider(self, occurred: Occurred, bound: dict[Expressions, Any], results: Results) -> None:
        name = takes(self._compiled.definition.trigger, occurred.event, self._workflow_id)
        if name is None:
            return
        self.tally.verdicts[self._verdict(occurred, name, bound, results)] += 1

    def _verdict(self, occurred: Occurred, name: str, bound: dict[Expressions, Any], results: Results) -> str:
        compiled, trigger = self._compiled, self._compiled.definition.trigger
        if occurred.bulk and not (isinstance(trigger, EventTrigger) and trigger.bulk):
            return "bulk"
        seen = seen_as(name, occurred.event, occurred.known.patient)
        data = occurred.data if seen is occurred.event else seen.model_dump()
        run = Running(compiled, occurred.id, data, occurred.known, fields=self._fields, results=results, now=occurred.at)
        if compiled.expressions not in bound:
            bound[compiled.expressions] = run.bind({})
        values = bound[compiled.expressions]
        if compiled.condition is not None and not compiled.anchored:
            verdict: Evaluated = compiled.condition.evaluate(values).verdict
            if verdict.error is not None:
                return self._failed(f"condition_error:{verdict.error}", run, seen, occurred.at)
            if not verdict.is_true:
                return "filtered"
        key, error = self._admitting.key(run.patient_id, values)
        if error is not None:
            return self._failed(error, run, seen, occurred.at)
        if (begun := self._begun(seen)) is not None:
            self._admitting.owns(run, key, begun)
            return "started_already"
        refusal = self._admitting.refusal(run.patient_id, key, self._waits_already(run, occurred.at), occurred.at)
        return refusal or self._start(run, seen, key, occurred.at)

    def _failed(self, code: str, run: Running, seen: object, now: datetime) -> str:
        """A run that fails before it begins."""
        if self._begun(seen) is not None:
            return "started_already"
        self._begins(seen, now)
        self.tally.warn(code, None, run.event_id)
        self.tally.outcomes["failed"] += 1
        return code

    def _begun(self, seen: object) -> datetime | None:
        """Since when the booking has its run: one, whichever of its events started it."""
        return self._bookings.get(seen.appointment_id) if isinstance(seen, AppointmentBooked) else None

    def _begins(self, seen: object, now: datetime) -> None:
        if isinstance(seen, AppointmentBooked) and len(self._bookings) < MAX_STARTED:
            self._bookings[seen.appointment_id] = now

    def _waits_already(self, run: Running, now: datetime) -> bool:
        if not self._compiled.anchored or run.appointment_id is None:
            return False
        if self._given.is_waiting(run.appointment_id, now):
            return True
        others = self._about.get(run.appointment_id, {})
        return any(other.appointment_id == run.appointment_id and other.state.cursor == 0 for other in others)

    def _start(self, run: Running, seen: object, key: str | None, now: datetime) -> str:
        if len(self._stories) >= MAX_RUNNING:
            self.tally.warn("too_many_running", None, run.event_id)
            return "not_followed"
        self._begins(seen, now)
        name: object = ("booked", seen.appointment_id) if isinstance(seen, AppointmentBooked) else run.event_id
        self._stories[run] = name, self._told.begin(self._side, name, run.event_id, run.patient_id)
        for subject in filter(None, (run.patient_id, run.appointment_id)):
            self._about[subject][run] = None
        self._admitting.enter(run, key, now)
        self._move(run, Started(), now)
        return "started"

    def _move(self, run: Running, event: Input, now: datetime) -> None:
        if run.active:
            self._perform(run, run.move(event, now), now)

    def _perform(self, run: Running, effects: list[Effect], now: datetime) -> None:
        """And what follows at once: actions succeed, a wait may count what came just before."""
        while effects:
            for effect in effects:
                self._note(run, effect, now)
            following = self._follows(run, effects[-1], now)
            effects = run.move(following, now) if following is not None and run.active else []

    def _follows(self, run: Running, last: Effect, now: datetime) -> Input | None:
        if isinstance(last, Perform):
            return self._answer(run, last)
        if isinstance(last, OpenWait) and last.since < now:
            subject = run.appointment_id if last.about == "appointment" else run.patient_id
            return run.looked_back(last, self._before.get(subject, ())) if subject else None
        return None

    def _answer(self, run: Running, asked: Perform) -> StepResult:
        """It succeeds, with what it really came to, or something made up; that somebody looks at the latter is to be known."""
        result = run.results.get((asked.step_id, asked.action))
        if result is None:
            result = self._given.results.get(asked.action, NOTHING)
            if asked.step_id in self.reads:
                self.tally.warn("result_made_up", asked.step_id, run.event_id)
        return StepResult(asked.step_id, "succeeded", attempt=asked.attempt, result=result)

    def _note(self, run: Running, effect: Effect, now: datetime) -> None:
        match effect:
            case Perform(step_id, action):
                self.tally.actions[step_id, action] += 1
                self._stories[run][1].asked.append(Asked.of(effect, now))
            case SetTimer() if effect is run.timer:
                heapq.heappush(self._timers, (effect.due_at, next(self._order), run, effect))
            case StepEnded(step_id, "skipped", str(code)):
                self.tally.warn(code, step_id, run.event_id)
            case Finished(status, code):
                self._finished(run, str(status), code)

    def _finished(self, run: Running, status: str, code: str | None) -> None:
        self.tally.outcomes["exited" if code == EXIT else status] += 1
        if status == "failed":
            here = self._compiled.program[run.state.cursor : run.state.cursor + 1]
            self.tally.warn(code or status, getattr(here[0], "id", None) if here else None, run.event_id)
        key, story = self._stories.pop(run)
        story.over = True
        self._admitting.leave(run)
        for subject in filter(None, (run.patient_id, run.appointment_id)):
            self._about[subject].pop(run, None)
            if not self._about[subject]:
                del self._about[subject]
        self._told.ended.append(key)

    def _remember(self, occurred: Occurred) -> None:
        """For waits that look back: what is older than the longest of them is forgotten."""
        self._remembered.append(occurred)
        for subject in filter(None, occurred.subjects):
            self._before[subject].append(occurred)
        if len(self._remembered) > MAX_REMEMBERED:
            self.tally.warn("look_back_shortened", None, self._remembered[0].id)
        while len(self._remembered) > MAX_REMEMBERED or occurred.at - self._remembered[0].at > self._look_back:
            for subject in filter(None, self._remembered.popleft().subjects):
                self._before[subject].popleft()
                if not self._before[subject]:
                    del self._before[subject]


def longest_look_back(compiled: CompiledDefinition) -> timedelta:
    """How long before an event others still count."""
    steps = (step for step, _, _ in walk(compiled.definition.steps))
    return max((step.look_back for step in steps if isinstance(step, WaitForStep)), default=timedelta())
