"""Appointments whose patient is found while a run is about them: part of the suite every engine passes."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from libs.contracts.actions import Outcome
from services.workflows.tests.engine.driver import EngineDriver
from services.workflows.tests.engine.world import CONFIRMED, HOURS, UPDATED, Visit, definition, heard, reminder, send, wait, wait_for

DAY = timedelta(days=1)
SEND = send(text="{{ event.patient_id }}")


async def nobodys(engine: EngineDriver, visit: Visit | None = None) -> Visit:
    """A patient, and a booking that is not known to be theirs."""
    visit = visit or Visit(starts_at=engine.now + 3 * DAY)
    await engine.deliver(visit.registered(), visit.unmatched())
    return visit


class MatchingSuite:
    @pytest.mark.parametrize(
        "started",
        [definition(wait(), SEND), definition(wait_for(heard(CONFIRMED), timeout="PT2H"), SEND), reminder("trigger"), reminder("step")],
    )
    async def test_whatever_a_run_waits_for_it_learns_whom_it_is_about(self, engine: EngineDriver, started: dict[str, Any]) -> None:
        await engine.publish(started)
        visit = await nobodys(engine)
        await engine.pass_time(HOURS)
        await engine.deliver(visit.matched())
        await engine.restart()
        await engine.pass_time(3 * DAY)
        (request,) = await engine.requests()
        assert request.patient_id == visit.patient_id
        assert request.parameters["text"] in {str(visit.patient_id), "See you soon."}

    async def test_between_two_actions_too(self, engine: EngineDriver) -> None:
        await engine.publish(definition(send("first"), send("second")))
        visit = await nobodys(engine)
        await engine.deliver(visit.matched())
        await engine.answer((await engine.requests())[0], Outcome.SUCCEEDED)
        assert [request.patient_id for request in await engine.requests()] == [None, visit.patient_id]

    @pytest.mark.parametrize("started", [definition(wait(), send()), reminder("trigger"), reminder("step")])
    async def test_what_then_happens_to_the_patient_may_end_it(self, engine: EngineDriver, started: dict[str, Any]) -> None:
        await engine.publish(started | {"exit": [heard(CONFIRMED, "false"), heard(UPDATED)]})
        visit, other = await nobodys(engine), await nobodys(engine)
        await engine.deliver(visit.matched(), other.matched())
        await engine.deliver(visit.updated("phone"))
        assert sorted((run.status, run.error_code) for run in await engine.runs()) == [("cancelled", "exit_condition"), ("running", None)]
        await engine.pass_time(3 * DAY)
        assert [request.patient_id for request in await engine.requests()] == [other.patient_id]

    async def test_an_exit_about_the_appointment_still_ends_it(self, engine: EngineDriver) -> None:
        await engine.publish(definition(wait(), send()) | {"exit": [heard(CONFIRMED)]})
        visit = await nobodys(engine)
        await engine.deliver(visit.matched())
        await engine.deliver(visit.confirmed())
        assert [(run.status, run.error_code) for run in await engine.runs()] == [("cancelled", "exit_condition")]

    async def test_a_wait_for_news_of_the_patient_hears_it(self, engine: EngineDriver) -> None:
        await engine.publish(definition(wait_for(heard(CONFIRMED, "false"), heard(UPDATED), about="patient"), send()))
        visit = await nobodys(engine)
        await engine.deliver(visit.matched())
        await engine.deliver(visit.updated("phone"))
        assert [request.patient_id for request in await engine.requests()] == [visit.patient_id]

    async def test_matched_and_changed_in_one_batch(self, engine: EngineDriver) -> None:
        await engine.publish(definition(wait_for(heard(UPDATED), about="patient"), send()))
        visit = await nobodys(engine)
        await engine.deliver(visit.matched(), visit.updated("phone"))
        assert [request.patient_id for request in await engine.requests()] == [visit.patient_id]

    async def test_a_run_of_somebody_on_the_suppression_list_ends(self, engine: EngineDriver) -> None:
        await engine.publish(definition(wait(), send()))
        visit = await nobodys(engine)
        assert visit.patient_id is not None
        await engine.suppress(visit.patient_id)
        await engine.deliver(visit.matched())
        assert [(run.status, run.error_code) for run in await engine.runs()] == [("cancelled", "suppressed")]

    async def test_a_run_that_failed_meanwhile_is_tried_again_for_the_patient(self, engine: EngineDriver) -> None:
        await engine.publish(definition(send()) | {"exit": [heard(UPDATED)]})
        visit = await nobodys(engine)
        await engine.answer((await engine.requests())[0], Outcome.FAILED, "no_patient")
        await engine.deliver(visit.matched())
        (run,) = await engine.runs()
        await engine.retry(run.id)
        assert [request.patient_id for request in await engine.requests()] == [None, visit.patient_id]
        await engine.deliver(visit.updated("phone"))
        assert [(run.status, run.error_code) for run in await engine.runs()] == [("cancelled", "exit_condition")]

    async def test_of_somebody_suppressed_it_is_not(self, engine: EngineDriver) -> None:
        await engine.publish(definition(send()))
        visit = await nobodys(engine)
        assert visit.patient_id is not None
        await engine.answer((await engine.requests())[0], Outcome.FAILED, "no_patient")
        await engine.deliver(visit.matched())
        await engine.suppress(visit.patient_id)
        (run,) = await engine.runs()
        await engine.retry(run.id)
        assert len(await engine.requests()) == 1
        assert [(run.status, run.error_code) for run in await engine.runs()] == [("cancelled", "suppressed")]
