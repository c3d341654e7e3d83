"""Why and why not, over HTTP: every decision with the reasons it had then, for admins only, and the reading is said."""

from __future__ import annotations

from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest

from libs.common.work import Work
from libs.contracts.patients import PatientDetails, PatientUpdated
from libs.contracts.workflows import ExplanationsViewed, RunRequested
from libs.testing.fixtures import Outbox
from services.workflows.commands.manual import RequestRun, request_run
from services.workflows.commands.pausing import pause_workflow
from services.workflows.commands.schedules import take_turns
from services.workflows.rules.expressions.cel_cpp import CelCpp
from services.workflows.tests.engine.builtin import BuiltinDriver
from services.workflows.tests.engine.driver import Said
from services.workflows.tests.engine.world import Visit, definition, practice_created, send, wait

Headers = dict[str, str]
PATH = "/v1/workflows/explanations"


@pytest.fixture
async def engine(work: Work, practice: UUID) -> BuiltinDriver:
    driver = BuiltinDriver(work.engine, practice)
    await driver.learn_catalogue()
    await driver.deliver(practice_created(practice))
    return driver


@pytest.fixture
def ask(client: httpx.AsyncClient, as_admin: Headers) -> Any:
    async def explanations(**query: Any) -> list[dict[str, Any]]:
        answer = await client.get(PATH, params={name: str(value) for name, value in query.items()}, headers=as_admin)
        assert answer.status_code == 200, answer.text
        items: list[dict[str, Any]] = answer.json()["items"]
        return items

    return explanations


async def told(engine: BuiltinDriver, visit: Visit) -> Said:
    said = visit.booked()
    await engine.deliver(visit.registered(), said)
    return said


def of(explanation: dict[str, Any], workflow_id: UUID) -> dict[str, Any]:
    (found,) = [one for one in explanation["workflows"] if one["workflow_id"] == str(workflow_id)]
    return dict(found)


