"""Failures that pass and failures that stay: part of the suite every engine passes."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from libs.common.errors import Conflict
from libs.contracts.actions import ActionRequest, Outcome
from services.workflows.commands.controls import AnotherRunIsActive
from services.workflows.tests.engine.driver import EngineDriver
from services.workflows.tests.engine.world import CONFIRMED, HOURS, Visit, booked, definition, heard, send, wait

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
