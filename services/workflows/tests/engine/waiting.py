"""Waits for local times and for events: part of the suite every engine passes."""

from __future__ import annotations

from datetime import datetime, time, timedelta
from zoneinfo import ZoneInfo

import pytest

from libs.contracts.actions import Outcome
from services.workflows.tests.engine.driver import EngineDriver
from services.workflows.tests.engine.world import (
    BERLIN,
    BOOKED,
    CANCELLED,
    CONFIRMED,
    HOURS,
    SECOND,
    UPDATED,
    Visit,
    booked,
    definition,
    heard,
    pass_until,
    practice_created,
    send,
    until,
    wait,
    wait_for,
)

DAY = timedelta(days=1)
NEW_YORK = ZoneInfo("America/New_York")


def local(now: datetime, days: int, at: time, zone: ZoneInfo = BERLIN) -> datetime:
    """That time of the day so many days after today's."""
    return datetime.combine(now.astimezone(zone).date() + days * DAY, at, tzinfo=zone)


class LocalTimesSuite:
    @pytest.mark.parametrize(("lives_in", "counts"), [(None, BERLIN), ("America/New_York", NEW_YORK)])
    async def test_until_nine_oclock_where_the_patient_lives(self, engine: EngineDriver, lives_in: str | None, counts: ZoneInfo) -> None:
        await engine.deliver(practice_created(engine.practice))
        await engine.publish(definition(until(at="09:00", zone="patient"), send()))
        await pass_until(engine, local(engine.now, 1, time(9, 30), counts))
        await booked(engine, Visit(lives_in=lives_in))
        await pass_until(engine, local(engine.now, 1, time(9), counts) - SECOND)
        assert await engine.requests() == []
        await engine.pass_time(SECOND)
        assert len(await engine.requests()) == 1

    async def test_the_practices_clock_counts_unless_the_patients_is_wanted(self, engine: EngineDriver) -> None:
        await engine.deliver(practice_created(engine.practice))
        await engine.publish(definition(until(at="09:00"), send()))
        await pass_until(engine, local(engine.now, 1, time(8, 30)))
        await booked(engine, Visit(lives_in="America/New_York"))
        await engine.pass_time(timedelta(minutes=30))
        assert len(await engine.requests()) == 1

    async def test_until_the_practice_is_open_not_on_holidays(self, engine: EngineDriver) -> None:
        monday = local(engine.now, 7 - engine.now.astimezone(BERLIN).weekday(), time(8))
        holidays = [(monday.date(), monday.date())]
        hours = [("monday", "08:00", "12:00"), ("monday", "14:00", "18:00"), ("tuesday", "15:00", "17:00")]
        await engine.deliver(practice_created(engine.practice, hours, holidays))
        await engine.publish(definition(until(opening=True), send()))
        await pass_until(engine, monday)
        waiting = await booked(engine)
        tuesday = local(monday, 1, time(15))
        await pass_until(engine, tuesday - SECOND)
        assert waiting.patient_id not in {request.patient_id for request in await engine.requests()}
        await engine.pass_time(SECOND)
        assert waiting.patient_id in {request.patient_id for request in await engine.requests()}

    async def test_while_it_is_open_there_is_nothing_to_wait_for(self, engine: EngineDriver) -> None:
        await engine.deliver(practice_created(engine.practice))
        await engine.publish(definition(until(opening=True), send()))
        await booked(engine)
        await engine.pass_time(SECOND)
        assert len(await engine.requests()) == 1

    async def test_quiet_hours_are_waited_out(self, engine: EngineDriver) -> None:
        await engine.deliver(practice_created(engine.practice))
        await engine.publish(definition(until(not_between=["21:00", "08:00"]), send()))
        await pass_until(engine, local(engine.now, 1, time(23)))
        await booked(engine)
        await engine.pass_time(9 * HOURS - SECOND)
        assert await engine.requests() == []
        await engine.pass_time(SECOND)
        assert len(await engine.requests()) == 1
        await booked(engine)
        await engine.pass_time(SECOND)
        assert len(await engine.requests()) == 2

    async def test_missed_while_nobody_was_there_it_waits_for_the_next_time_that_may_be(self, engine: EngineDriver) -> None:
        await engine.deliver(practice_created(engine.practice))
        await engine.publish(definition(until(at="09:00", not_between=["21:00", "08:00"]), send()))
        await pass_until(engine, local(engine.now, 1, time(8)))
        await booked(engine)
        await engine.restart(away=14 * HOURS)  # it is ten in the evening
        assert await engine.requests() == []
        await engine.pass_time(11 * HOURS)
        assert len(await engine.requests()) == 1