class TestVerdicts:
    async def test_a_run_is_shown_with_its_steps_and_why_the_filter_let_it_in(self, engine: BuiltinDriver, ask: Any) -> None:
        workflow = await engine.publish(definition(send(), wait(), condition="patient.email != null && event.title == 'First visit'"))
        said = await told(engine, Visit())
        (explanation,) = await ask(event_id=said.id)
        found = of(explanation, workflow)
        assert (found["verdict"], found["version"], found["trigger_matches"]) == ("started", 1, True)
        assert found["filter"][0]["value"] is True
        (run,) = found["runs"]
        assert (run["status"], [(step["step_id"], step["status"]) for step in run["steps"]]) == ("running", [("intake", "requested")])

    async def test_what_was_filtered_says_the_value_of_its_filter(self, engine: BuiltinDriver, ask: Any) -> None:
        workflow = await engine.publish(definition(condition="patient.email != null"))
        said = await told(engine, Visit(email=None))
        (explanation,) = await ask(event_id=said.id)
        found = of(explanation, workflow)
        assert (found["verdict"], found["filter"][0]["value"], found["runs"]) == ("filtered", False, [])

    async def test_the_filter_is_judged_by_what_was_known_then(self, engine: BuiltinDriver, ask: Any) -> None:
        workflow = await engine.publish(definition(condition="patient.email != null"))
        visit = Visit(email=None)
        said = await told(engine, visit)
        assert visit.patient_id is not None
        details = PatientDetails(given_name="Kim", family_name="Lorenz", email="kim.lorenz@patients.example")
        await engine.deliver(Said(uuid4(), PatientUpdated(patient_id=visit.patient_id, version=2, changed=["email"], details=details)))
        (explanation,) = await ask(event_id=said.id)
        assert of(explanation, workflow)["filter"][0]["value"] is False
        assert explanation["seen"]["patient"]["email"] is None

    async def test_a_filter_that_fails_says_so(self, engine: BuiltinDriver, ask: Any) -> None:
        workflow = await engine.publish(definition(condition="patient.email.size() > 3"))
        said = await told(engine, Visit(email=None))
        (explanation,) = await ask(event_id=said.id)
        found = of(explanation, workflow)
        assert (found["verdict"], found["filter"][0]["error"]) == ("condition_error:no_such_overload", "no_such_overload")
        assert [run["status"] for run in found["runs"]] == ["failed"]

    @pytest.mark.parametrize(("policy", "verdict"), [("once", "enrolled_already"), ("once_while_active", "active_already")])
    async def test_who_went_through_already_is_told(self, engine: BuiltinDriver, ask: Any, policy: str, verdict: str) -> None:
        workflow = await engine.publish(definition(wait()) | {"enrolment": {"policy": policy}})
        visit = Visit()
        await told(engine, visit)
        said = Visit(visit.patient_id).booked()
        await engine.deliver(said)
        (explanation,) = await ask(event_id=said.id)
        assert of(explanation, workflow)["verdict"] == verdict

    async def test_who_is_suppressed_is_told(self, engine: BuiltinDriver, ask: Any, practice: UUID) -> None:
        workflow = await engine.publish(definition())
        visit = Visit()
        async with engine.work(engine.admin) as tx:
            await tx.execute("INSERT INTO suppression VALUES ($1, $2, 'asked us to', 'admin', $3)", practice, visit.patient_id, tx.now)
        said = await told(engine, visit)
        (explanation,) = await ask(event_id=said.id)
        assert of(explanation, workflow)["verdict"] == "suppressed"

    async def test_that_a_run_ended_because_its_patient_was_suppressed_is_told(self, engine: BuiltinDriver, ask: Any) -> None:
        workflow = await engine.publish(definition(wait(), send()))
        visit = Visit()
        said = await told(engine, visit)
        assert visit.patient_id is not None
        await engine.suppress(visit.patient_id)
        (explanation,) = await ask(event_id=said.id)
        found = of(explanation, workflow)
        (run,) = found["runs"]
        assert (found["verdict"], run["status"], run["error_code"]) == ("started", "cancelled", "suppressed")
        assert [(step["step_id"], step["status"]) for step in run["steps"]] == [("pause", "cancelled")]

    async def test_what_was_not_published_then_or_has_another_trigger_is_listed_too(self, engine: BuiltinDriver, ask: Any) -> None:
        gone = await engine.publish(definition())
        await engine.unpublish(gone)
        other = await engine.publish(definition(event="vantage.scheduling.appointment-cancelled.v1"))
        said = await told(engine, Visit())
        engine.now += timedelta(minutes=1)
        late = await engine.publish(definition())
        (explanation,) = await ask(event_id=said.id)
        verdicts = {name: of(explanation, workflow)["verdict"] for name, workflow in (("gone", gone), ("other", other), ("late", late))}
        assert verdicts == {"gone": "not_in_force", "other": "other_trigger", "late": "not_in_force"}
        assert of(explanation, gone)["published_at"] is None
        assert of(explanation, late)["published_at"] is not None

    async def test_a_workflow_that_waits_for_the_appointment_is_explained(self, engine: BuiltinDriver, ask: Any) -> None:
        trigger = {"kind": "anchored", "anchor": {"of": "appointment.starts_at", "offset": "-P1D"}, "past_due": {"policy": "skip"}}
        workflow = await engine.publish({"trigger": trigger, "steps": [send()]})
        said = await told(engine, Visit())
        (explanation,) = await ask(event_id=said.id)
        found = of(explanation, workflow)
        assert (found["trigger"], found["verdict"], found["filter"]) == ("anchored", "started", [])
        assert [step["step_id"] for step in found["runs"][0]["steps"]] == ["@anchor"]

    async def test_what_a_person_asked_for_is_explained(self, engine: BuiltinDriver, ask: Any) -> None:
        manual = {"trigger": {"kind": "manual"}, "condition": "patient.email != null", "steps": [send()]}
        asked_for, other = await engine.publish(manual), await engine.publish(manual)
        visit = Visit()
        await engine.deliver(visit.registered())
        engine.now += timedelta(milliseconds=1)
        async with engine.work(engine.admin) as tx:
            await request_run(asked_for, RequestRun(patient_id=visit.patient_id), CelCpp, engine.published, tx)
        explanation = (await ask(patient_id=visit.patient_id))[0]
        assert explanation["type"] == RunRequested.type
        found = of(explanation, asked_for)
        assert (found["trigger"], found["verdict"], found["filter"][0]["value"]) == ("manual", "started", True)
        assert [step["step_id"] for step in found["runs"][0]["steps"]] == ["intake"]
        assert of(explanation, other)["verdict"] == "other_trigger"

    async def test_a_time_of_a_schedule_that_was_skipped_is_explained(self, engine: BuiltinDriver, ask: Any, practice: UUID) -> None:
        trigger = {"kind": "schedule", "cron": "0 9 * * *", "time_zone": "UTC"}
        workflow = await engine.publish({"trigger": trigger, "steps": [wait("P9D")]})
        for _ in range(2):
            engine.now += timedelta(days=1)
            while await take_turns(engine.work, engine.published):
                pass
        async with engine.work(engine.admin) as tx:
            rows = await tx.rows("SELECT event_id FROM event_log WHERE practice_id = $1 ORDER BY recorded_at", practice)
        span = {"to": engine.now + timedelta(minutes=1), "from": engine.now - timedelta(days=3)}
        verdicts = [of((await ask(event_id=row["event_id"], **span))[0], workflow)["verdict"] for row in rows]
        assert verdicts == ["started", "overlap"]

    async def test_a_paused_workflow_starts_runs_that_are_held(self, engine: BuiltinDriver, ask: Any) -> None:
        workflow = await engine.publish(definition())
        async with engine.work(engine.admin) as tx:
            await pause_workflow(workflow, tx)
        said = await told(engine, Visit())
        (run,) = of((await ask(event_id=said.id))[0], workflow)["runs"]
        assert (run["status"], run["paused"], run["steps"]) == ("running", True, [])

    async def test_a_booking_matched_later_names_the_run_the_booking_started(self, engine: BuiltinDriver, ask: Any) -> None:
        workflow = await engine.publish(definition(wait()))
        visit = Visit()
        await engine.deliver(visit.registered(), visit.unmatched())
        said = visit.matched()
        await engine.deliver(said)
        found = of((await ask(event_id=said.id))[0], workflow)
        assert (found["verdict"], len(found["runs"])) == ("started_already", 1)

    @pytest.mark.parametrize("enrolment", [{"policy": "every"}, {"policy": "once"}, {"policy": "once", "again_after": "PT1M"}])
    @pytest.mark.parametrize("together", [True, False])
    async def test_a_booking_said_again_names_the_run_it_started_whatever_enrolment_says(
        self, engine: BuiltinDriver, ask: Any, enrolment: dict[str, Any], together: bool
    ) -> None:
        workflow = await engine.publish(definition(wait()) | {"enrolment": enrolment})
        visit = Visit()
        first, again = visit.booked(), visit.booked()
        await engine.deliver(visit.registered(), first, *([again] if together else []))
        engine.now += timedelta(hours=1)
        await engine.deliver(*([] if together else [again]))
        span = {"to": engine.now + timedelta(minutes=1)}
        verdicts = [of((await ask(event_id=said.id, **span))[0], workflow) for said in (first, again)]
        assert [(one["verdict"], len(one["runs"])) for one in verdicts] == [("started", 1), ("started_already", 1)]
        assert len(await engine.runs()) == 1

    async def test_a_failure_before_the_first_step_is_not_said_of_a_run_that_had_begun(self, engine: BuiltinDriver, ask: Any) -> None:
        workflow = await engine.publish(definition(wait(), condition="patient.email.size() > 3"))
        visit = Visit()
        await engine.deliver(visit.registered(), visit.booked())
        visit.email = None
        said = visit.matched()
        await engine.deliver(visit.updated("email"), said)
        found = of((await ask(event_id=said.id))[0], workflow)
        assert (found["verdict"], [run["status"] for run in found["runs"]]) == ("started_already", ["running"])

    async def test_what_nobody_knew_is_null(self, engine: BuiltinDriver, ask: Any) -> None:
        said = Visit().booked()
        await engine.deliver(said)
        (explanation,) = await ask(event_id=said.id)
        assert explanation["seen"]["patient"] is None
        assert explanation["seen"]["appointment"]["title"] == "First visit"


