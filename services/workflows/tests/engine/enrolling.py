"""Who goes through a workflow how often: part of the suite every engine passes."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from libs.contracts.actions import Outcome
from services.workflows.tests.engine.driver import EngineDriver
from services.workflows.tests.engine.world import HOURS, Visit, booked, definition, reminder, send, wait

DAY = timedelta(days=1)


def enrolled(policy: str, **more: Any) -> dict[str, Any]:
    return definition(wait(), send()) | {"enrolment": {"policy": policy, **more}}


class EnrolmentSuite:
    @pytest.mark.parametrize(("policy", "while_active", "after"), [("every", 2, 3), ("once", 1, 1), ("once_while_active", 1, 2)])
    async def test_a_patient_goes_through_as_often_as_the_policy_says(
        self, engine: EngineDriver, policy: str, while_active: int, after: int
    ) -> None:
        await engine.publish(enrolled(policy))
        visit = await booked(engine)
        await engine.deliver(visit.again().booked())
        assert len(await engine.runs()) == while_active
        await engine.pass_time(2 * HOURS)
        for request in await engine.requests():
            await engine.answer(request, Outcome.SUCCEEDED)
        await engine.restart()
        await engine.deliver(visit.again().booked())
        assert len(await engine.runs()) == after

    @pytest.mark.parametrize("policy", ["once", "once_while_active"])
    async def test_two_events_of_one_batch_are_two_events(self, engine: EngineDriver, policy: str) -> None:
        await engine.publish(enrolled(policy))
        visit, other = Visit(), Visit()
        await engine.deliver(visit.registered(), other.registered(), visit.booked(), visit.again().booked(), other.booked())
        assert len(await engine.runs()) == 2

    async def test_a_patient_may_come_again_after_the_time_that_is_said(self, engine: EngineDriver) -> None:
        await engine.publish(enrolled("once", again_after="P30D"))
        visit = await booked(engine)
        await engine.pass_time(30 * DAY - HOURS)
        await engine.deliver(visit.again().booked())
        assert len(await engine.runs()) == 1
        await engine.pass_time(HOURS)
        await engine.deliver(visit.again().booked())
        assert len(await engine.runs()) == 2
        await engine.deliver(visit.again().booked())
        assert len(await engine.runs()) == 2

    async def test_hearing_of_a_booking_again_makes_nobody_later(self, engine: EngineDriver) -> None:
        """Said again, or matched late, it is the run it was: the time after which the patient may come again goes by when it began."""
        await engine.publish(enrolled("once", again_after="P30D"))
        visit = await booked(engine)
        await engine.pass_time(30 * DAY + HOURS)
        await engine.deliver(visit.booked(), visit.matched())
        assert len(await engine.runs()) == 1
        await engine.deliver(visit.again().booked())
        assert len(await engine.runs()) == 2

    async def test_a_booking_matched_late_counts_as_its_patients_from_when_it_was_booked(self, engine: EngineDriver) -> None:
        await engine.publish(enrolled("once", again_after="P30D"))
        visit = Visit()
        await engine.deliver(visit.registered(), visit.unmatched())
        await engine.pass_time(10 * DAY)
        await engine.deliver(visit.matched())
        await engine.deliver(visit.again().booked())
        assert len(await engine.runs()) == 1
        await engine.pass_time(20 * DAY)
        await engine.deliver(visit.again().booked())
        assert len(await engine.runs()) == 2

    async def test_a_key_says_what_counts_as_the_same(self, engine: EngineDriver) -> None:
        await engine.publish(enrolled("by_key", key="event.patient_id + event.title"))
        visit = await booked(engine)
        same, another = visit.again(), visit.again()
        another.title = "Check-up"
        await engine.deliver(same.booked(), another.booked())
        assert len(await engine.runs()) == 2

    async def test_one_run_waits_for_the_time_of_an_appointment(self, engine: EngineDriver) -> None:
        await engine.publish(reminder("trigger"))
        visit = Visit(starts_at=engine.now + 5 * DAY)
        await engine.deliver(visit.registered(), visit.booked(), visit.moved(engine.now + 6 * DAY))
        await engine.deliver(visit.moved(engine.now + 7 * DAY))
        assert len(await engine.runs()) == 1
