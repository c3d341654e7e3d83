"""Times that hang on an appointment: part of the suite every engine passes. As a trigger and as a step, the same stories."""

from __future__ import annotations

from datetime import datetime, time, timedelta
from zoneinfo import ZoneInfo

import pytest

from services.workflows.tests.engine.driver import EngineDriver
from services.workflows.tests.engine.world import BERLIN, SECOND, Visit, anchor, booked, clock_change, pass_until, reminder

DAY = timedelta(days=1)
BOTH = pytest.mark.parametrize("form", ["trigger", "step"])


async def reminded(engine: EngineDriver) -> int:
    return len(await engine.requests())


async def reminded_at(engine: EngineDriver, moment: datetime, count: int = 1) -> None:
    """Not a second before, and then."""
    await pass_until(engine, moment - SECOND)
    assert await reminded(engine) == count - 1
    await engine.pass_time(SECOND)
    assert await reminded(engine) == count


class AnchoredSuite:
    @BOTH
    async def test_it_comes_a_day_before_and_once(self, engine: EngineDriver, form: str) -> None:
        await engine.publish(reminder(form))
        visit = await booked(engine, Visit(starts_at=engine.now + 3 * DAY))
        await reminded_at(engine, visit.starts_at - DAY)
        await engine.pass_time(5 * DAY)
        assert await reminded(engine) == 1
        assert len(await engine.runs()) == 1

    @BOTH
    async def test_it_follows_an_appointment_that_moves_later_and_earlier(self, engine: EngineDriver, form: str) -> None:
        await engine.publish(reminder(form))
        visit = await booked(engine, Visit(starts_at=engine.now + 3 * DAY))
        await engine.deliver(visit.moved(engine.now + 6 * DAY))
        await engine.pass_time(4 * DAY)
        assert await reminded(engine) == 0
        await engine.deliver(visit.moved(engine.now + timedelta(hours=30)))
        await reminded_at(engine, visit.starts_at - DAY)
        assert len(await engine.runs()) == 1

    @BOTH
    async def test_moved_twice_it_comes_before_the_last_time_only(self, engine: EngineDriver, form: str) -> None:
        await engine.publish(reminder(form))
        visit = await booked(engine, Visit(starts_at=engine.now + 3 * DAY))
        first, second = visit.moved(engine.now + 8 * DAY), visit.moved(engine.now + 5 * DAY)
        await engine.deliver(first)
        await engine.restart()
        await engine.deliver(second, first)
        await engine.deliver(second)
        await reminded_at(engine, visit.starts_at - DAY)
        await engine.pass_time(9 * DAY)
        assert await reminded(engine) == 1

    @BOTH
    async def test_it_disappears_with_an_appointment_that_is_cancelled(self, engine: EngineDriver, form: str) -> None:
        await engine.publish(reminder(form))
        visit = await booked(engine, Visit(starts_at=engine.now + 3 * DAY))
        await engine.deliver(visit.cancelled())
        (run,) = await engine.runs()
        assert (run.status, run.error_code) == ("cancelled", "appointment_cancelled")
        await engine.pass_time(4 * DAY)
        assert await reminded(engine) == 0

    @BOTH
    async def test_cancelled_and_booked_anew_it_comes_for_the_new_one(self, engine: EngineDriver, form: str) -> None:
        await engine.publish(reminder(form, enrolment={"policy": "once"}) if form == "trigger" else reminder(form))
        visit = await booked(engine, Visit(starts_at=engine.now + 3 * DAY))
        await engine.deliver(visit.cancelled())
        another = visit.again(engine.now + 5 * DAY)
        await engine.deliver(another.booked())
        await reminded_at(engine, another.starts_at - DAY)
        assert sorted(run.status for run in await engine.runs()) == ["cancelled", "running"]

    async def test_an_appointment_that_comes_back_to_life_is_reminded_of(self, engine: EngineDriver) -> None:
        await engine.publish(reminder("trigger"))
        visit = await booked(engine, Visit(starts_at=engine.now + 3 * DAY))
        await engine.deliver(visit.cancelled())
        await engine.deliver(visit.moved(engine.now + 4 * DAY))
        await reminded_at(engine, visit.starts_at - DAY)

    async def test_moved_after_it_came_it_comes_again_for_the_new_time(self, engine: EngineDriver) -> None:
        await engine.publish(reminder("trigger"))
        visit = await booked(engine, Visit(starts_at=engine.now + 2 * DAY))
        await reminded_at(engine, visit.starts_at - DAY)
        await engine.deliver(visit.moved(engine.now + 4 * DAY))
        await reminded_at(engine, visit.starts_at - DAY, count=2)

    async def test_its_condition_is_asked_when_the_time_has_come(self, engine: EngineDriver) -> None:
        await engine.publish(reminder("trigger", condition="appointment.status == 'booked' && patient.email != null"))
        confirmed, waiting, later = (Visit(starts_at=engine.now + 3 * DAY) for _ in range(3))
        later.email = None
        for visit in (confirmed, waiting, later):
            await booked(engine, visit)
        later.email = "kim.lorenz@patients.example"
        await engine.deliver(confirmed.confirmed(), later.updated("email"))
        await engine.pass_time(2 * DAY)
        assert {request.patient_id for request in await engine.requests()} == {waiting.patient_id, later.patient_id}
        assert sorted(run.status for run in await engine.runs()) == ["completed", "running", "running"]

    async def test_an_appointment_whose_patient_is_found_meanwhile_reminds_that_patient(self, engine: EngineDriver) -> None:
        await engine.publish(reminder("trigger", condition="patient.email != null"))
        visit = Visit(starts_at=engine.now + 3 * DAY)
        await engine.deliver(visit.registered(), visit.unmatched())
        await engine.deliver(visit.matched())
        await engine.pass_time(2 * DAY)
        assert [request.patient_id for request in await engine.requests()] == [visit.patient_id]

    async def test_after_the_appointment_is_a_time_too(self, engine: EngineDriver) -> None:
        await engine.publish(reminder("trigger", anchor("PT2H", of="ends_at")))
        visit = await booked(engine, Visit(starts_at=engine.now + DAY))
        await engine.deliver(visit.moved(engine.now + 2 * DAY))
        await reminded_at(engine, visit.starts_at + timedelta(hours=2, minutes=30))

    @BOTH
    async def test_after_the_appointment_it_comes_once_however_the_visit_was_marked(self, engine: EngineDriver, form: str) -> None:
        await engine.publish(reminder(form, anchor("PT2H", of="ends_at")))
        visits = [await booked(engine, Visit(starts_at=engine.now + DAY)) for _ in range(3)]
        completed, missed, corrected = visits
        await pass_until(engine, completed.starts_at + timedelta(minutes=20))
        await engine.deliver(completed.completed(), missed.missed(), corrected.missed(), corrected.reopened(), corrected.completed())
        assert await reminded(engine) == 0
        await pass_until(engine, completed.starts_at + timedelta(hours=2, minutes=30))
        assert {request.patient_id for request in await engine.requests()} == {visit.patient_id for visit in visits}
        await engine.pass_time(3 * DAY)
        assert await reminded(engine) == len(visits)

    async def test_after_the_appointment_its_condition_knows_who_came(self, engine: EngineDriver) -> None:
        await engine.publish(reminder("trigger", anchor("PT2H", of="ends_at"), condition="appointment.status == 'completed'"))
        came, missed, taken_back, _ = [await booked(engine, Visit(starts_at=engine.now + DAY)) for _ in range(4)]
        await pass_until(engine, came.starts_at + timedelta(minutes=20))
        await engine.deliver(came.completed(), missed.completed(), missed.missed(), taken_back.completed(), taken_back.reopened())
        await engine.pass_time(DAY)
        assert [request.patient_id for request in await engine.requests()] == [came.patient_id]
        assert sorted(run.status for run in await engine.runs()) == ["completed", "completed", "completed", "running"]


