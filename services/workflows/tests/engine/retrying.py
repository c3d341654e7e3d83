"""Failures that pass and failures that stay: part of the suite every engine passes."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from libs.common.errors import Conflict
from libs.contracts.actions import ActionRequest, Outcome
from services.workflows.commands.controls import AnotherRunIsActive, WorkflowIsPaused
from services.workflows.tests.engine.driver import EngineDriver
from services.workflows.tests.engine.world import (
    CANCELLED,
    CONFIRMED,
    HOURS,
    Visit,
    booked,
    definition,
    heard,
    reminder,
    send,
    wait,
    wait_for,
)

DAY = timedelta(days=1)
MINUTES = timedelta(minutes=1)
JITTER = 0.2


def patient_send(step: str = "intake", **more: Any) -> dict[str, Any]:
    """Three attempts: after a minute, after two."""
    return send(step) | {"retry": {"attempts": 3, "first": "PT1M", "factor": 2, "limit": "PT1H"}} | more


async def newest(engine: EngineDriver) -> ActionRequest:
    return (await engine.requests())[-1]


async def fail(engine: EngineDriver, request: ActionRequest, *, retryable: bool = True) -> None:
    await engine.answer(request, Outcome.FAILED, "provider_down", retryable=retryable)


class RetriesSuite:
    async def test_a_failure_that_may_pass_is_tried_again_under_a_new_name_after_growing_pauses(self, engine: EngineDriver) -> None:
        await engine.publish(definition(patient_send()))
        await booked(engine)
        for pause in (MINUTES, 2 * MINUTES):
            asked = len(await engine.requests())
            await fail(engine, await newest(engine))
            assert [run.steps for run in await engine.runs()] == [(("intake", "retrying"),)]
            await engine.pass_time(pause - timedelta(seconds=1))
            assert len(await engine.requests()) == asked
            await engine.pass_time(pause * JITTER + timedelta(seconds=2))
            assert len(await engine.requests()) == asked + 1
        assert len({request.effect_key for request in await engine.requests()}) == 3
        await engine.answer(await newest(engine), Outcome.SUCCEEDED)
        assert [(run.status, run.steps) for run in await engine.runs()] == [("completed", (("intake", "succeeded"),))]

    async def test_after_the_last_attempt_the_run_fails(self, engine: EngineDriver) -> None:
        await engine.publish(definition(patient_send()))
        await booked(engine)
        for _ in range(3):
            await fail(engine, await newest(engine))
            await engine.pass_time(HOURS)
        (run,) = await engine.runs()
        assert (run.status, run.error_code, run.steps) == ("failed", "provider_down", (("intake", "failed"),))
        assert len(await engine.requests()) == 3

    async def test_a_failure_that_stays_and_an_unknown_outcome_are_not_tried_again(self, engine: EngineDriver) -> None:
        await engine.publish(definition(patient_send()))
        await booked(engine)
        await booked(engine)
        first, second = await engine.requests()
        await fail(engine, first, retryable=False)
        await engine.answer(second, Outcome.UNKNOWN)
        await engine.pass_time(24 * HOURS)
        assert sorted((run.status, *run.steps) for run in await engine.runs()) == [
            ("failed", ("intake", "failed")), ("running", ("intake", "unknown")),
        ]  # fmt: skip
        assert len(await engine.requests()) == 2

    async def test_an_answer_that_comes_again_or_too_late_counts_for_its_own_attempt_only(self, engine: EngineDriver) -> None:
        await engine.publish(definition(patient_send(), send("then")))
        await booked(engine)
        first = await newest(engine)
        await engine.answer(first, Outcome.FAILED, "provider_down", retryable=True, times=3)
        await engine.restart()
        await engine.pass_time(2 * MINUTES)
        await fail(engine, first)
        await engine.answer(first, Outcome.SUCCEEDED)
        await engine.pass_time(HOURS)
        assert [request.step_id for request in await engine.requests()] == ["intake", "intake"]
        await engine.answer(await newest(engine), Outcome.SUCCEEDED)
        assert [request.step_id for request in await engine.requests()] == ["intake", "intake", "then"]

    async def test_a_run_cancelled_between_attempts_asks_no_more(self, engine: EngineDriver) -> None:
        await engine.publish(definition(patient_send()))
        await booked(engine)
        await fail(engine, await newest(engine))
        (run,) = await engine.runs()
        await engine.cancel(run.id)
        await engine.pass_time(HOURS)
        assert [(run.status, run.steps) for run in await engine.runs()] == [("cancelled", (("intake", "cancelled"),))]
        assert len(await engine.requests()) == 1


class ErrorPolicySuite:
    async def test_skipping_goes_on_as_if_nothing_had_been(self, engine: EngineDriver) -> None:
        await engine.publish(definition(send("first") | {"on_error": "skip"}, send(text="{{ steps.first.error_code }}")))
        await booked(engine)
        await fail(engine, await newest(engine))
        assert (await newest(engine)).parameters["text"] == "provider_down"

    @pytest.mark.parametrize(("outcome", "way"), [(Outcome.FAILED, ["first", "rescue", "after"]), (Outcome.SUCCEEDED, ["first", "after"])])
    async def test_a_branch_for_failures_is_taken_by_failures_only(self, engine: EngineDriver, outcome: Outcome, way: list[str]) -> None:
        await engine.publish(definition(send("first") | {"on_error": "branch", "error_steps": [send("rescue")]}, send("after")))
        await booked(engine)
        await engine.answer(await newest(engine), outcome, "provider_down" if outcome is Outcome.FAILED else None)
        for _ in way[1:]:
            await engine.answer(await newest(engine), Outcome.SUCCEEDED)
        assert [request.step_id for request in await engine.requests()] == way
        assert [run.status for run in await engine.runs()] == ["completed"]

    @pytest.mark.parametrize("failing", [{"when": "patient.email.size() > 3"}, {"text": "{{ patient.email.size() }}"}])
    async def test_a_condition_or_text_that_fails_is_a_failure_like_any_other(self, engine: EngineDriver, failing: dict[str, str]) -> None:
        await engine.publish(definition(send("first", **failing) | {"on_error": "skip"}, send("after")))
        await booked(engine, Visit(email=None))
        assert [request.step_id for request in await engine.requests()] == ["after"]
        assert [run.steps for run in await engine.runs()] == [(("first", "failed"), ("after", "requested"))]

    async def test_policy_and_retries_go_together(self, engine: EngineDriver) -> None:
        await engine.publish(definition(patient_send("first", on_error="skip"), send("after")))
        await booked(engine)
        for _ in range(3):
            await fail(engine, await newest(engine))
            await engine.pass_time(HOURS)
        assert [request.step_id for request in await engine.requests()] == ["first", "first", "first", "after"]


class RetryByHandSuite:
    async def test_a_failed_run_goes_on_from_the_step_that_failed(self, engine: EngineDriver) -> None:
        await engine.publish(definition(send("first"), send("second"), wait(), send("third")))
        await booked(engine)
        await engine.answer(await newest(engine), Outcome.SUCCEEDED)
        await fail(engine, await newest(engine))
        (run,) = await engine.runs()
        await engine.retry(run.id)
        await engine.answer(await newest(engine), Outcome.SUCCEEDED)
        await engine.pass_time(2 * HOURS)
        await engine.answer(await newest(engine), Outcome.SUCCEEDED)
        assert [request.step_id for request in await engine.requests()] == ["first", "second", "second", "third"]
        assert len({request.effect_key for request in await engine.requests()}) == 4
        assert [(run.status, run.error_code) for run in await engine.runs()] == [("completed", None)]

    async def test_what_failed_for_what_was_known_then_sees_what_is_known_now(self, engine: EngineDriver) -> None:
        await engine.publish(definition(wait(), send(text="{{ patient.email.size() }}")))
        visit = await booked(engine, Visit(email=None))
        await engine.pass_time(2 * HOURS)
        visit.email = "kim.lorenz@patients.example"
        await engine.deliver(visit.updated("email"))
        (run,) = await engine.runs()
        assert run.status == "failed"
        await engine.retry(run.id)
        assert len(await engine.requests()) == 1

    async def test_its_exit_conditions_hold_again(self, engine: EngineDriver) -> None:
        await engine.publish(definition(send("first"), send("second")) | {"exit": [heard(CONFIRMED)]})
        visit = await booked(engine)
        await fail(engine, await newest(engine))
        (run,) = await engine.runs()
        await engine.retry(run.id)
        await engine.deliver(visit.confirmed())
        assert [(run.status, run.error_code) for run in await engine.runs()] == [("cancelled", "exit_condition")]

    @pytest.mark.parametrize("met", [True, False])
    async def test_an_exit_that_came_while_it_was_failed_ends_it_instead(self, engine: EngineDriver, met: bool) -> None:
        exits = {"exit": [heard(CONFIRMED, "event.appointment_id == trigger.appointment_id")]}
        await engine.publish(definition(send("first"), send("second")) | exits)
        visit = await booked(engine)
        await fail(engine, await newest(engine), retryable=False)
        await engine.deliver((visit if met else visit.again()).confirmed())
        await engine.pass_time(HOURS)
        (run,) = await engine.runs()
        await engine.retry(run.id)
        assert len(await engine.requests()) == (1 if met else 2)
        (run,) = await engine.runs()
        assert (run.status, run.error_code) == (("cancelled", "exit_condition") if met else ("running", None))

    async def test_what_came_before_it_failed_does_not_end_it(self, engine: EngineDriver) -> None:
        await engine.publish(definition(wait(), send()) | {"exit": [heard(CONFIRMED, "patient.email == null")]})
        visit = await booked(engine)
        await engine.deliver(visit.confirmed())
        await engine.pass_time(2 * HOURS)
        await fail(engine, await newest(engine), retryable=False)
        visit.email = None
        await engine.deliver(visit.updated("email"))
        (run,) = await engine.runs()
        await engine.retry(run.id)
        assert len(await engine.requests()) == 2

    @pytest.mark.parametrize("form", ["trigger", "step"])
    @pytest.mark.parametrize("back", [False, True])
    async def test_nobody_is_reminded_of_an_appointment_cancelled_since_it_failed(
        self, engine: EngineDriver, form: str, back: bool
    ) -> None:
        await engine.publish(reminder(form, enrolment={"policy": "once"}))
        visit = await booked(engine, Visit(starts_at=engine.now + 3 * DAY))
        await engine.pass_time(2 * DAY)
        await fail(engine, await newest(engine), retryable=False)
        await engine.deliver(visit.cancelled())
        if back:
            await engine.deliver(visit.moved(visit.starts_at))
        (run,) = await engine.runs()
        await engine.retry(run.id)
        assert len(await engine.requests()) == (2 if back else 1)
        (run,) = await engine.runs()
        assert (run.status, run.error_code) == (("running", None) if back else ("cancelled", "appointment_cancelled"))

    @pytest.mark.parametrize("form", ["trigger", "step"])
    async def test_of_an_appointment_that_moved_since_it_waits_for_the_new_time(self, engine: EngineDriver, form: str) -> None:
        """Nobody else does: the patient was let in once."""
        await engine.publish(reminder(form, enrolment={"policy": "once"}))
        visit = await booked(engine, Visit(starts_at=engine.now + 3 * DAY))
        await engine.pass_time(2 * DAY)
        await fail(engine, await newest(engine), retryable=False)
        await engine.deliver(visit.moved(engine.now + 4 * DAY))
        (run,) = await engine.runs()
        await engine.retry(run.id)
        await engine.deliver(visit.moved(engine.now + 6 * DAY))
        await engine.pass_time(5 * DAY - timedelta(seconds=1))
        assert len(await engine.requests()) == 1
        await engine.pass_time(timedelta(seconds=1))
        assert len({request.effect_key for request in await engine.requests()}) == 2
        await engine.answer(await newest(engine), Outcome.SUCCEEDED)
        assert [(run.status, run.error_code) for run in await engine.runs()] == [("completed", None)]

    async def test_where_another_run_waits_for_the_new_time_it_ends(self, engine: EngineDriver) -> None:
        await engine.publish(reminder("trigger"))
        visit = await booked(engine, Visit(starts_at=engine.now + 3 * DAY))
        await engine.pass_time(2 * DAY)
        await fail(engine, await newest(engine), retryable=False)
        await engine.deliver(visit.moved(engine.now + 4 * DAY))
        (run,) = [run for run in await engine.runs() if run.status == "failed"]
        await engine.retry(run.id)
        await engine.pass_time(5 * DAY)
        assert len(await engine.requests()) == 2
        assert [(run.status, run.error_code) for run in await engine.runs()] == [("cancelled", "waits_already"), ("running", None)]

    async def test_moved_to_an_earlier_time_it_is_tried_now(self, engine: EngineDriver) -> None:
        await engine.publish(reminder("step"))
        visit = await booked(engine, Visit(starts_at=engine.now + 3 * DAY))
        await engine.pass_time(2 * DAY)
        await fail(engine, await newest(engine), retryable=False)
        await engine.deliver(visit.moved(engine.now + HOURS))
        (run,) = await engine.runs()
        await engine.retry(run.id)
        assert len(await engine.requests()) == 2

    async def test_what_comes_later_than_the_reminder_does_not_begin_with_it_again(self, engine: EngineDriver) -> None:
        await engine.publish(definition(*reminder("step")["steps"], send("second")))
        visit = await booked(engine, Visit(starts_at=engine.now + 3 * DAY))
        await engine.pass_time(2 * DAY)
        await engine.answer(await newest(engine), Outcome.SUCCEEDED)
        await fail(engine, await newest(engine), retryable=False)
        await engine.deliver(visit.moved(engine.now + 4 * DAY))
        (run,) = await engine.runs()
        await engine.retry(run.id)
        assert [request.step_id for request in await engine.requests()] == ["remind", "second", "second"]

    async def test_a_cancellation_it_waited_for_is_no_reason_to_end(self, engine: EngineDriver) -> None:
        steps = [wait_for(heard(CANCELLED), about="appointment"), send("regret")]
        await engine.publish(reminder("trigger") | {"steps": steps})
        visit = await booked(engine, Visit(starts_at=engine.now + 3 * DAY))
        await engine.pass_time(2 * DAY)
        await engine.deliver(visit.cancelled())
        await fail(engine, await newest(engine), retryable=False)
        (run,) = await engine.runs()
        await engine.retry(run.id)
        assert [request.step_id for request in await engine.requests()] == ["regret", "regret"]

    async def test_by_hand_the_step_gets_all_its_attempts_again(self, engine: EngineDriver) -> None:
        await engine.publish(definition(patient_send()))
        await booked(engine)
        for _ in range(3):
            await fail(engine, await newest(engine))
            await engine.pass_time(HOURS)
        (run,) = await engine.runs()
        await engine.retry(run.id)
        await fail(engine, await newest(engine))
        await engine.restart()
        await engine.pass_time(MINUTES - timedelta(seconds=1))
        assert len(await engine.requests()) == 4
        await engine.pass_time(MINUTES * JITTER + timedelta(seconds=2))
        assert len(await engine.requests()) == 5
        for _ in range(2):
            await fail(engine, await newest(engine))
            await engine.pass_time(HOURS)
        assert [run.status for run in await engine.runs()] == ["failed"]
        assert len({request.effect_key for request in await engine.requests()}) == 6

    async def test_of_a_paused_workflow_it_is_held_until_the_workflow_goes_on(self, engine: EngineDriver) -> None:
        workflow = await engine.publish(definition(send("first"), send("second")))
        await booked(engine)
        await fail(engine, await newest(engine), retryable=False)
        await engine.pause_workflow(workflow)
        (run,) = await engine.runs()
        await engine.retry(run.id)
        await engine.pass_time(HOURS)
        assert len(await engine.requests()) == 1
        assert [(run.status, run.error_code) for run in await engine.runs()] == [("running", None)]
        with pytest.raises(WorkflowIsPaused):
            await engine.resume(run.id)
        await engine.resume_workflow(workflow)
        assert [request.step_id for request in await engine.requests()] == ["first", "first"]
        await engine.answer(await newest(engine), Outcome.SUCCEEDED)
        assert (await newest(engine)).step_id == "second"

    @pytest.mark.parametrize("form", ["trigger", "step"])
    @pytest.mark.parametrize(("policy", "ended"), [("proceed", "running"), ("skip", "completed"), ("proceed", "cancelled")])
    async def test_a_reminder_that_was_held_goes_by_what_its_step_says_of_a_time_that_is_over(
        self, engine: EngineDriver, form: str, policy: str, ended: str
    ) -> None:
        workflow = await engine.publish(reminder(form, policy=policy))
        visit = await booked(engine, Visit(starts_at=engine.now + 3 * DAY))
        await engine.pass_time(2 * DAY)
        await fail(engine, await newest(engine), retryable=False)
        await engine.pause_workflow(workflow)
        (run,) = await engine.runs()
        await engine.retry(run.id)
        if ended == "cancelled":
            await engine.deliver(visit.cancelled())
        await engine.pass_time(HOURS)
        await engine.resume_workflow(workflow)
        assert [run.status for run in await engine.runs()] == [ended]
        assert len({request.effect_key for request in await engine.requests()}) == (2 if ended == "running" else 1)

    async def test_held_with_its_workflow_its_exit_conditions_hold(self, engine: EngineDriver) -> None:
        workflow = await engine.publish(definition(send("first"), send("second")) | {"exit": [heard(CONFIRMED)]})
        visit = await booked(engine)
        await fail(engine, await newest(engine), retryable=False)
        await engine.pause_workflow(workflow)
        (run,) = await engine.runs()
        await engine.retry(run.id)
        await engine.deliver(visit.confirmed())
        await engine.resume_workflow(workflow)
        assert len(await engine.requests()) == 1
        assert [(run.status, run.error_code) for run in await engine.runs()] == [("cancelled", "exit_condition")]

    async def test_beside_another_run_of_the_patient_it_is_refused_where_one_at_a_time_is_let_through(self, engine: EngineDriver) -> None:
        await engine.publish(definition(send("first"), wait("P1D"), send("second")) | {"enrolment": {"policy": "once_while_active"}})
        visit = await booked(engine)
        await fail(engine, await newest(engine))
        await engine.deliver(visit.again().booked())
        failed, active = sorted(await engine.runs(), key=lambda run: run.status)
        assert (failed.status, active.status) == ("failed", "running")
        with pytest.raises(AnotherRunIsActive):
            await engine.retry(failed.id)
        assert len(await engine.requests()) == 2
        await engine.cancel(active.id)
        await engine.retry(failed.id)
        assert {run.id: run.status for run in await engine.runs()} == {failed.id: "running", active.id: "cancelled"}

    async def test_a_run_that_never_began_or_has_not_failed_is_not_tried_again(self, engine: EngineDriver) -> None:
        await engine.publish(definition(condition="patient.email.size() > 3"))
        await engine.publish(definition(wait()))
        await booked(engine, Visit(email=None))
        for run in await engine.runs():
            with pytest.raises(Conflict):
                await engine.retry(run.id)
        assert sorted(run.status for run in await engine.runs()) == ["failed", "running"]
        assert await engine.requests() == []
