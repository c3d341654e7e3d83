"""Appointments booked before a workflow was published: part of the suite every engine passes."""

from __future__ import annotations

from datetime import timedelta

import pytest

from libs.contracts.workflows import AppointmentIncluded
from services.workflows.tests.engine.appointments import DAY, reminded, reminded_at
from services.workflows.tests.engine.driver import EngineDriver
from services.workflows.tests.engine.world import HOURS, Visit, booked, definition, reminder, send


class ExistingSuite:
    async def test_what_was_booked_before_is_reminded_of_once_and_follows_its_appointment(self, engine: EngineDriver) -> None:
        visit = await booked(engine, Visit(starts_at=engine.now + 3 * DAY))
        await engine.publish(reminder("trigger"))
        await engine.deliver(visit.moved(engine.now + 5 * DAY))
        await reminded_at(engine, visit.starts_at - DAY)
        await engine.pass_time(5 * DAY)
        assert await reminded(engine) == 1
        assert len(await engine.runs()) == 1
        (said,) = await engine.said(AppointmentIncluded)
        assert isinstance(said, AppointmentIncluded)
        assert (said.appointment_id, said.again) == (visit.appointment_id, False)

    async def test_whoever_publishes_may_leave_them_out(self, engine: EngineDriver) -> None:
        old = await booked(engine, Visit(starts_at=engine.now + 3 * DAY))
        workflow = await engine.publish(reminder("trigger"), include_existing=False)
        new = await booked(engine, Visit(starts_at=engine.now + 3 * DAY))
        await engine.publish(reminder("trigger"), workflow)  # an edit of what is in force does not take them up by itself
        assert len(await engine.runs()) == 1
        await engine.publish(reminder("trigger"), workflow, include_existing=True)
        await engine.pass_time(3 * DAY)
        assert sorted(str(one.patient_id) for one in await engine.requests()) == sorted(str(one.patient_id) for one in (old, new))

    async def test_what_is_over_or_cancelled_is_left_alone(self, engine: EngineDriver) -> None:
        cancelled = await booked(engine, Visit(starts_at=engine.now + 3 * DAY))
        await engine.deliver(cancelled.cancelled())
        await booked(engine, Visit(starts_at=engine.now - HOURS))
        await engine.publish(reminder("trigger"))
        assert await engine.runs() == []

    @pytest.mark.parametrize(("policy", "count"), [("proceed", 1), ("skip", 0), ("PT2H", 1), ("PT12H", 0)])
    async def test_inside_the_window_the_policy_decides(self, engine: EngineDriver, policy: str, count: int) -> None:
        await booked(engine, Visit(starts_at=engine.now + timedelta(hours=8)))
        await engine.publish(reminder("trigger", policy=policy))
        assert await reminded(engine) == count
        await engine.pass_time(3 * DAY)
        assert await reminded(engine) == count

    async def test_published_again_it_reminds_nobody_twice(self, engine: EngineDriver) -> None:
        """Neither while the first run waits, nor once it is over, nor by an edit in between."""
        visit = await booked(engine, Visit(starts_at=engine.now + 3 * DAY))
        workflow = await engine.publish(reminder("trigger"))
        await engine.publish(reminder("trigger", policy="skip"), workflow, include_existing=True)
        await engine.unpublish(workflow)
        await engine.publish(reminder("trigger"), workflow)
        await reminded_at(engine, visit.starts_at - DAY)
        await engine.unpublish(workflow)
        await engine.publish(reminder("trigger"), workflow)
        await engine.pass_time(3 * DAY)
        assert await reminded(engine) == 1
        assert [run.version for run in await engine.runs()] == [1]

    async def test_booked_while_it_was_not_published_is_taken_up_when_it_is_again(self, engine: EngineDriver) -> None:
        workflow = await engine.publish(reminder("trigger"))
        await engine.unpublish(workflow)
        visit = await booked(engine, Visit(starts_at=engine.now + 3 * DAY))
        await engine.publish(reminder("trigger"), workflow)
        await reminded_at(engine, visit.starts_at - DAY)

    async def test_moved_after_its_reminder_while_it_was_not_published_it_is_reminded_of_anew(self, engine: EngineDriver) -> None:
        visit = await booked(engine, Visit(starts_at=engine.now + 2 * DAY))
        workflow = await engine.publish(reminder("trigger"))
        await reminded_at(engine, visit.starts_at - DAY)
        await engine.unpublish(workflow)
        await engine.pass_time(HOURS)
        await engine.deliver(visit.moved(engine.now + 4 * DAY))
        await engine.publish(reminder("trigger"), workflow)
        await reminded_at(engine, visit.starts_at - DAY, count=2)
        await engine.pass_time(3 * DAY)
        assert await reminded(engine) == 2

    async def test_cancelled_and_back_while_it_was_not_published_it_is_reminded_of(self, engine: EngineDriver) -> None:
        visit = await booked(engine, Visit(starts_at=engine.now + 3 * DAY))
        workflow = await engine.publish(reminder("trigger"))
        await engine.deliver(visit.cancelled())
        await engine.unpublish(workflow)
        await engine.deliver(visit.moved(engine.now + 4 * DAY))
        await engine.publish(reminder("trigger"), workflow)
        await reminded_at(engine, visit.starts_at - DAY)

    async def test_a_reminder_somebody_called_off_stays_called_off(self, engine: EngineDriver) -> None:
        await booked(engine, Visit(starts_at=engine.now + 3 * DAY))
        workflow = await engine.publish(reminder("trigger"))
        await engine.cancel((await engine.runs())[0].id)
        await engine.unpublish(workflow)
        await engine.publish(reminder("trigger"), workflow)
        await engine.pass_time(3 * DAY)
        assert await reminded(engine) == 0

    async def test_enrolment_and_the_suppression_list_count_as_for_a_booking(self, engine: EngineDriver) -> None:
        visit = await booked(engine, Visit(starts_at=engine.now + 3 * DAY))
        await engine.deliver(visit.again(engine.now + 4 * DAY).booked())
        nobody = await booked(engine, Visit(starts_at=engine.now + 3 * DAY))
        assert nobody.patient_id is not None
        await engine.suppress(nobody.patient_id)
        await engine.publish(reminder("trigger", enrolment={"policy": "once"}))
        await engine.pass_time(4 * DAY)
        assert [request.patient_id for request in await engine.requests()] == [visit.patient_id]

    async def test_a_patient_found_later_gets_no_second_one(self, engine: EngineDriver) -> None:
        waiting, sent = Visit(starts_at=engine.now + 3 * DAY), Visit(starts_at=engine.now + timedelta(hours=8))
        await engine.deliver(waiting.registered(), sent.registered(), waiting.unmatched(), sent.unmatched())
        await engine.publish(reminder("trigger"))
        assert await reminded(engine) == 1
        await engine.deliver(waiting.matched(), sent.matched())
        await engine.pass_time(3 * DAY)
        assert await reminded(engine) == 2
        assert len(await engine.runs()) == 2

    async def test_its_expressions_see_the_appointment_as_of_a_booking(self, engine: EngineDriver) -> None:
        text = "{{event.title}} with {{event.resource}} for {{patient.given_name}}"
        await booked(engine, Visit(starts_at=engine.now + timedelta(hours=8)))
        await engine.publish(reminder("trigger") | {"steps": [send("remind", text=text)]})
        assert [request.parameters["text"] for request in await engine.requests()] == ["First visit with calcom/1 for Kim"]

    async def test_a_workflow_that_waits_for_bookings_takes_up_none(self, engine: EngineDriver) -> None:
        visit = await booked(engine, Visit(starts_at=engine.now + 3 * DAY))
        workflow = await engine.publish(definition())
        assert await engine.runs() == []
        await engine.publish(reminder("trigger"), workflow)  # now it is anchored, for the first time
        await reminded_at(engine, visit.starts_at - DAY)
