"""The suite every engine passes. It knows the driver's words only."""

from __future__ import annotations

import random
from datetime import timedelta

import pytest

from libs.common.errors import Conflict
from libs.contracts.actions import Outcome
from libs.contracts.workflows import RunFinished
from services.workflows.tests.engine.driver import EngineDriver, Said
from services.workflows.tests.engine.world import HOURS, Visit, booked, definition, send, wait


class VersionsSuite:
    async def test_a_draft_changes_nothing_until_it_is_published(self, engine: EngineDriver) -> None:
        workflow = await engine.publish(definition(send(subject="Old")))
        await engine.edit(workflow, definition(send(subject="New")))
        await booked(engine)
        (request,) = await engine.requests()
        assert request.parameters["subject"] == "Old"

    async def test_edits_do_not_change_runs_in_flight(self, engine: EngineDriver) -> None:
        workflow = await engine.publish(definition(wait(), send(subject="Old")))
        await booked(engine)
        await engine.publish(definition(wait(), send(subject="New"), send("another")), workflow)
        await booked(engine)
        await engine.restart()
        await engine.pass_time(2 * HOURS)
        assert sorted(request.parameters["subject"] for request in await engine.requests()) == ["New", "Old"]
        assert sorted(run.version for run in await engine.runs()) == [1, 2]

    async def test_unpublishing_starts_no_new_runs_and_lets_those_in_flight_go_on(self, engine: EngineDriver) -> None:
        workflow = await engine.publish(definition(wait(), send()))
        await booked(engine)
        await engine.unpublish(workflow)
        await booked(engine)
        assert len(await engine.runs()) == 1
        await engine.pass_time(2 * HOURS)
        assert len(await engine.requests()) == 1


class StepsSuite:
    async def test_a_run_goes_from_step_to_step_and_completes(self, engine: EngineDriver) -> None:
        await engine.publish(definition(send("first"), send("second")))
        await booked(engine)
        (first,) = await engine.requests()
        await engine.answer(first, Outcome.SUCCEEDED)
        _, second = await engine.requests()
        await engine.answer(second, Outcome.SUCCEEDED)
        (run,) = await engine.runs()
        assert (run.status, run.steps) == ("completed", (("first", "succeeded"), ("second", "succeeded")))
        (finished,) = await engine.said(RunFinished)
        assert isinstance(finished, RunFinished)
        assert finished.outcome == "completed"

    async def test_an_answer_delivered_again_moves_the_run_once(self, engine: EngineDriver) -> None:
        await engine.publish(definition(send("first"), send("second")))
        await booked(engine)
        (first,) = await engine.requests()
        await engine.answer(first, Outcome.SUCCEEDED, times=3)
        assert [request.step_id for request in await engine.requests()] == ["first", "second"]

    async def test_a_failed_action_fails_the_run_and_asks_for_nothing_more(self, engine: EngineDriver) -> None:
        await engine.publish(definition(send("first"), send("second")))
        await booked(engine)
        (first,) = await engine.requests()
        await engine.answer(first, Outcome.FAILED, "patient_has_no_email")
        (run,) = await engine.runs()
        assert (run.status, run.error_code, run.steps) == ("failed", "patient_has_no_email", (("first", "failed"),))
        assert len(await engine.requests()) == 1

    async def test_an_unknown_outcome_is_shown_and_never_asked_for_again(self, engine: EngineDriver) -> None:
        await engine.publish(definition(send("first"), send("second")))
        await booked(engine)
        (first,) = await engine.requests()
        await engine.answer(first, Outcome.UNKNOWN, times=2)
        await engine.pass_time(24 * HOURS)
        (run,) = await engine.runs()
        assert (run.status, run.steps) == ("running", (("first", "unknown"),))
        assert len(await engine.requests()) == 1
        await engine.answer(first, Outcome.SUCCEEDED)
        assert [request.step_id for request in await engine.requests()] == ["first", "second"]

    async def test_a_step_whose_condition_is_false_is_skipped(self, engine: EngineDriver) -> None:
        await engine.publish(definition(send("z_never", when="event.title == 'Other'"), send("always")))
        await booked(engine)
        (run,) = await engine.runs()
        assert run.steps == (("z_never", "skipped"), ("always", "requested"))

    async def test_a_step_whose_condition_or_template_fails_fails_the_run(self, engine: EngineDriver) -> None:
        await engine.publish(definition(send(when="patient.email.size() > 3")))
        await engine.publish(definition(send(text="{{ patient.email.size() }}")))
        await booked(engine, Visit(email=None))
        assert {run.error_code for run in await engine.runs()} == {"condition_error:no_such_overload", "template_error:no_such_overload"}
        assert {run.steps for run in await engine.runs()} == {(("intake", "failed"),)}
        assert await engine.requests() == []

    async def test_an_effect_keeps_its_name_whatever_process_asks_for_it(self, engine: EngineDriver) -> None:
        await engine.publish(definition(send("first"), send("second")))
        await booked(engine)
        (first,) = await engine.requests()
        await engine.restart()
        await engine.answer(first, Outcome.SUCCEEDED)
        keys = [request.effect_key for request in await engine.requests()]
        assert len(set(keys)) == 2
        assert keys[0] == first.effect_key