class TestAsking:
    async def test_a_patients_events_come_newest_first_with_those_about_their_appointments(
        self, client: httpx.AsyncClient, engine: BuiltinDriver, as_admin: Headers
    ) -> None:
        visit, engine.now = Visit(), engine.now - timedelta(minutes=1)
        for said in (visit.unmatched(), visit.registered(), visit.matched()):
            await engine.deliver(said)
            engine.now += timedelta(seconds=1)
        query = {"patient_id": str(visit.patient_id), "limit": "2"}
        page = (await client.get(PATH, params=query, headers=as_admin)).json()
        rest = (await client.get(PATH, params=query | {"cursor": page["next_cursor"]}, headers=as_admin)).json()
        types = [item["type"].split(".")[2] for item in page["items"] + rest["items"]]
        assert types == ["appointment-matched", "patient-registered", "appointment-booked"]
        assert rest["next_cursor"] is None

    async def test_only_what_the_span_holds_is_shown(self, engine: BuiltinDriver, ask: Any) -> None:
        visit = Visit()
        await told(engine, visit)
        assert len(await ask(patient_id=visit.patient_id)) == 2
        later = {"from": engine.now + timedelta(seconds=1), "to": engine.now + timedelta(days=1)}
        assert await ask(patient_id=visit.patient_id, **later) == []

    async def test_it_takes_a_subject_and_a_span_of_what_is_kept(self, client: httpx.AsyncClient, as_admin: Headers) -> None:
        nobody = await client.get(PATH, headers=as_admin)
        assert (nobody.status_code, nobody.json()["code"]) == (422, "subject_needed")
        span = {"from": "2026-01-01T00:00:00Z", "to": "2026-06-01T00:00:00Z"}
        long = await client.get(PATH, params={"patient_id": str(uuid4()), **span}, headers=as_admin)
        assert (long.status_code, long.json()["code"]) == (422, "span_too_long")

    async def test_users_and_strangers_see_nothing(
        self, client: httpx.AsyncClient, engine: BuiltinDriver, as_user: Headers, as_stranger: Headers
    ) -> None:
        said = await told(engine, Visit())
        assert (await client.get(PATH, params={"event_id": str(said.id)}, headers=as_user)).status_code == 403
        assert (await client.get(PATH, params={"event_id": str(said.id)}, headers=as_stranger)).json()["items"] == []

    async def test_that_somebody_read_it_is_said(self, engine: BuiltinDriver, ask: Any, practice: UUID, outbox: Outbox) -> None:
        said = await told(engine, Visit())
        await ask(event_id=said.id)
        assert (await outbox(practice))[-1] == ExplanationsViewed(event_ids=[said.id], view="explanations")