class PastDueSuite:
    @BOTH
    @pytest.mark.parametrize(("policy", "count"), [("proceed", 1), ("skip", 0), ("PT2H", 1), ("PT12H", 0)])
    async def test_booked_inside_the_window_the_policy_decides(self, engine: EngineDriver, form: str, policy: str, count: int) -> None:
        await engine.publish(reminder(form, policy=policy))
        await booked(engine, Visit(starts_at=engine.now + timedelta(hours=8)))
        assert await reminded(engine) == count
        await engine.pass_time(3 * DAY)
        assert await reminded(engine) == count
        assert [run.status for run in await engine.runs()] == ["running" if count else "completed"]

    @BOTH
    @pytest.mark.parametrize(("policy", "count"), [("proceed", 1), ("skip", 0), ("PT2H", 1), ("PT12H", 0)])
    async def test_moved_so_that_it_is_over_the_policy_decides(self, engine: EngineDriver, form: str, policy: str, count: int) -> None:
        await engine.publish(reminder(form, policy=policy))
        visit = await booked(engine, Visit(starts_at=engine.now + 3 * DAY))
        await engine.deliver(visit.moved(engine.now + timedelta(hours=8)))
        assert await reminded(engine) == count
        await engine.pass_time(3 * DAY)
        assert await reminded(engine) == count

    @BOTH
    @pytest.mark.parametrize(("policy", "count"), [("proceed", 1), ("skip", 0), ("PT2H", 1), ("PT22H", 0)])
    async def test_due_while_nobody_was_there_the_policy_decides(self, engine: EngineDriver, form: str, policy: str, count: int) -> None:
        await engine.publish(reminder(form, policy=policy))
        await booked(engine, Visit(starts_at=engine.now + 3 * DAY))
        await engine.restart(away=2 * DAY + timedelta(hours=3))
        assert await reminded(engine) == count

    @BOTH
    @pytest.mark.parametrize(("policy", "late", "count"), [("skip", 1, 1), ("skip", 60, 1), ("skip", 61, 0), ("P1D", 1, 1), ("P1D", 61, 0)])
    async def test_news_that_comes_before_the_timer_has_rung_does_not_make_it_late(
        self, engine: EngineDriver, form: str, policy: str, late: int, count: int
    ) -> None:
        """A confirmation is handled a moment after the reminder fell due; the timer rings a moment later."""
        await engine.publish(reminder(form, policy=policy))
        visit = await booked(engine, Visit(starts_at=engine.now + 3 * DAY))
        await pass_until(engine, visit.starts_at - DAY - SECOND)
        await engine.deliver_later((1 + late) * SECOND, visit.confirmed())
        assert await reminded(engine) == count
        await engine.pass_time(DAY)
        assert await reminded(engine) == count

    @BOTH
    async def test_a_move_and_the_timer_may_come_in_either_order(self, engine: EngineDriver, form: str) -> None:
        await engine.publish(reminder(form, policy="skip"))
        first, second = (Visit(starts_at=engine.now + 3 * DAY) for _ in range(2))
        await booked(engine, first)
        await booked(engine, second)
        await engine.pass_time(2 * DAY - SECOND)
        await engine.deliver(first.moved(engine.now + 5 * DAY))
        await engine.pass_time(SECOND)
        assert [request.patient_id for request in await engine.requests()] == [second.patient_id]
        await engine.deliver(second.moved(engine.now + 5 * DAY))
        await engine.pass_time(6 * DAY)
        asked = [request.patient_id for request in await engine.requests()]
        assert asked.count(first.patient_id) == 1
        assert asked.count(second.patient_id) == (2 if form == "trigger" else 1)  # a trigger: one for each time there was


