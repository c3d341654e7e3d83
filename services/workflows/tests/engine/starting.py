"""What starts a run, and what does not: part of the suite every engine passes."""

from __future__ import annotations

from datetime import timedelta
from uuid import uuid4

from libs.contracts.patients import PatientTagged, PatientUntagged
from libs.contracts.scheduling import AppointmentMatched, AppointmentStatus
from libs.contracts.workflows import RunFinished, RunStarted
from services.workflows.tests.engine.driver import EngineDriver
from services.workflows.tests.engine.world import HOURS, Visit, booked, definition, practice_created, send, wait


class StartingSuite:
    async def test_an_event_starts_a_run_and_its_action_is_asked_for_with_filled_parameters(self, engine: EngineDriver) -> None:
        await engine.deliver(practice_created(engine.practice))
        step = send(subject="{{ event.title }} at {{ practice.name }}", text="Dear {{ patient.given_name }}, {{ event.starts_at }}.")
        await engine.publish(definition(step, condition="patient.email != null"))
        visit = await booked(engine)
        (request,) = await engine.requests()
        (run,) = await engine.runs()
        assert request.parameters == {"subject": "First visit at Elm Street Practice", "text": "Dear Kim, 2030-01-31T09:30:00+00:00."}
        assert (request.owner, request.patient_id, request.run_id) == ("notifications", visit.patient_id, run.id)
        assert (run.status, run.steps) == ("running", (("intake", "requested"),))
        assert len(await engine.said(RunStarted)) == 1

    async def test_a_false_condition_starts_nothing(self, engine: EngineDriver) -> None:
        await engine.publish(definition(condition="patient.email != null"))
        await booked(engine, Visit(email=None))
        assert await engine.runs() == []

    async def test_a_condition_that_fails_is_a_failed_run_and_not_false(self, engine: EngineDriver) -> None:
        await engine.publish(definition(condition="patient.email.endsWith('.example')"))
        await booked(engine, Visit(email=None))
        (run,) = await engine.runs()
        assert (run.status, run.error_code) == ("failed", "condition_error:no_such_overload")
        assert await engine.requests() == []
        assert len(await engine.said(RunFinished)) == 1

    async def test_an_event_delivered_again_and_again_starts_one_run(self, engine: EngineDriver) -> None:
        await engine.publish(definition())
        visit = Visit()
        event = visit.booked()
        await engine.deliver(visit.registered(), event, event)
        for _ in range(3):
            await engine.deliver(event)
        await engine.restart()
        await engine.deliver(event)
        assert len(await engine.runs()) == 1
        assert len(await engine.requests()) == 1

    async def test_two_workflows_about_one_event_run_both(self, engine: EngineDriver) -> None:
        first, second = await engine.publish(definition(send("a"))), await engine.publish(definition(send("b")))
        await booked(engine)
        assert {run.workflow_id for run in await engine.runs()} == {first, second}
        assert len({request.effect_key for request in await engine.requests()}) == 2

    async def test_another_kind_of_event_and_another_practice_start_nothing(self, engine: EngineDriver) -> None:
        await engine.publish(definition())
        visit = Visit()
        await engine.deliver(visit.registered(), visit.confirmed())
        await engine.deliver_elsewhere(uuid4(), visit.registered(), visit.booked())
        assert await engine.runs() == []

    async def test_an_event_waits_for_news_of_its_patient_over_the_other_topic(self, engine: EngineDriver) -> None:
        await engine.publish(definition(condition="patient.email != null"))
        visit, other = Visit(), Visit()
        await engine.deliver(visit.booked(), other.registered(), other.booked())
        assert len(await engine.runs()) == 1  # nobody waits with it
        await engine.deliver(visit.registered())
        await engine.pass_time(timedelta(seconds=2))
        assert len(await engine.runs()) == 2
        assert {request.patient_id for request in await engine.requests()} == {visit.patient_id, other.patient_id}

    async def test_an_event_waits_for_news_of_its_practice_only_when_it_is_spoken_of(self, engine: EngineDriver) -> None:
        await engine.publish(definition(send(subject="From {{ practice.name }}")))
        await booked(engine)
        assert await engine.runs() == []
        await engine.deliver(practice_created(engine.practice))
        await engine.pass_time(timedelta(seconds=2))
        (request,) = await engine.requests()
        assert request.parameters["subject"] == "From Elm Street Practice"

    async def test_an_appointment_without_a_patient_has_a_patient_of_nulls(self, engine: EngineDriver) -> None:
        await engine.publish(definition(condition="patient.id == null"))
        await engine.deliver(Visit(patient_id=None).booked())
        (request,) = await engine.requests()
        assert request.patient_id is None

    async def test_a_booking_whose_patient_is_found_later_counts_as_booked_then_once(self, engine: EngineDriver) -> None:
        step = send(text="Dear {{ event.attendee.name }}, {{ event.double_booked }}")
        workflow = await engine.publish(definition(wait(), step, condition="patient.email != null && !event.double_booked"))
        visit = Visit()
        await engine.deliver(visit.registered(), visit.unmatched())
        assert await engine.runs() == []
        await engine.deliver(visit.matched())
        await engine.deliver(visit.matched())
        await engine.restart()
        await engine.pass_time(2 * HOURS)
        assert [run.workflow_id for run in await engine.runs()] == [workflow]
        (request,) = await engine.requests()
        assert (request.patient_id, request.parameters["text"]) == (visit.patient_id, "Dear Kim Lorenz, false")

    async def test_a_booking_that_ran_without_its_patient_runs_no_second_time(self, engine: EngineDriver) -> None:
        await engine.publish(definition())
        visit = Visit()
        await engine.deliver(visit.registered(), visit.unmatched(), visit.matched())
        assert len(await engine.requests()) == 1

    async def test_a_match_of_a_cancelled_booking_books_nothing(self, engine: EngineDriver) -> None:
        await engine.publish(definition(condition="patient.email != null"))
        visit = Visit()
        await engine.deliver(visit.registered(), visit.unmatched(), visit.matched(AppointmentStatus.CANCELLED))
        assert await engine.runs() == []

    async def test_a_match_starts_the_workflows_about_matches_too(self, engine: EngineDriver) -> None:
        matches = await engine.publish(definition(send("a"), event=AppointmentMatched.type))
        bookings = await engine.publish(definition(send("b")))
        visit = Visit()
        await engine.deliver(visit.registered(), visit.matched())
        assert {run.workflow_id for run in await engine.runs()} == {matches, bookings}