class WaitsSuite:
    async def test_a_wait_ends_when_it_is_due_and_not_before(self, engine: EngineDriver) -> None:
        await engine.publish(definition(wait("PT2H"), send()))
        await booked(engine)
        await engine.pass_time(timedelta(hours=1, minutes=59, seconds=59))
        assert await engine.requests() == []
        await engine.pass_time(timedelta(seconds=1))
        assert len(await engine.requests()) == 1
        (run,) = await engine.runs()
        assert run.steps == (("pause", "succeeded"), ("intake", "requested"))

    async def test_a_wait_survives_a_restart_and_ends_once(self, engine: EngineDriver) -> None:
        await engine.publish(definition(wait(), send()))
        await booked(engine)
        await engine.restart()
        for _ in range(3):
            await engine.pass_time(2 * HOURS)
        assert len(await engine.requests()) == 1

    async def test_what_follows_a_wait_sees_the_appointment_as_it_is_then(self, engine: EngineDriver) -> None:
        await engine.publish(definition(wait(), send("remind", when="appointment.status == 'booked'")))
        confirmed, waiting = await booked(engine), await booked(engine)
        await engine.deliver(confirmed.confirmed())
        await engine.pass_time(2 * HOURS)
        (request,) = await engine.requests()
        assert request.patient_id == waiting.patient_id
        assert sorted(run.status for run in await engine.runs()) == ["completed", "running"]

    async def test_a_last_wait_completes_the_run(self, engine: EngineDriver) -> None:
        await engine.publish(definition(wait()))
        await booked(engine)
        await engine.pass_time(2 * HOURS)
        assert [run.status for run in await engine.runs()] == ["completed"]


class CancellingSuite:
    async def test_a_cancelled_wait_never_ends(self, engine: EngineDriver) -> None:
        await engine.publish(definition(wait(), send()))
        await booked(engine)
        (run,) = await engine.runs()
        await engine.cancel(run.id)
        await engine.pass_time(24 * HOURS)
        (run,) = await engine.runs()
        assert (run.status, run.steps) == ("cancelled", (("pause", "cancelled"),))
        assert await engine.requests() == []

    async def test_what_was_asked_for_before_is_not_taken_back_and_still_recorded(self, engine: EngineDriver) -> None:
        await engine.publish(definition(send("first"), send("second")))
        await booked(engine)
        (request,) = await engine.requests()
        (run,) = await engine.runs()
        await engine.cancel(run.id)
        await engine.answer(request, Outcome.SUCCEEDED, times=2)
        (run,) = await engine.runs()
        assert (run.status, run.steps) == ("cancelled", (("first", "succeeded"),))
        assert len(await engine.requests()) == 1
        assert len(await engine.said(RunFinished)) == 1

    async def test_a_run_that_has_ended_says_so(self, engine: EngineDriver) -> None:
        await engine.publish(definition(send(when="false")))
        await booked(engine)
        (run,) = await engine.runs()
        with pytest.raises(Conflict):
            await engine.cancel(run.id)
        assert [run.status for run in await engine.runs()] == ["completed"]


class SuspensionSuite:
    async def test_a_suspended_practice_starts_nothing_and_loses_nothing(self, engine: EngineDriver) -> None:
        await engine.publish(definition(send()))
        await engine.suspend()
        await booked(engine)
        await engine.restart()
        assert (await engine.runs(), await engine.requests()) == ([], [])
        await engine.suspend(suspended=False)
        assert (len(await engine.runs()), len(await engine.requests())) == (1, 1)

    async def test_runs_in_flight_stand_still_and_go_on(self, engine: EngineDriver) -> None:
        await engine.publish(definition(send("first"), wait(), send("second")))
        await booked(engine)
        (first,) = await engine.requests()
        await engine.suspend()
        await engine.answer(first, Outcome.SUCCEEDED)
        await engine.pass_time(3 * HOURS)
        assert [run.steps for run in await engine.runs()] == [(("first", "requested"),)]
        await engine.suspend(suspended=False)
        await engine.pass_time(1 * HOURS)
        assert len(await engine.requests()) == 1
        await engine.pass_time(2 * HOURS)
        assert len(await engine.requests()) == 2

    async def test_timers_due_meanwhile_fire_when_it_ends(self, engine: EngineDriver) -> None:
        await engine.publish(definition(wait(), send()))
        await booked(engine)
        await engine.suspend()
        await engine.pass_time(5 * HOURS)
        assert await engine.requests() == []
        await engine.suspend(suspended=False)
        await engine.pass_time(0 * HOURS)
        assert len(await engine.requests()) == 1


class StormSuite:
    @pytest.mark.parametrize("seed", range(4))
    async def test_duplicates_disorder_and_restarts_lose_and_repeat_nothing(self, engine: EngineDriver, seed: int) -> None:
        dice = random.Random(seed)
        await engine.publish(definition(send("first"), wait("PT1H"), send("second"), condition="patient.email != null"))
        visits = [Visit() for _ in range(20)]
        storm = [said for visit in visits for said in (visit.registered(), visit.booked()) for _ in range(dice.randint(1, 3))]
        await self._deliver_anyhow(engine, storm, dice)
        await engine.pass_time(timedelta(minutes=1))  # what had to wait for its patient comes again
        for _ in ("first", "second"):
            for request in dice.sample(await engine.requests(), len(await engine.requests())):
                await engine.answer(request, Outcome.SUCCEEDED, times=dice.randint(1, 2))
            await engine.pass_time(HOURS)
        asked = [(request.patient_id, request.step_id) for request in await engine.requests()]
        assert sorted(asked, key=str) == sorted(((visit.patient_id, step) for visit in visits for step in ("first", "second")), key=str)
        assert {run.status for run in await engine.runs()} == {"completed"}
        assert len(await engine.said(RunFinished)) == len(visits)

    async def _deliver_anyhow(self, engine: EngineDriver, storm: list[Said], dice: random.Random) -> None:
        dice.shuffle(storm)
        while storm:
            size = dice.randint(1, 15)
            await engine.deliver(*storm[:size])
            storm = storm[size:]
            if dice.random() < 0.3:
                await engine.restart()
