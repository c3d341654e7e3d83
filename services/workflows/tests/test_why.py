"""The questions a practice asks: why did she get it, why did the wait go on, why did it not, why did it end."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any
from uuid import UUID

import httpx
import pytest

from libs.common.work import Work
from services.workflows.commands.published import PublishedWorkflows
from services.workflows.tests.engine.builtin import BuiltinDriver
from services.workflows.tests.engine.driver import Said
from services.workflows.tests.engine.temporal import TemporalDriver
from services.workflows.tests.engine.world import (
    BOOKED,
    CANCELLED,
    CONFIRMED,
    HOURS,
    SECOND,
    UPDATED,
    Visit,
    definition,
    heard,
    practice_created,
    send,
    wait,
    wait_for,
)

Headers = dict[str, str]
PATH = "/v1/workflows/explanations"
MINUTE = timedelta(minutes=1)
BOTH = pytest.mark.parametrize("server", ["builtin", "temporal"], indirect=True)


@pytest.fixture
def server(request: pytest.FixtureRequest) -> Any:
    """Temporal's, where a test asks for it; None for the built-in engine."""
    return request.getfixturevalue("skipping_server") if getattr(request, "param", "builtin") == "temporal" else None


@pytest.fixture
async def engine(work: Work, practice: UUID, server: Any) -> AsyncIterator[BuiltinDriver]:
    driver = BuiltinDriver(work.engine, practice) if server is None else TemporalDriver(work.engine, server, practice)
    await driver.learn_catalogue()
    await driver.deliver(practice_created(practice))
    yield driver
    if server is not None:
        del server.drivers[practice]


@pytest.fixture
def ask(client: httpx.AsyncClient, engine: BuiltinDriver, as_admin: Headers) -> Any:
    async def explanations(**query: Any) -> list[dict[str, Any]]:
        span = {"to": (engine.now + MINUTE).isoformat()}
        answer = await client.get(PATH, params=span | {name: str(value) for name, value in query.items()}, headers=as_admin)
        assert answer.status_code == 200, answer.text
        items: list[dict[str, Any]] = answer.json()["items"]
        return items

    return explanations


async def happens(engine: BuiltinDriver, *said: Said) -> None:
    """One after another, a second apart, as events come."""
    for one in said:
        engine.now += SECOND
        await engine.deliver(one)


async def comes(engine: BuiltinDriver, visit: Visit | None = None) -> tuple[Visit, Said]:
    visit = visit or Visit()
    said = visit.booked()
    await happens(engine, visit.registered(), said)
    return visit, said


async def step(ask: Any, said: Said, name: str) -> dict[str, Any]:
    """How a step of the one run this started is explained."""
    ((explained,),) = [one["runs"] for one in (await ask(event_id=said.id))[0]["workflows"] if one["runs"]]
    (found,) = [one for one in explained["steps"] if one["step_id"] == name]
    return dict(found)


async def meaning(ask: Any, said: Said) -> list[tuple[str, int, str]]:
    """What an event meant to runs under way."""
    return [(one["step_id"], one["number"], one["verdict"]) for one in (await ask(event_id=said.id))[0]["heard_by"]]


def values(reasons: list[dict[str, Any]]) -> list[tuple[str, Any]]:
    """Every part with what it came to."""
    return [pair for one in reasons for pair in [(one["text"], one["error"] or one["value"]), *values(one["parts"])]]