class TagsSuite:
    async def test_expressions_see_the_tags_a_patient_has_by_then(self, engine: EngineDriver) -> None:
        await engine.publish(definition(send(text="{{ string(patient.tags.size()) }}"), condition="'Recall' in patient.tags"))
        kim, alex, sam = Visit(), Visit(), Visit()
        await engine.deliver(*(visit.registered() for visit in (kim, alex, sam)))
        await engine.deliver(kim.tagged("Recall"), kim.tagged("Braces"), kim.tagged("Recall"), alex.tagged("Recall"), sam.tagged("Braces"))
        await engine.deliver(alex.untagged("Recall"), sam.untagged("Braces"), sam.tagged("Braces"), sam.untagged("Nothing"))
        await engine.deliver(kim.updated("phone"))
        await engine.deliver(*(visit.booked() for visit in (kim, alex, sam)))
        (request,) = await engine.requests()
        assert (request.patient_id, request.parameters["text"]) == (kim.patient_id, "2")

    async def test_a_run_that_a_tag_starts_sees_it(self, engine: EngineDriver) -> None:
        by_tag = {"trigger": {"event": PatientTagged.type}, "condition": "event.tag in patient.tags", "steps": [send()]}
        await engine.publish(by_tag)
        await engine.publish(by_tag | {"trigger": {"event": PatientUntagged.type}})
        visit = Visit()
        await engine.deliver(visit.registered())
        await engine.deliver(visit.tagged("Recall"))
        await engine.deliver(visit.untagged("Recall"))
        assert len(await engine.requests()) == 1
