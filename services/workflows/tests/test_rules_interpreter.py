"""The interpreter by example tables and by properties: whatever comes twice, late or in another order, no step is lost or repeated."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.workflows.rules.definitions.compiling import CompiledDefinition, compile_definition
from services.workflows.rules.definitions.definition import Definition
from services.workflows.rules.definitions.steps import ActionStep, WaitStep
from services.workflows.rules.definitions.triggers import BY_TYPE
from services.workflows.rules.expressions.samples import full_sample
from services.workflows.rules.runs.interpreter import advance
from services.workflows.rules.runs.states import (
    Cancelled,
    Effect,
    EventArrived,
    Finished,
    Input,
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
    Surroundings,
    TimerFired,
)
from services.workflows.tests.engine.world import BOOKED, CONFIRMED, definition, reminder, send, wait

NOW = datetime(2030, 1, 1, tzinfo=UTC)
MAIL = {"subject": "Welcome", "text": "See you soon."}


def compiled(*steps: dict[str, Any]) -> CompiledDefinition:
    return compile_definition(Definition.model_validate(definition(*steps)))


def bound(workflow: CompiledDefinition, **values: Any) -> Any:
    named = {name.replace("__", "."): value for name, value in values.items()}
    sample = full_sample(BY_TYPE[BOOKED], workflow.fields)
    return Surroundings(lambda steps: workflow.expressions.bind({**sample, **named, "steps": dict(steps)}))


def run(workflow: CompiledDefinition, *inputs: Input, state: State | None = None, **values: Any) -> tuple[State, list[Effect]]:
    state, effects = state or State(), []
    for event in inputs:
        state, more = advance(workflow, state, event, bound(workflow, **values), NOW)
        effects += more
    return state, effects


HEAR = compiled({"kind": "wait_for", "id": "w", "events": [{"event": CONFIRMED}], "timeout": "PT1H"})
SEND_WAIT_SEND = compiled(send("a"), wait("PT2H", "b"), send("c"))
A, C = Perform("a", "send_email", MAIL), Perform("c", "send_email", MAIL)
TIMER = SetTimer("b", NOW + timedelta(hours=2))
OK_A, OK_C = StepResult("a", "succeeded"), StepResult("c", "succeeded")


class TestExamples:
    @pytest.mark.parametrize(
        ("inputs", "status", "effects"),
        [
            ([Started()], Status.RUNNING, [A]),
            ([Started(), Started()], Status.RUNNING, [A]),
            ([OK_A], Status.RUNNING, []),
            ([TimerFired("b")], Status.RUNNING, []),
            ([Started(), OK_A], Status.RUNNING, [A, StepEnded("a", "succeeded"), TIMER]),
            ([Started(), OK_A, Started(), OK_A], Status.RUNNING, [A, StepEnded("a", "succeeded"), TIMER]),
            ([Started(), OK_C, TimerFired("b"), TimerFired("a")], Status.RUNNING, [A]),
            ([Started(), StepResult("a", "unknown")], Status.RUNNING, [A, StepEnded("a", "unknown")]),
            (
                [Started(), StepResult("a", "unknown"), OK_A],
                Status.RUNNING,
                [A, StepEnded("a", "unknown"), StepEnded("a", "succeeded"), TIMER],
            ),
            (
                [Started(), StepResult("a", "failed", "no_email"), OK_A, TimerFired("b")],
                Status.FAILED,
                [A, StepEnded("a", "failed", "no_email"), Finished(Status.FAILED, "no_email")],
            ),
            (
                [Started(), OK_A, TimerFired("b"), OK_C, Started(), OK_C],
                Status.COMPLETED,
                [
                    A, StepEnded("a", "succeeded"), TIMER, StepEnded("b", "succeeded", kind="wait"), C, StepEnded("c", "succeeded"),
                    Finished(Status.COMPLETED),
                ],
            ),
            ([Started(), Cancelled(), Cancelled()], Status.CANCELLED, [A, Finished(Status.CANCELLED)]),
            ([Started(), Cancelled(), OK_A, TimerFired("b")], Status.CANCELLED, [A, Finished(Status.CANCELLED), StepEnded("a", "succeeded")]),
            ([Cancelled(), Started()], Status.CANCELLED, [Finished(Status.CANCELLED)]),
        ],
    )  # fmt: skip
    def test_inputs_lead_to_effects(self, inputs: list[Input], status: Status, effects: list[Effect]) -> None:
        state, happened = run(SEND_WAIT_SEND, *inputs)
        assert (state.status, happened) == (status, effects)

    def test_a_condition_decides_with_the_values_of_its_moment(self) -> None:
        workflow = compiled(send("a", when="appointment.status == 'booked'"), send("b"))
        assert run(workflow, Started(), appointment__status="booked")[1] == [Perform("a", "send_email", MAIL)]
        assert run(workflow, Started(), appointment__status="confirmed")[1] == [Skipped("a"), Perform("b", "send_email", MAIL)]

    @pytest.mark.parametrize(
        ("step", "code"),
        [
            (send("a", when="patient.email.size() > 1"), "condition_error:no_such_overload"),
            (send("a", when="event.attendee.email != null ? true : dyn(1)"), "condition_error:not_boolean"),
            (send("a", text="{{ patient.email.size() }}"), "template_error:no_such_overload"),
        ],
    )
    def test_an_expression_that_fails_fails_the_run_and_says_which_kind(self, step: dict[str, Any], code: str) -> None:
        state, effects = run(compiled(step), Started(), patient__email=None, event__attendee__email=None)
        assert (state.status, state.error_code) == (Status.FAILED, code)
        assert [type(effect) for effect in effects] == [StepEnded, Finished]

    def test_a_run_of_skipped_steps_completes_at_once(self) -> None:
        state, effects = run(compiled(send("a", when="false"), send("b", when="false")), Started())
        assert state == State(Status.COMPLETED, cursor=2)
        assert effects == [Skipped("a"), Skipped("b"), Finished(Status.COMPLETED)]

    def test_tried_again_it_does_not_go_back_to_a_time_that_steps_for_a_failure_wait_for(self) -> None:
        (before,) = [step for step in reminder("step")["steps"] if step["kind"] == "wait_until"]
        workflow = compiled(send("a") | {"on_error": "branch", "error_steps": [before]}, send("b"))
        state, _ = run(workflow, Started(), StepResult("a", "succeeded"), StepResult("b", "failed", "down"))
        _, effects = run(workflow, Retried(held=True), Resumed(), state=state)
        assert effects == [Perform("b", "send_email", MAIL, 1)]

    def test_a_filled_value_is_not_read_again(self) -> None:
        _, (effect,) = run(compiled(send("a", text="{{ event.title }}")), Started(), event__title="{{ patient.email }}")
        assert isinstance(effect, Perform)
        assert effect.parameters["text"] == "{{ patient.email }}"


STEPS = st.lists(st.sampled_from(["action", "wait", "skipped"]), min_size=1, max_size=7)


def workflow_of(kinds: list[str]) -> CompiledDefinition:
    return compiled(*(_step(kind, f"s{index}") for index, kind in enumerate(kinds)))


def _step(kind: str, step_id: str) -> dict[str, Any]:
    return wait("PT1H", step_id) if kind == "wait" else send(step_id, when="false" if kind == "skipped" else None)


@st.composite
def stories(draw: st.DrawFn) -> tuple[list[str], list[Input]]:
    """A workflow, and the inputs of its whole life with duplicates and strangers among them, in any order, then the whole life again."""
    kinds = draw(STEPS)
    life: list[Input] = [Started()]
    for index, kind in enumerate(kinds):
        if kind == "wait":
            life.append(TimerFired(f"s{index}"))
        if kind == "action":
            life.append(StepResult(f"s{index}", "succeeded"))
    strangers: list[Input] = [
        StepResult("nobody", "failed"),
        TimerFired("nobody"),
        *(StepResult(f"s{i}", "unknown") for i in range(len(kinds))),
    ]
    noise = draw(st.lists(st.sampled_from(life + strangers), max_size=25))
    return kinds, [*noise, *life]


class TestProperties:
    @settings(max_examples=150, deadline=None)
    @given(stories())
    def test_no_step_is_lost_or_repeated(self, story: tuple[list[str], list[Input]]) -> None:
        kinds, inputs = story
        state, effects = run(workflow_of(kinds), *inputs)
        begun = [effect.step_id for effect in effects if isinstance(effect, Perform | SetTimer | Skipped)]
        assert begun == [f"s{index}" for index in range(len(kinds))]
        assert state.status is Status.COMPLETED
        assert effects.count(Finished(Status.COMPLETED)) == 1

    @settings(max_examples=100, deadline=None)
    @given(stories(), st.data())
    def test_a_replay_from_any_point_comes_to_the_same(self, story: tuple[list[str], list[Input]], data: st.DataObject) -> None:
        kinds, inputs = story
        cut = data.draw(st.integers(0, len(inputs)))
        whole, effects = run(workflow_of(kinds), *inputs)
        half, first = run(workflow_of(kinds), *inputs[:cut])
        rest, second = run(workflow_of(kinds), *inputs[cut:], state=half)  # compiled anew, as another process would
        assert (rest, first + second) == (whole, effects)

    @settings(max_examples=100, deadline=None)
    @given(stories(), st.data())
    def test_an_ended_run_moves_no_more(self, story: tuple[list[str], list[Input]], data: st.DataObject) -> None:
        kinds, inputs = story
        cut = data.draw(st.integers(0, len(inputs)))
        ends: list[Input] = [Cancelled(), *(StepResult(f"s{index}", "failed", "x") for index in range(len(kinds)))]
        end = data.draw(st.sampled_from(ends))
        state, effects = run(workflow_of(kinds), *inputs[:cut], end)
        if state.status.terminal:
            later, more = run(workflow_of(kinds), *inputs, Cancelled(), state=state)
            assert later == state
            assert not any(isinstance(effect, Perform | SetTimer | Finished) for effect in more)
            assert sum(isinstance(effect, Finished) for effect in effects) == 1

    @settings(max_examples=100, deadline=None)
    @given(stories())
    def test_a_running_run_always_waits_for_something_it_asked_for(self, story: tuple[list[str], list[Input]]) -> None:
        kinds, inputs = story
        workflow, state, open_steps = workflow_of(kinds), State(), set[str]()
        for event in inputs:
            state, effects = advance(workflow, state, event, bound(workflow), NOW)
            open_steps |= {effect.step_id for effect in effects if isinstance(effect, Perform | SetTimer)}
            if state.status is Status.RUNNING and state != State():
                assert state.waiting
                step = workflow.program[state.cursor]
                assert isinstance(step, ActionStep | WaitStep)
                assert step.id in open_steps


class TestTimeOuts:
    @pytest.mark.parametrize(("minutes", "outcome"), [(0, "event"), (60, "event"), (60.01, "timed_out")])
    @pytest.mark.parametrize("asked_later", [False, True])
    def test_an_event_that_came_after_it_does_not_count_whenever_it_is_asked(self, minutes: float, outcome: str, asked_later: bool) -> None:
        state, _ = run(HEAR, Started())
        came = NOW + timedelta(minutes=minutes)
        event = EventArrived("w", 0, {}, "e", came if asked_later else None)
        state, _ = advance(HEAR, state, event, bound(HEAR), NOW + timedelta(days=1) if asked_later else came)
        assert (state.outputs["w"]["outcome"], state.outputs["w"]["id"]) == (outcome, "e" if outcome == "event" else None)