class TestWhyDidSheGetIt:
    async def test_why_did_she_get_it_and_not_the_other_mail(self, engine: BuiltinDriver, ask: Any) -> None:
        await engine.publish(definition(send("reminder", when="patient.email == null"), send("welcome", when="patient.email != null")))
        _, said = await comes(engine)
        skipped, asked_for = await step(ask, said, "reminder"), await step(ask, said, "welcome")
        assert (skipped["status"], asked_for["status"]) == ("skipped", "requested")
        assert values(skipped["reasons"]) == [("patient.email == null", False), ("patient.email", "kim.lorenz@patients.example")]
        assert values(asked_for["reasons"])[0] == ("patient.email != null", True)
        assert (skipped["unsure"], asked_for["unsure"]) == (None, None)

    async def test_why_did_it_go_this_way_is_told_by_what_was_known_then(self, engine: BuiltinDriver, ask: Any) -> None:
        cases = [
            {"when": "patient.email == null", "steps": [send("call")]},
            {"when": "appointment.status == 'booked' && now < event.starts_at", "steps": [send("ask")]},
            {"when": "true", "steps": []},
        ]
        await engine.publish(definition(wait("PT1H"), {"kind": "branch", "id": "way", "cases": cases}))
        visit, said = await comes(engine)
        await engine.pass_time(2 * HOURS)
        visit.email = None
        await happens(engine, visit.updated("email"), visit.confirmed())
        way = await step(ask, said, "way")
        assert (way["way"], way["unsure"]) == ("case 2", None)
        assert values(way["reasons"])[:2] == [("patient.email == null", False), ("patient.email", "kim.lorenz@patients.example")]
        assert ("appointment.status", "booked") in values(way["reasons"])
        assert [one["value"] for one in way["reasons"]] == [False, True]

    async def test_why_did_it_go_the_other_way_names_what_an_earlier_step_left(self, engine: BuiltinDriver, ask: Any) -> None:
        cases = [{"when": "steps.reply.outcome == 'event'", "steps": [send("thanks")]}]
        branch = {"kind": "branch", "id": "way", "cases": cases, "otherwise": [send("call")]}
        await engine.publish(definition(wait_for(heard(CONFIRMED), timeout="PT1H"), branch))
        _, said = await comes(engine)
        await engine.pass_time(2 * HOURS)
        way = await step(ask, said, "way")
        assert (way["way"], way["unsure"]) == ("otherwise", None)
        assert ("steps.reply.outcome", "timed_out") in values(way["reasons"])

    @pytest.mark.parametrize(("confirms", "shown", "came"), [(False, "@anchor", True), (True, "@condition", False)])
    async def test_why_did_the_reminder_go_out_or_not(
        self, engine: BuiltinDriver, ask: Any, confirms: bool, shown: str, came: bool
    ) -> None:
        trigger = {"kind": "anchored", "anchor": {"of": "appointment.starts_at", "offset": "-PT2H"}, "past_due": {"policy": "skip"}}
        await engine.publish({"trigger": trigger, "condition": "appointment.status != 'confirmed'", "steps": [send()]})
        visit, said = await comes(engine, Visit(starts_at=engine.now + 5 * HOURS))
        if confirms:
            await happens(engine, visit.confirmed())
        await engine.pass_time(4 * HOURS)
        found = await step(ask, said, shown)
        assert (found["reasons"][0]["value"], found["unsure"]) == (came, None)

    async def test_a_step_whose_condition_failed_says_which_part(self, engine: BuiltinDriver, ask: Any) -> None:
        await engine.publish(definition(send(when="event.title == '' || patient.phone.size() > 3")))
        _, said = await comes(engine)
        found = await step(ask, said, "intake")
        assert (found["error_code"], found["reasons"][0]["error"]) == ("condition_error", "no_such_overload")
        assert ("event.title == ''", False) in values(found["reasons"])

    async def test_nobody_was_known_before_the_appointment_found_its_patient(self, engine: BuiltinDriver, ask: Any) -> None:
        cases = [{"when": "patient.email == null", "steps": []}]
        await engine.publish(definition({"kind": "branch", "id": "way", "cases": cases}, wait("PT9H")))
        visit = Visit()
        said = visit.unmatched()
        await happens(engine, said, visit.registered(), visit.matched())
        way = await step(ask, said, "way")
        assert (way["way"], way["reasons"][0]["value"], way["unsure"]) == ("case 1", True, None)


