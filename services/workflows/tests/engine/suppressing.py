"""Patients put on the suppression list: part of the suite every engine passes."""

from __future__ import annotations

from datetime import timedelta

from libs.contracts.actions import Outcome
from services.workflows.tests.engine.driver import EngineDriver
from services.workflows.tests.engine.world import CONFIRMED, HOURS, Visit, booked, definition, heard, reminder, send, wait, wait_for

DAY = timedelta(days=1)


class SuppressionSuite:
    async def test_nothing_starts_for_somebody_on_the_list(self, engine: EngineDriver) -> None:
        await engine.publish(definition())
        visit, other = Visit(), Visit()
        assert visit.patient_id is not None
        await engine.deliver(visit.registered(), other.registered())
        await engine.suppress(visit.patient_id)
        await engine.deliver(visit.booked(), other.booked())
        assert [request.patient_id for request in await engine.requests()] == [other.patient_id]
        assert len(await engine.runs()) == 1

    async def test_a_run_that_waits_ends_before_its_next_action(self, engine: EngineDriver) -> None:
        await engine.publish(definition(wait(), send()))
        await engine.publish(definition(wait_for(heard(CONFIRMED)), send("thanks")))
        visit, other = await booked(engine), await booked(engine)
        assert visit.patient_id is not None
        await engine.suppress(visit.patient_id)
        await engine.deliver(visit.confirmed(), other.confirmed())
        await engine.pass_time(3 * HOURS)
        assert {request.patient_id for request in await engine.requests()} == {other.patient_id}
        ended = sorted(run.steps for run in await engine.runs() if (run.status, run.error_code) == ("cancelled", "suppressed"))
        assert ended == [(("pause", "cancelled"),), (("reply", "cancelled"),)]

    async def test_what_was_asked_for_already_is_still_told_how_it_came_out(self, engine: EngineDriver) -> None:
        await engine.publish(definition(send("first"), send("second")))
        visit = await booked(engine)
        (request,) = await engine.requests()
        assert visit.patient_id is not None
        await engine.suppress(visit.patient_id)
        await engine.answer(request, Outcome.SUCCEEDED)
        assert len(await engine.requests()) == 1
        (run,) = await engine.runs()
        assert (run.status, run.error_code, run.steps) == ("cancelled", "suppressed", (("first", "succeeded"),))

    async def test_a_paused_run_ends_too(self, engine: EngineDriver) -> None:
        await engine.publish(definition(wait(), send()))
        visit = await booked(engine)
        (run,) = await engine.runs()
        assert visit.patient_id is not None
        await engine.pause(run.id)
        await engine.suppress(visit.patient_id)
        (run,) = await engine.runs()
        assert (run.status, run.error_code) == ("cancelled", "suppressed")

    async def test_a_reminder_of_an_appointment_that_turns_out_to_be_theirs_ends(self, engine: EngineDriver) -> None:
        await engine.publish(reminder("trigger"))
        visit = Visit(starts_at=engine.now + 3 * DAY)
        assert visit.patient_id is not None
        await engine.deliver(visit.registered(), visit.unmatched())
        await engine.suppress(visit.patient_id)
        await engine.deliver(visit.matched())
        await engine.pass_time(3 * DAY)
        assert await engine.requests() == []
        assert [(run.status, run.error_code) for run in await engine.runs()] == [("cancelled", "suppressed")]

    async def test_off_the_list_again_what_ended_stays_ended_and_new_runs_start(self, engine: EngineDriver) -> None:
        await engine.publish(definition(wait(), send()))
        visit = await booked(engine)
        assert visit.patient_id is not None
        await engine.suppress(visit.patient_id)
        await engine.admit(visit.patient_id)
        await engine.deliver(visit.again().booked())
        await engine.pass_time(3 * HOURS)
        assert len(await engine.requests()) == 1
        assert sorted(run.status for run in await engine.runs()) == ["cancelled", "running"]