class ClocksSuite:
    @BOTH
    @pytest.mark.parametrize("spring", [True, False])
    async def test_24_hours_before_are_24_hours_also_when_the_clocks_change(self, engine: EngineDriver, form: str, spring: bool) -> None:
        await engine.publish(reminder(form, anchor("-PT24H")))
        day = clock_change(engine.now, spring=spring)
        visit = await booked(engine, Visit(starts_at=datetime.combine(day, time(10), tzinfo=BERLIN)))
        local = datetime.combine(day - DAY, time(9 if spring else 11), tzinfo=BERLIN)
        assert local.timestamp() == visit.starts_at.timestamp() - 24 * 3600
        await reminded_at(engine, local)

    @BOTH
    @pytest.mark.parametrize("spring", [True, False])
    async def test_at_a_local_hour_is_that_hour_also_when_the_clocks_change(self, engine: EngineDriver, form: str, spring: bool) -> None:
        await engine.publish(reminder(form, anchor("-P1D", at="18:00")))
        day = clock_change(engine.now, spring=spring)
        await booked(engine, Visit(starts_at=datetime.combine(day, time(23, 30), tzinfo=BERLIN)))
        await reminded_at(engine, datetime.combine(day - DAY, time(18), tzinfo=BERLIN))

    @BOTH
    @pytest.mark.parametrize(("spring", "utc_hour"), [(True, 1), (False, 0)])
    async def test_an_hour_that_is_skipped_or_comes_twice_comes_once(
        self, engine: EngineDriver, form: str, spring: bool, utc_hour: int
    ) -> None:
        """Half past two: in spring it is half past three already, in autumn it is the first of two."""
        await engine.publish(reminder(form, anchor("PT0S", at="02:30")))
        day = clock_change(engine.now, spring=spring)
        await booked(engine, Visit(starts_at=datetime.combine(day, time(10), tzinfo=BERLIN)))
        await reminded_at(engine, datetime.combine(day, time(utc_hour, 30), tzinfo=ZoneInfo("UTC")))
        await engine.pass_time(2 * DAY)
        assert await reminded(engine) == 1

    async def test_the_appointments_zone_counts_and_may_change(self, engine: EngineDriver) -> None:
        await engine.publish(reminder("trigger", anchor("-P1D", at="08:00")))
        day = (engine.now + 5 * DAY).date()
        visit = await booked(engine, Visit(starts_at=datetime.combine(day, time(17), tzinfo=BERLIN)))
        tokyo = ZoneInfo("Asia/Tokyo")
        await engine.deliver(visit.moved(datetime.combine(day, time(17), tzinfo=tokyo), "Asia/Tokyo"))
        await reminded_at(engine, datetime.combine(day - DAY, time(8), tzinfo=tokyo))