@BOTH
class TestWhyDidTheWaitGoOn:
    async def test_why_did_the_wait_go_on_and_not_before(self, engine: BuiltinDriver, ask: Any) -> None:
        when = "'email' in event.changed && patient.email != trigger.attendee.email"
        await engine.publish(definition(wait_for(heard(UPDATED, when)), send()))
        visit, said = await comes(engine)
        other, same = visit.updated("phone"), visit.updated("email")
        await happens(engine, other, same)
        visit.email = "kim.new@patients.example"
        right = visit.updated("email")
        await happens(engine, right)
        assert [await meaning(ask, one) for one in (said, other, same, right)] == [
            [], [("reply", 0, "did_not_match")], [("reply", 0, "did_not_match")], [("reply", 0, "counted")],
        ]  # fmt: skip
        (why,) = (await ask(event_id=same.id))[0]["heard_by"]
        assert ("'email' in event.changed", True) in values(why["reasons"])
        assert ("trigger.attendee.email", "kim.lorenz@patients.example") in values(why["reasons"])

    async def test_why_did_the_run_not_go_on_is_asked_of_the_run(self, engine: BuiltinDriver, ask: Any) -> None:
        await engine.publish(definition(wait_for(heard(CONFIRMED, "event.title == 'Check-up'"), about="appointment"), send()))
        visit, said = await comes(engine)
        (run,) = await engine.runs()
        another = visit.again()
        unheard, mine, others = visit.updated("phone"), visit.confirmed(), another.confirmed()
        await happens(engine, unheard, another.booked(), mine, others)
        found = await ask(run_id=run.id)
        assert [one["event_id"] for one in found] == [str(others.id), str(mine.id), str(said.id)]
        of_run = [(one["verdict"], values(one["reasons"])) for event in found for one in event["heard_by"] if one["run_id"] == str(run.id)]
        mismatch = [("event.title == 'Check-up'", False), ("event.title", "First visit")]
        assert of_run == [("about_another", []), ("did_not_match", mismatch)]

    async def test_a_condition_that_failed_is_no_match_and_says_so(self, engine: BuiltinDriver, ask: Any) -> None:
        await engine.publish(definition(wait_for(heard(CONFIRMED, "patient.phone.size() > 3")), send()))
        visit, _ = await comes(engine)
        said = visit.confirmed()
        await happens(engine, said)
        assert await meaning(ask, said) == [("reply", 0, "condition_error:no_such_overload")]

    async def test_she_confirmed_and_still_got_the_call_as_it_came_too_late(self, engine: BuiltinDriver, ask: Any) -> None:
        await engine.publish(definition(wait_for(heard(CONFIRMED), timeout="PT1H"), wait("PT3H")))
        visit, _ = await comes(engine)
        await engine.pass_time(2 * HOURS)
        said = visit.confirmed()
        await happens(engine, said)
        assert await meaning(ask, said) == [("reply", 0, "too_late")]

    @pytest.mark.parametrize(("look_back", "verdict"), [("PT0S", "too_early"), ("PT3H", "counted")])
    async def test_she_had_said_so_before_it_waited(self, engine: BuiltinDriver, ask: Any, look_back: str, verdict: str) -> None:
        when = "patient.email == null"  # as it was when the wait looked back, not when the event came
        await engine.publish(definition(wait("PT1H"), wait_for(heard(CONFIRMED, when), look_back=look_back), send()))
        visit, _ = await comes(engine)
        said = visit.confirmed()
        visit.email = None
        await happens(engine, said, visit.updated("email"))
        await engine.pass_time(2 * HOURS)
        assert await meaning(ask, said) == [("reply", 0, verdict)]
        (why,) = (await ask(event_id=said.id))[0]["heard_by"]
        assert ([one["value"] for one in why["reasons"]], why["unsure"]) == ([True] if verdict == "counted" else [], None)

    async def test_of_two_events_the_first_counts_and_one_only_once(self, engine: BuiltinDriver, ask: Any) -> None:
        await engine.publish(definition(wait_for(heard(CONFIRMED)), wait_for(heard(CONFIRMED), step="second"), send()))
        visit, _ = await comes(engine)
        said = visit.confirmed()
        await happens(engine, said)
        assert await meaning(ask, said) == [("reply", 0, "counted"), ("second", 0, "passed_over")]


@BOTH
class TestWhyDidItEnd:
    async def test_why_did_it_end_with_this_event_and_not_with_that(self, engine: BuiltinDriver, ask: Any) -> None:
        workflow = await engine.publish(
            definition(wait("PT9H"), send(), condition="event.title == 'First visit'")
            | {"exit": [{"event": CANCELLED}, {"event": BOOKED, "about": "patient", "when": "event.title == 'Check-up'"}]}
        )
        visit, _ = await comes(engine)
        other, check_up = visit.again(), visit.again()
        other.title, check_up.title = "Vaccination", "Check-up"
        stays, cancelled, ends = other.booked(), other.cancelled(), check_up.booked()
        await happens(engine, stays, cancelled, ends)
        assert [run.error_code for run in await engine.runs()] == ["exit_condition"]
        assert await meaning(ask, stays) == [("@exit", 1, "did_not_match")]
        assert await meaning(ask, cancelled) == [("@exit", 0, "about_another")]
        (why,) = (await ask(event_id=ends.id))[0]["heard_by"]
        assert (why["verdict"], why["workflow_id"], why["unsure"]) == ("counted", str(workflow), None)
        assert values(why["reasons"]) == [("event.title == 'Check-up'", True), ("event.title", "Check-up")]

    async def test_an_event_after_its_end_meant_nothing_to_it(self, engine: BuiltinDriver, ask: Any) -> None:
        await engine.publish(definition(wait("PT1H")) | {"exit": [{"event": CANCELLED}]})
        visit, _ = await comes(engine)
        await engine.pass_time(2 * HOURS)
        said = visit.cancelled()
        await happens(engine, said)
        assert await meaning(ask, said) == []


