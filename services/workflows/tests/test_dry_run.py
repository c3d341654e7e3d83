"""Dry runs: their path is what the engine really does for the same definition and answers, and they leave nothing behind."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest

from libs.common.work import Work
from libs.contracts.actions import ActionError, ActionRequest, Outcome
from libs.contracts.notifications import ActionFinished
from libs.contracts.patients import PatientRegistered, PatientUpdated
from libs.contracts.scheduling import AppointmentCancelled, AppointmentRescheduled
from libs.contracts.workflows import ExplanationsViewed
from services.workflows.rules.definitions.compiling import compile_definition
from services.workflows.rules.definitions.definition import Definition
from services.workflows.rules.simulation.occurred import Known, Occurred
from services.workflows.rules.simulation.rehearsal import Answer, Rehearsed, Script, rehearse
from services.workflows.tests.engine.builtin import BuiltinDriver
from services.workflows.tests.engine.driver import Said
from services.workflows.tests.engine.world import AT, Visit, booked, definition, practice_created, send, wait

Headers = dict[str, str]
NOW = AT - timedelta(days=3)
CONFIRMED = "vantage.scheduling.appointment-confirmed.v1"
CANCELLED = AppointmentCancelled.type
SKIP = {"policy": "skip"}


def wait_for(event: str = CONFIRMED, **more: Any) -> dict[str, Any]:
    return {"kind": "wait_for", "id": "reply", "events": [{"event": event}], "about": "appointment", "timeout": "P1D", **more}


def branch(when: str, then: list[dict[str, Any]], otherwise: list[dict[str, Any]]) -> dict[str, Any]:
    return {"kind": "branch", "id": "way", "cases": [{"when": when, "steps": then}], "otherwise": otherwise}


def reminder(offset: str = "-P1D", past_due: dict[str, Any] | None = None) -> dict[str, Any]:
    anchor = {"of": "appointment.starts_at", "offset": offset}
    return {"kind": "wait_until", "id": "before", "anchor": anchor, "past_due": past_due or SKIP}


def anchored() -> dict[str, Any]:
    return {"anchor": {"of": "appointment.starts_at", "offset": "-P1D"}, "past_due": SKIP}


@dataclass
class Case:
    """A definition, what owners answer per step in turn, and what is said about the appointment so long after the booking."""

    definition: dict[str, Any]
    answers: dict[str, list[Answer]] = field(default_factory=dict)
    later: list[tuple[timedelta, str]] = field(default_factory=list)


RETRY = {"attempts": 3, "first": "PT1M", "factor": 1, "limit": "PT1M"}
FAILS = Answer("failed", "provider_down", retryable=True)
HOUR = timedelta(hours=1)
CASES = {
    "one action": Case(definition(send(text="Dear {{ patient.given_name }}, {{ event.title }}."))),
    "waits between actions": Case(definition(send("first"), wait("PT2H"), send("second"), wait("PT5M", "again"))),
    "a skipped step": Case(definition(send("never", when="event.title == 'Other'"), send("always"))),
    "a branch taken": Case(definition(branch("patient.email != null", [send("mail")], [send("call")]), send("after"))),
    "a branch not taken": Case(definition(branch("event.title == 'Other'", [send("mail")], [wait("PT1H"), send("call")]))),
    "a stop": Case(definition(branch("true", [{"kind": "stop", "id": "enough"}], []), send())),
    "a failure": Case(definition(send("first"), send("second")), {"first": [Answer("failed", "no_address")]}),
    "a failure that is skipped": Case(
        definition(send("first") | {"on_error": "skip"}, send("second")), {"first": [Answer("failed", "no")]}
    ),
    "a failure with steps of its own": Case(
        definition(send("first") | {"on_error": "branch", "error_steps": [send("instead")]}, send("second")),
        {"first": [Answer("failed", "no")]},
    ),
    "an unknown outcome": Case(definition(send("first"), send("second")), {"first": [Answer("unknown")]}),
    "an unknown outcome found out": Case(definition(send("first"), send("second")), {"first": [Answer("unknown"), Answer()]}),
    "retried until it works": Case(definition(send() | {"retry": RETRY}), {"intake": [FAILS, FAILS, Answer()]}),
    "retried in vain": Case(definition(send() | {"retry": RETRY}), {"intake": [FAILS]}),
    "an event in time": Case(
        definition(wait_for(), branch("steps.reply.outcome == 'event'", [send("thanks")], [send("nudge")])), later=[(HOUR, "confirmed")]
    ),
    "an event too late": Case(
        definition(wait_for(), branch("steps.reply.outcome == 'event'", [send("thanks")], [send("nudge")])),
        later=[(30 * HOUR, "confirmed")],
    ),
    "an event just before the wait": Case(definition(wait("PT1H"), wait_for(look_back="PT2H"), send()), later=[(HOUR / 2, "confirmed")]),
    "an event that does not fit": Case(
        definition(wait_for(events=[{"event": CONFIRMED, "when": "event.title == 'Other'"}]), send()), later=[(HOUR, "confirmed")]
    ),
    "an exit condition": Case(definition(wait("PT5H"), send()) | {"exit": [{"event": CONFIRMED}]}, later=[(HOUR, "confirmed")]),
    "an anchored step": Case(definition(reminder(), send())),
    "an anchored step that follows": Case(definition(reminder(), send()), later=[(HOUR, "moved")]),
    "an anchored step cancelled": Case(definition(reminder(), send()), later=[(HOUR, "cancelled")]),
    "an anchored step past due": Case(definition(reminder("-P30D"), send())),
    "an anchored step past due that goes on": Case(definition(reminder("-P30D", {"policy": "proceed"}), send())),
    "an anchored workflow": Case(
        {"trigger": {"kind": "anchored", "anchor": {"of": "appointment.starts_at", "offset": "-P1D"}, "past_due": SKIP}, "steps": [send()]}
    ),
    "an anchored workflow whose condition is false then": Case(
        {
            "trigger": {"kind": "anchored", "anchor": {"of": "appointment.starts_at", "offset": "-P1D"}, "past_due": SKIP},
            "condition": "appointment.status == 'booked'",
            "steps": [send()],
        },
        later=[(HOUR, "confirmed")],
    ),
    "nine in the morning": Case(definition({"kind": "wait_until", "id": "morning", "local": {"at": "09:00:00", "days": [1, 5]}}, send())),
    "a filter that is false": Case(definition(condition="event.title == 'Other'")),
    "conditions about the time": Case(
        definition(
            wait("PT1H"),
            send("soon", when="event.starts_at - now < duration('1s')"),
            send("ahead", when="event.starts_at > now"),
            wait_for() | {"events": [{"event": CONFIRMED, "when": "event.starts_at > now"}]},
            send("then", text="{{ now }}"),
            condition="event.starts_at > now",
        ),
        later=[(timedelta(hours=2), "confirmed")],
    ),
    "a filter that fails": Case(definition(condition="patient.email.size() > 100 || patient.phone.size() > 3")),
    "a template that fails": Case(definition(wait("PT1H"), send(text="{{ patient.phone.size() }}"))),
}


def news(visit: Visit, what: str) -> Any:
    if what == "confirmed":
        return visit.confirmed().message
    state = visit.booked().message.model_dump(exclude={"attendee", "double_booked"}) | {"version": 2}
    if what == "cancelled":
        return AppointmentCancelled(**state | {"status": "cancelled"})
    moved = {"starts_at": AT + timedelta(days=2), "ends_at": AT + timedelta(days=2, minutes=30)}
    return AppointmentRescheduled(**state | moved, previous_starts_at=state["starts_at"], previous_ends_at=state["ends_at"])


def rehearsed(case: Case, visit: Visit) -> Rehearsed:
    registered, said = visit.registered(), visit.booked()
    practice = {"id": uuid4(), "name": "Elm Street Practice", "time_zone": "Europe/Berlin", "opening_hours": [], "holidays": []}
    known = Known(practice=practice).after(registered.message).after(said.message)  # type: ignore[arg-type]
    trigger = Occurred(said.id, said.message, NOW, NOW, known)  # type: ignore[arg-type]
    later = [Occurred(uuid4(), event, NOW + at, NOW + at, known.after(event)) for at, what in case.later for event in [news(visit, what)]]
    compiled = compile_definition(Definition.model_validate(case.definition))
    return rehearse(compiled, trigger, Script(case.answers, later))


async def really(engine: BuiltinDriver, case: Case, visit: Visit) -> list[tuple[str, dict[str, Any], datetime]]:
    """Let the engine do it, from one due timer or event to the next; what it asked for, and when."""
    engine.now = NOW
    await engine.deliver(practice_created(engine.practice))
    await engine.publish(case.definition)
    await booked(engine, visit)
    answered: dict[str, int] = {}
    said = sorted(case.later)
    await answer(engine, case, answered)
    for _ in range(50):
        async with engine.work(engine.admin) as tx:
            due = await tx.value("SELECT min(due_at) FROM timer WHERE practice_id = $1", engine.practice)
        moments = [one for one in (due, NOW + said[0][0] if said else None) if one is not None]
        if not moments:
            break
        await engine.pass_time(max(min(moments) - engine.now, timedelta()))
        if said and NOW + said[0][0] <= engine.now:
            await engine.deliver(Said(uuid4(), news(visit, said.pop(0)[1])))
        await answer(engine, case, answered)
    async with engine.work(engine.admin) as tx:
        rows = await tx.rows(
            "SELECT payload, time FROM outbox WHERE practice_id = $1 AND type LIKE '%perform-action.v1' ORDER BY seq", engine.practice
        )
    return [(row["payload"]["step_id"], row["payload"]["parameters"], row["time"]) for row in rows]


async def answer(engine: BuiltinDriver, case: Case, answered: dict[str, int]) -> None:
    """Answer what was asked and not answered, each request as the case says."""
    while open_ := [request for request in await engine.requests() if str(request.effect_key) not in answered]:
        for request in open_:
            answered[str(request.effect_key)] = 1
            written = case.answers.get(request.step_id, [Answer()])
            place = answered.get(request.step_id, 0)
            for one in written[min(place, len(written) - 1) :]:
                answered[request.step_id] = answered.get(request.step_id, 0) + 1
                await engine.deliver(finished(request, one))
                if one.outcome != "unknown":
                    break


def finished(request: ActionRequest, answer: Answer) -> Said:
    error = ActionError(code=answer.error_code, message="It did not work.", retryable=answer.retryable) if answer.error_code else None
    ids = {"effect_key": request.effect_key, "run_id": request.run_id, "step_id": request.step_id}
    return Said(uuid4(), ActionFinished(**ids, action=request.action, outcome=Outcome(answer.outcome), error=error))


class TestDifferential:
    @pytest.mark.parametrize("name", CASES)
    async def test_the_path_is_what_the_engine_does(self, work: Work, name: str) -> None:
        case, visit = CASES[name], Visit()
        engine = BuiltinDriver(work.engine)
        await engine.learn_catalogue()
        expected = rehearsed(case, visit)
        asked = await really(engine, case, visit)
        passages = [passage for passage in expected.path if passage.what == "asked"]
        assert [(passage.step_id, passage.parameters) for passage in passages] == [(step, parameters) for step, parameters, _ in asked]
        slack = timedelta(seconds=30) if "retried" in name else timedelta()  # a fifth of a pause is jitter
        assert all(abs(at - passage.at) <= slack for passage, (*_, at) in zip(passages, asked, strict=True))
        runs = await engine.runs()
        if expected.verdict == "filtered":
            assert runs == []
            return
        assert [(run.status, run.error_code) for run in runs] == [(expected.status, expected.error_code)]
        assert {step for step, _ in runs[0].steps} == {p.step_id for p in expected.path if p.step_id is not None}


class TestRehearsal:
    def test_a_run_that_waits_learns_whose_appointment_it_is(self) -> None:
        visit = Visit()
        known = Known(practice={"id": uuid4(), "time_zone": "UTC"}).after(visit.unmatched().message)  # type: ignore[arg-type]
        trigger = Occurred(uuid4(), visit.unmatched().message, NOW, NOW, known)  # type: ignore[arg-type]
        later = [
            Occurred(uuid4(), said.message, NOW + HOUR, NOW + HOUR, known.after(said.message))  # type: ignore[arg-type]
            for said in (visit.matched(), visit.updated("phone"))
        ]
        steps = {"kind": "wait_for", "id": "reply", "events": [{"event": PatientUpdated.type}], "about": "patient", "timeout": "P1D"}
        compiled = compile_definition(Definition.model_validate(definition(steps, send(text="{{ event.patient_id }}"))))
        found = rehearse(compiled, trigger, Script({}, later))
        (asked,) = [passage for passage in found.path if passage.what == "asked"]
        assert (asked.at, asked.parameters) == (NOW + HOUR, {"subject": "Welcome", "text": str(visit.patient_id)})


class TestOverHttp:
    @pytest.fixture
    async def engine(self, work: Work, practice: UUID) -> BuiltinDriver:
        driver = BuiltinDriver(work.engine, practice)
        await driver.learn_catalogue()
        await driver.deliver(practice_created(practice))
        return driver

    async def test_the_draft_is_tried_on_an_example_when_no_event_is_given(
        self, client: httpx.AsyncClient, as_admin: Headers, engine: BuiltinDriver
    ) -> None:
        workflow = await engine.publish(definition(send(subject="Old")))
        await engine.edit(workflow, definition(send(subject="New, {{ patient.given_name }}"), wait("PT2H")))
        answer = await client.post(f"/v1/workflows/{workflow}/dry-run", json={"now": "2030-01-01T09:00:00Z"}, headers=as_admin)
        assert answer.status_code == 200, answer.text
        found = answer.json()
        assert (found["verdict"], found["status"], found["ended_at"]) == ("started", "completed", "2030-01-01T11:00:00Z")
        asked = [passage for passage in found["path"] if passage["what"] == "asked"]
        assert [passage["parameters"]["subject"] for passage in asked] == ["New, Sam"]
        published = await client.post(f"/v1/workflows/{workflow}/dry-run", json={"version": 1}, headers=as_admin)
        assert published.json()["path"][0]["parameters"]["subject"] == "Old"

    async def test_nothing_is_kept_or_said_of_it(self, client: httpx.AsyncClient, as_admin: Headers, engine: BuiltinDriver) -> None:
        workflow = await engine.publish(definition(wait(), send()))
        before = len(await engine._outbox())
        assert (await client.post(f"/v1/workflows/{workflow}/dry-run", json={}, headers=as_admin)).status_code == 200
        async with engine.work(engine.admin) as tx:
            for table in ("run", "timer", "event_log"):
                assert await tx.value(f"SELECT count(*) FROM {table} WHERE practice_id = $1", engine.practice) == 0
        assert len(await engine._outbox()) == before

    async def test_a_past_event_is_tried_with_what_was_known_then_and_the_reading_is_said(
        self, client: httpx.AsyncClient, as_admin: Headers, engine: BuiltinDriver
    ) -> None:
        workflow = await engine.publish(definition(send(text="{{ patient.given_name }}"), condition="patient.email != null"))
        visit = Visit()
        said = visit.booked()
        await engine.deliver(visit.registered(), said)
        answer = await client.post(f"/v1/workflows/{workflow}/dry-run", json={"event_id": str(said.id)}, headers=as_admin)
        found = answer.json()
        assert found["reasons"][0]["value"] is True
        assert found["path"][0]["parameters"]["text"] == "Kim"
        other = {"event_id": str(said.id), "patient": {"email": None}}
        assert (await client.post(f"/v1/workflows/{workflow}/dry-run", json=other, headers=as_admin)).json()["verdict"] == "filtered"
        (viewed, _) = await engine.said(ExplanationsViewed)
        assert viewed == ExplanationsViewed(event_ids=[said.id], patient_id=visit.patient_id, view="dry_run")

    async def test_answers_and_events_are_played(self, client: httpx.AsyncClient, as_admin: Headers, engine: BuiltinDriver) -> None:
        workflow = await engine.publish(definition(send("first") | {"retry": RETRY}, wait_for(), send("thanks")))
        visit = Visit()
        booking, confirmed = visit.booked().message.model_dump(mode="json"), visit.confirmed().message.model_dump(mode="json")
        body = {
            "event": {"type": definition()["trigger"]["event"], "data": booking},
            "answers": {"first": [{"outcome": "failed", "error_code": "provider_down", "retryable": True}, {"outcome": "succeeded"}]},
            "events": [{"type": CONFIRMED, "after": "PT3H", "data": confirmed}],
        }
        found = (await client.post(f"/v1/workflows/{workflow}/dry-run", json=body, headers=as_admin)).json()
        assert [passage["what"] for passage in found["path"]] == [
            "asked", "answered", "retrying", "asked", "answered", "waits", "event", "went_on", "asked", "answered", "ended",
        ]  # fmt: skip
        assert [passage["attempt"] for passage in found["path"] if passage["what"] == "asked"] == [0, 1, 0]

    @pytest.mark.parametrize(
        ("body", "status", "code"),
        [
            ({"event_id": str(uuid4())}, 404, "event_not_found"),
            ({"version": 7}, 404, "version_not_found"),
            ({"event": {"type": "vantage.nobody.knows.v1", "data": {}}}, 422, "event_does_not_fit"),
            ({"event": {"type": CONFIRMED, "data": {"title": 1}}}, 422, "event_does_not_fit"),
            ({"event": {"type": "vantage.practices.user-deactivated.v1", "data": {"user_id": str(uuid4())}}}, 422, "event_starts_nothing"),
            ({"answers": {"first": []}}, 422, "invalid_input"),
            ({"events": [{"type": CONFIRMED, "after": "P9999D", "data": {}}]}, 422, "invalid_input"),
        ],
    )
    async def test_what_cannot_be_tried_is_refused(
        self, client: httpx.AsyncClient, as_admin: Headers, engine: BuiltinDriver, body: dict[str, Any], status: int, code: str
    ) -> None:
        workflow = await engine.publish(definition())
        answer = await client.post(f"/v1/workflows/{workflow}/dry-run", json=body, headers=as_admin)
        assert (answer.status_code, answer.json()["code"]) == (status, code), answer.text

    @pytest.mark.parametrize("name", ["Europe", "Moon/Base", "../etc", "x" * 300])
    async def test_a_zone_that_is_none_counts_as_utc(
        self, client: httpx.AsyncClient, as_admin: Headers, engine: BuiltinDriver, name: str
    ) -> None:
        anchor = {"of": "appointment.starts_at", "offset": "-P1D", "at": "09:00"}
        workflow = await engine.publish(definition({"kind": "wait_until", "id": "before", "anchor": anchor, "past_due": SKIP}, send()))
        body = {"appointment": {"time_zone": name, "starts_at": AT.isoformat()}, "now": NOW.isoformat()}
        answer = await client.post(f"/v1/workflows/{workflow}/dry-run", json=body, headers=as_admin)
        assert answer.status_code == 200, answer.text
        (waits,) = [passage for passage in answer.json()["path"] if passage["what"] == "waits"]
        assert datetime.fromisoformat(waits["due_at"]) == (AT - timedelta(days=1)).replace(hour=9, minute=0)

    @pytest.mark.parametrize(("takes", "verdict"), [(False, "bulk"), (True, "started")])
    async def test_an_import_counts_as_for_the_engine(
        self, client: httpx.AsyncClient, as_admin: Headers, engine: BuiltinDriver, takes: bool, verdict: str
    ) -> None:
        workflow = await engine.publish({**definition(), "trigger": {"event": PatientRegistered.type, "bulk": takes}})
        said = Visit().registered()
        assert isinstance(said.message, PatientRegistered)
        imported = Said(said.id, said.message.model_copy(update={"bulk": True}))
        await engine.deliver(imported)
        answer = await client.post(f"/v1/workflows/{workflow}/dry-run", json={"event_id": str(said.id)}, headers=as_admin)
        assert (answer.json()["verdict"], len(await engine.runs())) == (verdict, int(takes))

    async def test_what_would_stop_it_now_is_noted(self, client: httpx.AsyncClient, as_admin: Headers, engine: BuiltinDriver) -> None:
        once, active = [
            await engine.publish(definition(wait()) | {"enrolment": {"policy": policy}}) for policy in ("once", "once_while_active")
        ]
        visit, another = Visit(), Visit()
        await engine.deliver(visit.registered(), another.registered(), visit.booked())
        assert visit.patient_id is not None

        async def notes(workflow: UUID, who: Visit) -> list[str]:
            event = {"type": definition()["trigger"]["event"], "data": who.booked().message.model_dump(mode="json")}
            answer = await client.post(f"/v1/workflows/{workflow}/dry-run", json={"event": event}, headers=as_admin)
            assert (answer.status_code, answer.json()["verdict"]) == (200, "started"), answer.text
            found: list[str] = answer.json()["notes"]
            return found

        assert await notes(once, another) == []
        assert await notes(once, visit) == ["started_already", "enrolled_already"]
        assert await notes(once, visit.again()) == ["enrolled_already"]
        assert await notes(active, visit.again()) == ["active_already"]
        await engine.suppress(visit.patient_id)
        await engine.pause_workflow(once)
        assert await notes(once, visit.again()) == ["suppressed", "enrolled_already", "paused"]
        assert await notes(active, another) == []

    async def test_that_one_waits_for_the_appointment_already_is_noted(
        self, client: httpx.AsyncClient, as_admin: Headers, engine: BuiltinDriver
    ) -> None:
        workflow = await engine.publish({"trigger": {"kind": "anchored", **anchored()}, "steps": [send()]})
        visit = await booked(engine, Visit(starts_at=engine.now + timedelta(days=3)))
        moved = visit.moved(engine.now + timedelta(days=4)).message
        body = {"event": {"type": AppointmentRescheduled.type, "data": moved.model_dump(mode="json")}}
        answer = await client.post(f"/v1/workflows/{workflow}/dry-run", json=body, headers=as_admin)
        assert answer.json()["notes"] == ["waits_already"]

    async def test_a_key_that_fails_is_the_verdict(self, client: httpx.AsyncClient, as_admin: Headers, engine: BuiltinDriver) -> None:
        keyed = definition() | {"enrolment": {"policy": "by_key", "key": "patient.phone + 'x'"}}
        workflow = await engine.publish(keyed)
        visit = await booked(engine)
        event = {"type": definition()["trigger"]["event"], "data": visit.again().booked().message.model_dump(mode="json")}
        found = (await client.post(f"/v1/workflows/{workflow}/dry-run", json={"event": event}, headers=as_admin)).json()
        (run,) = await engine.runs()
        assert (found["verdict"], found["status"]) == (run.error_code, "failed")
        assert found["verdict"].startswith("key_error:")

    async def test_admins_only(self, client: httpx.AsyncClient, as_user: Headers, engine: BuiltinDriver) -> None:
        workflow = await engine.publish(definition())
        assert (await client.post(f"/v1/workflows/{workflow}/dry-run", json={}, headers=as_user)).status_code == 403
