"""The interpreter by properties: any definition, any inputs, twice, late, out of order, the process lost between any two of them."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from services.workflows.commands.rows import memory_of, state_of
from services.workflows.rules.definitions.compiling import CompiledDefinition, compile_definition
from services.workflows.rules.definitions.definition import Definition
from services.workflows.rules.definitions.steps import ActionStep, WaitForStep
from services.workflows.rules.definitions.triggers import event_of
from services.workflows.rules.expressions.samples import full_sample
from services.workflows.rules.runs.interpreter import advance
from services.workflows.rules.runs.states import (
    AppointmentChanged,
    Branched,
    Cancelled,
    Effect,
    EventArrived,
    Finished,
    Input,
    OpenWait,
    Paused,
    Perform,
    Resumed,
    Retried,
    SetTimer,
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
from services.workflows.tests.drawing import definitions, path

NOW = datetime(2030, 1, 1, 7, tzinfo=UTC)
HOLDS: dict[str | None, bool] = {"true": True, "false": False, "patient.email != null": True}
HOURS = st.integers(0, 60).map(lambda hours: timedelta(hours=hours))
OUTCOMES = st.sampled_from(["succeeded", "succeeded", "failed", "failed", "retryable", "unknown"])
Step = tuple[Input, datetime, dict[str, Any]]


class Run:
    """One run under an engine reduced to what matters: one timer at most, one open request, open waits. Everything is written down."""

    def __init__(self, data: dict[str, Any]) -> None:
        self.data = data
        self.compiled = self.compile()
        self.state, self.now = State(), NOW
        self.appointment: dict[str, Any] = {
            "starts_at": NOW + timedelta(days=2),
            "ends_at": NOW + timedelta(days=2, minutes=30),
            "status": "booked",
        }
        self.history: list[Step] = []
        self.effects: list[Effect] = []
        self.timer: SetTimer | None = None
        self.asked: list[Perform] = []
        self.answered: set[tuple[str, int]] = set()
        self.waits: dict[str, OpenWait] = {}
        self.outcomes: dict[str, str] = {}

    def compile(self) -> CompiledDefinition:
        return compile_definition(Definition.model_validate(self.data))

    def around(self, appointment: dict[str, Any]) -> Surroundings:
        compiled = self.compiled
        sample = full_sample(event_of(compiled.definition.trigger), compiled.fields)
        practice = {"time_zone": "Europe/Berlin", "opening_hours": [{"day": "tuesday", "opens": "08:00", "closes": "12:00"}]}
        return Surroundings(lambda steps: compiled.expressions.bind({**sample, "steps": dict(steps)}), appointment, practice)

    def take(self, event: Input) -> None:
        """What an engine does in one transaction."""
        self.history.append((event, self.now, dict(self.appointment)))
        self.state, effects = advance(self.compiled, self.state, event, self.around(self.appointment), self.now)
        self.effects += effects
        for effect in effects:
            match effect:
                case SetTimer():
                    self.timer = effect
                case OpenWait(step_id):
                    self.waits[step_id] = effect
                case Perform():
                    self.asked.append(effect)
                case StepEnded(step_id, outcome, kind=kind):
                    self.timer = self.timer if kind == "action" else None
                    self.waits.pop(step_id, None)
                    self.outcomes |= {step_id: outcome} if kind == "action" else {}
                case Finished():
                    self.timer, self.waits = None, {}

    def replayed(self) -> tuple[State, list[Effect]]:
        """The same inputs again, as another process would take them."""
        self.compiled = self.compile()
        state, effects = State(), list[Effect]()
        for event, now, appointment in self.history:
            state, more = advance(self.compiled, state, event, self.around(appointment), now)
            effects += more
        return state, effects

    @property
    def open(self) -> list[Perform]:
        return [one for one in self.asked if (one.step_id, one.attempt) not in self.answered]


class Interpreter(RuleBasedStateMachine):
    @initialize(data=definitions(), held=st.sampled_from([False, False, False, True]))
    def begins(self, data: dict[str, Any], held: bool) -> None:
        self.run = Run(data)
        self.run.state = State(paused=held)
        if not held:
            self.run.take(Started())

    @precondition(lambda self: self.run.asked)
    @rule(outcome=OUTCOMES, data=st.data())
    def an_owner_answers(self, outcome: str, data: st.DataObject) -> None:
        """Any request there ever was: the open one, or once more one of long ago."""
        asked = data.draw(st.sampled_from(self.run.asked[-3:]))
        answer = StepResult(asked.step_id, "failed" if outcome == "retryable" else outcome, "x", asked.attempt, outcome == "retryable")
        before, known = self.run.state, (asked.step_id, asked.attempt) in self.run.answered
        if outcome != "unknown":
            self.run.answered.add((asked.step_id, asked.attempt))
        self.run.take(answer)
        assert self.run.state == before or not known

    @precondition(lambda self: self.run.timer is not None and not self.run.state.paused)
    @rule(late=HOURS)
    def a_timer_rings(self, late: timedelta) -> None:
        timer, self.run.timer = self.run.timer, None
        assert timer is not None
        self.run.now = max(self.run.now, timer.due_at) + late
        self.run.take(TimerFired(timer.step_id))

    @precondition(lambda self: self.run.waits)
    @rule(number=st.integers(0, 1))
    def an_event_comes(self, number: int) -> None:
        step_id, due, came = next(iter(self.run.waits)), self.run.state.due, self.run.now
        self.run.take(EventArrived(step_id, number, {"patient_id": "p"}, "e"))
        assert due is not None
        assert self.run.state.outputs[step_id]["outcome"] == ("timed_out" if came > due else "event")

    @rule(hours=HOURS)
    def time_passes_and_nobody_is_there(self, hours: timedelta) -> None:
        self.run.now += hours

    @rule(ahead=st.integers(-10, 100))
    def the_appointment_moves(self, ahead: int) -> None:
        starts = self.run.now + timedelta(hours=ahead)
        self.run.appointment |= {"starts_at": starts, "ends_at": starts + timedelta(minutes=30)}
        self.run.take(AppointmentChanged())

    @precondition(lambda self: not self.run.state.paused)
    @rule()
    def it_is_held(self) -> None:
        self.run.take(Paused())

    @precondition(lambda self: self.run.state.paused)
    @rule(after=HOURS)
    def it_goes_on(self, after: timedelta) -> None:
        self.run.now += after
        self.run.take(Resumed())

    @precondition(lambda self: self.run.state.status is Status.FAILED)
    @rule()
    def somebody_tries_again(self) -> None:
        self.run.take(Retried())

    @precondition(lambda self: len(self.run.history) > 15)
    @rule(by_event=st.booleans())
    def it_is_over(self, by_event: bool) -> None:
        if by_event:
            self.run.appointment["status"] = "cancelled"
        self.run.take(AppointmentChanged() if by_event else Cancelled())

    @precondition(lambda self: self.run.history)
    @rule(data=st.data())
    def an_input_comes_again(self, data: st.DataObject) -> None:
        """Answers and events are told again after any time; timers are not: a claim takes them."""
        past = [event for event, *_ in self.run.history if isinstance(event, Started | StepResult | Resumed | Retried | AppointmentChanged)]
        if past:
            self.run.take(data.draw(st.sampled_from(past)))

    @rule()
    def a_stranger_comes(self) -> None:
        before = self.run.state
        self.run.take(TimerFired("nobody"))
        self.run.take(EventArrived("nobody", 0))
        self.run.take(StepResult("nobody", "failed"))
        assert self.run.state == before

    @rule()
    def the_process_is_lost(self) -> None:
        """What another process reads is the state that was written."""
        state = self.run.state
        self.run.compiled = self.run.compile()
        row = {**vars(state), "memory": json.loads(memory_of(state))}
        assert state_of(row) == state

    @invariant()
    def an_effect_is_asked_for_once(self) -> None:
        keys = [(one.step_id, one.attempt) for one in self.run.asked]
        assert len(keys) == len(set(keys))

    @invariant()
    def never_two_effects_are_open(self) -> None:
        assert len(self.run.open) <= 1

    @invariant()
    def no_run_is_silent(self) -> None:
        """It has ended, is held, or waits for something that can still come."""
        state, run = self.run.state, self.run
        if state.status.terminal or state.paused:
            return
        assert state.waiting
        here = run.compiled.program[state.cursor]
        if isinstance(here, ActionStep) and not state.retrying:
            assert (here.id, state.attempt) in {(one.step_id, one.attempt) for one in run.open}
            return
        assert run.timer is not None
        assert (run.timer.step_id, run.timer.due_at) == (getattr(here, "id", None), state.due)
        if isinstance(here, WaitForStep):
            assert here.id in run.waits

    @invariant()
    def no_step_is_lost_or_repeated(self) -> None:
        begun = _begun(self.run.effects)
        expected, _ = path(self.run.compiled.definition.steps, self.run.outcomes, HOLDS)
        assert begun == expected[: len(begun)]
        if self.run.state.status is Status.COMPLETED and not _left_early(self.run.effects):
            assert begun == expected
        assert sum(isinstance(effect, Finished) for effect in self.run.effects) <= 1 + sum(
            isinstance(e, Retried) for e, *_ in self.run.history
        )

    def teardown(self) -> None:
        """Told again, the whole story is the same; and left alone with what it waits for, the run ends."""
        run = getattr(self, "run", None)
        if run is None:
            return
        if run.history and isinstance(run.history[0][0], Started):
            assert run.replayed() == (run.state, run.effects)
        run.take(Resumed())
        for _ in range(200):
            if run.state.status.terminal:
                break
            if run.open:
                run.answered |= {(one.step_id, one.attempt) for one in run.open}
                run.take(StepResult(run.asked[-1].step_id, "succeeded", attempt=run.asked[-1].attempt))
            else:
                timer, run.timer = run.timer, None
                assert timer is not None
                run.now = max(run.now, timer.due_at)
                run.take(TimerFired(timer.step_id))
        assert run.state.status.terminal
        self.no_step_is_lost_or_repeated()


def _begun(effects: list[Effect]) -> list[str]:
    """The steps of a definition in the order they were first heard of."""
    found = [effect.step_id for effect in effects if isinstance(effect, Perform | SetTimer | Skipped | Branched | Stopped | StepEnded)]
    return [step for step in dict.fromkeys(found) if not step.startswith("@")]


def _left_early(effects: list[Effect]) -> bool:
    """A time that was over, or a condition at the gate, ended it: what stands behind was not wanted."""
    return any(
        (isinstance(e, StepEnded) and e.error_code == "past_due") or (isinstance(e, Skipped) and e.step_id == "@condition") for e in effects
    )


TestInterpreter = Interpreter.TestCase
TestInterpreter.settings = settings(max_examples=80, stateful_step_count=25, deadline=None)