class TestWhyWasSheNotLetInAgain:
    async def test_the_key_she_was_let_in_by_is_shown_with_its_parts(self, engine: BuiltinDriver, ask: Any) -> None:
        key = "event.patient_id == null ? '' : event.title"
        workflow = await engine.publish(definition() | {"enrolment": {"policy": "by_key", "key": key}})
        visit, first = await comes(engine)
        again = visit.again().booked()
        await happens(engine, again)
        found = [(await ask(event_id=said.id))[0]["workflows"][0] for said in (first, again)]
        assert [(one["workflow_id"], one["verdict"]) for one in found] == [(str(workflow), "started"), (str(workflow), "enrolled_already")]
        assert [one["key"][0]["value"] for one in found] == ["First visit", "First visit"]
        assert ("event.patient_id == null", False) in values(found[1]["key"])

    async def test_a_key_that_failed_says_which_part(self, engine: BuiltinDriver, ask: Any) -> None:
        await engine.publish(definition() | {"enrolment": {"policy": "by_key", "key": "event.title + patient.phone"}})
        _, said = await comes(engine)
        (found,) = (await ask(event_id=said.id))[0]["workflows"]
        assert (found["verdict"], found["key"][0]["error"], found["unsure"]) == ("key_error:no_such_overload", "no_such_overload", None)
        assert ("event.title", "First visit") in values(found["key"])

    async def test_whom_the_filter_keeps_out_is_asked_no_key(self, engine: BuiltinDriver, ask: Any) -> None:
        await engine.publish(definition(condition="event.title == ''") | {"enrolment": {"policy": "by_key", "key": "event.title"}})
        _, said = await comes(engine)
        (found,) = (await ask(event_id=said.id))[0]["workflows"]
        assert (found["verdict"], found["key"]) == ("filtered", [])

    async def test_a_filter_about_the_time_is_asked_for_that_time(self, engine: BuiltinDriver, ask: Any) -> None:
        await engine.publish(definition(condition="event.starts_at - now < duration('2h')"))
        _, said = await comes(engine, Visit(starts_at=engine.now + HOURS))
        await engine.pass_time(5 * HOURS)
        (found,) = (await ask(event_id=said.id))[0]["workflows"]
        assert (found["verdict"], found["filter"][0]["value"], found["unsure"]) == ("started", True, None)


class TestWhatCanNoLongerBeTold:
    async def test_what_was_known_then_is_forgotten(self, engine: BuiltinDriver, ask: Any, practice: UUID) -> None:
        await engine.publish(definition(send(when="patient.email != null")))
        visit, _ = await comes(engine)
        async with engine.work(engine.admin) as tx:
            await tx.execute("DELETE FROM event_log WHERE practice_id = $1", practice)
        said = visit.matched()  # a booking said again names the run
        await happens(engine, said)
        intake = await step(ask, said, "intake")
        assert (intake["status"], intake["reasons"], intake["unsure"]) == ("requested", [], "forgotten")

    async def test_values_that_lead_elsewhere_than_the_run_went_are_marked(self, engine: BuiltinDriver, ask: Any, practice: UUID) -> None:
        await engine.publish(definition(send(when="patient.email != null")))
        _, said = await comes(engine)
        async with engine.work(engine.admin) as tx:
            seen = """UPDATE event_log SET seen = jsonb_set(seen, '{patient,email}', 'null') WHERE practice_id = $1 AND seen -> 'patient' <> 'null'"""
            await tx.execute(seen, practice)
        intake = await step(ask, said, "intake")
        assert (intake["status"], intake["reasons"][0]["value"], intake["unsure"]) == ("requested", False, "differs")

    async def test_a_version_that_no_longer_compiles_is_named(
        self, engine: BuiltinDriver, ask: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        await engine.publish(definition(send(when="patient.email != null"), condition="patient.email != null"))
        _, said = await comes(engine)

        async def broken(*_: Any) -> Any:
            raise ValueError

        monkeypatch.setattr(PublishedWorkflows, "version", broken)
        (found,) = (await ask(event_id=said.id))[0]["workflows"]
        assert (found["verdict"], found["filter"], found["unsure"]) == ("started", [], "no_longer_compiles")
        assert [one["unsure"] for one in found["runs"][0]["steps"]] == ["no_longer_compiles"]

    async def test_a_run_of_nobody_here_is_nothing(self, ask: Any, practice: UUID) -> None:
        assert await ask(run_id=practice) == []