class EventWaitsSuite:
    async def test_the_first_of_several_events_counts_and_later_steps_know_which(self, engine: EngineDriver) -> None:
        text = "{{ steps.reply.outcome }} {{ steps.reply.number }} {{ steps.reply.event.version }}"
        await engine.publish(definition(wait_for(heard(UPDATED), heard(CONFIRMED)), send(text=text)))
        visit = await booked(engine)
        await engine.deliver(visit.confirmed(), visit.updated("phone"))
        (request,) = await engine.requests()
        assert request.parameters["text"] == "event 1 2"

    async def test_an_event_counts_when_its_condition_holds(self, engine: EngineDriver) -> None:
        await engine.publish(
            definition(wait_for(heard(UPDATED, "'email' in event.changed && event.patient_id == trigger.patient_id")), send())
        )
        visit = await booked(engine)
        await engine.deliver(visit.updated("phone"))
        assert await engine.requests() == []
        await engine.deliver(visit.updated("email"))
        assert len(await engine.requests()) == 1

    async def test_events_about_others_do_not_count(self, engine: EngineDriver) -> None:
        await engine.publish(definition(wait_for(heard(CONFIRMED), about="appointment"), send()))
        visit = await booked(engine)
        other = visit.again()
        await engine.deliver(Visit().registered(), other.confirmed())
        assert await engine.requests() == []
        await engine.deliver(visit.confirmed())
        assert len(await engine.requests()) == 1

    async def test_without_an_event_it_goes_on_after_the_time_out(self, engine: EngineDriver) -> None:
        await engine.publish(definition(wait_for(heard(CONFIRMED), timeout="PT6H"), send(text="{{ steps.reply.outcome }}")))
        visit = await booked(engine)
        await engine.pass_time(6 * HOURS - SECOND)
        assert await engine.requests() == []
        await engine.pass_time(SECOND)
        await engine.deliver(visit.confirmed())
        assert [request.parameters["text"] for request in await engine.requests()] == ["timed_out"]

    async def test_two_waits_take_two_events_of_one_batch_in_their_order(self, engine: EngineDriver) -> None:
        await engine.publish(definition(wait_for(heard(UPDATED)), wait_for(heard(CONFIRMED), step="then"), send()))
        in_order, reversed_ = await booked(engine), await booked(engine)
        await engine.deliver(in_order.updated("phone"), in_order.confirmed(), reversed_.confirmed(), reversed_.updated("phone"))
        assert [request.patient_id for request in await engine.requests()] == [in_order.patient_id]

    async def test_one_event_ends_one_wait_however_often_it_comes(self, engine: EngineDriver) -> None:
        await engine.publish(definition(wait_for(heard(UPDATED)), wait_for(heard(UPDATED), step="then", look_back="PT1H"), send()))
        visit = await booked(engine)
        event = visit.updated("phone")
        await engine.deliver(event, event)
        await engine.restart()
        await engine.deliver(event)
        assert await engine.requests() == []
        await engine.deliver(visit.updated("phone"))
        assert len(await engine.requests()) == 1

    async def test_what_started_the_run_is_not_what_it_waits_for(self, engine: EngineDriver) -> None:
        await engine.publish(definition(wait_for(heard(BOOKED), look_back="PT1H"), send()) | {"enrolment": {"policy": "once"}})
        visit = await booked(engine)
        assert await engine.requests() == []
        await engine.deliver(visit.again().booked())
        assert len(await engine.requests()) == 1

    async def test_looking_back_goes_as_far_as_it_says(self, engine: EngineDriver) -> None:
        await engine.publish(definition(wait("PT2H"), wait_for(heard(CONFIRMED), look_back="PT1H"), send()))
        early, late = await booked(engine), await booked(engine)
        await engine.pass_time(HOURS / 2)
        await engine.deliver(early.confirmed())
        await engine.pass_time(HOURS)
        await engine.deliver(late.confirmed())
        await engine.pass_time(HOURS)
        assert [request.patient_id for request in await engine.requests()] == [late.patient_id]

    async def test_an_exit_condition_ends_the_run_wherever_it_is(self, engine: EngineDriver) -> None:
        exits = {"exit": [heard(CONFIRMED, "event.appointment_id == trigger.appointment_id")]}
        await engine.publish(definition(send("first"), wait(), send("second")) | exits)
        asked, waiting, unmoved = await booked(engine), await booked(engine), await booked(engine)
        for request in await engine.requests():
            if request.patient_id != asked.patient_id:
                await engine.answer(request, Outcome.SUCCEEDED)
        await engine.deliver(asked.confirmed(), waiting.confirmed(), unmoved.again().confirmed())
        await engine.pass_time(3 * HOURS)
        ended = [(run.error_code, run.steps) for run in await engine.runs() if run.status == "cancelled"]
        assert sorted(ended) == [
            ("exit_condition", (("first", "requested"),)),
            ("exit_condition", (("first", "succeeded"), ("pause", "cancelled"))),
        ]
        assert [request.patient_id for request in await engine.requests() if request.step_id == "second"] == [unmoved.patient_id]

    @pytest.mark.parametrize(("more", "ended"), [({}, 1), ({"about": "appointment"}, 1), ({"about": "patient"}, 2)])
    async def test_an_exit_means_the_runs_own_appointment_unless_it_says_the_patient(
        self, engine: EngineDriver, more: dict[str, str], ended: int
    ) -> None:
        await engine.publish(definition(wait(), send()) | {"exit": [heard(CANCELLED) | more]})
        visit = await booked(engine)
        another = visit.again()
        await engine.deliver(another.booked())
        await engine.deliver(another.cancelled())
        await engine.restart()
        assert sum(run.error_code == "exit_condition" for run in await engine.runs()) == ended
        await engine.pass_time(3 * HOURS)
        assert len(await engine.requests()) == 2 - ended

    async def test_a_wait_for_news_of_an_appointment_means_the_runs_own(self, engine: EngineDriver) -> None:
        await engine.publish(definition(wait_for(heard(CONFIRMED), heard(CANCELLED)), send()) | {"condition": "event.title != 'Another'"})
        visit = await booked(engine)
        another = visit.again()
        another.title = "Another"
        await engine.deliver(another.booked(), another.confirmed(), another.cancelled())
        assert await engine.requests() == []
        await engine.deliver(visit.confirmed())
        assert len(await engine.requests()) == 1

    async def test_of_one_event_an_exit_counts_before_a_wait(self, engine: EngineDriver) -> None:
        waits = wait_for(heard(CANCELLED), about="patient")
        await engine.publish(definition(waits, send()) | {"exit": [heard(CANCELLED)]})
        visit = await booked(engine)
        await engine.deliver(visit.cancelled())
        assert [(run.status, run.error_code) for run in await engine.runs()] == [("cancelled", "exit_condition")]
        assert await engine.requests() == []
