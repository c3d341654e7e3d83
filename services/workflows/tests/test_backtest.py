"""Backtests: what they say of a workflow is what it really did with the same events; they differ where versions differ; they are jobs."""

from __future__ import annotations

import random
from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest

from libs.common.work import Work
from libs.contracts.actions import Outcome
from libs.contracts.patients import PatientDetails, PatientUpdated
from libs.contracts.workflows import ExplanationsViewed
from services.workflows.commands import backtesting
from services.workflows.commands.backtest import AskForBacktest, ask_for_backtest
from services.workflows.commands.backtesting import LEASE, MOST_ATTEMPTS, Backtests
from services.workflows.commands.history import KEPT, forget_old
from services.workflows.queries.decided import with_decisions
from services.workflows.rules.expressions.cel_cpp import CelCpp
from services.workflows.rules.simulation import comparing, replaying
from services.workflows.tests.engine.builtin import BuiltinDriver
from services.workflows.tests.engine.driver import Said
from services.workflows.tests.engine.world import AT, HOURS, Visit, definition, practice_created, send, wait
from services.workflows.tests.test_dry_run import SKIP, branch, news, reminder, wait_for

Headers = dict[str, str]
START = AT - timedelta(days=4)
UPDATED = PatientUpdated.type
ANCHORED = {"kind": "anchored", "anchor": {"of": "appointment.starts_at", "offset": "-P1D"}, "past_due": SKIP}
DEFINITIONS: dict[str, dict[str, Any]] = {
    "a filter": definition(send(text="Dear {{ patient.given_name }}"), condition="patient.email != null"),
    "a filter that fails for some": definition(condition="patient.email.size() > 3"),
    "a wait that sees later news": definition(wait("PT3H"), send(text="{{ patient.given_name }} {{ appointment.status }}")),
    "a tag that is given while it waits": definition(wait("PT3H"), send() | {"when": "'VIP' in patient.tags"}),
    "conditions about the time": definition(
        wait("PT3H"), send(text="{{ now }}", when="now < appointment.starts_at - duration('93h')"), condition="appointment.starts_at > now"
    ),
    "once": definition(send()) | {"enrolment": {"policy": "once"}},
    "once again after a while": definition(send()) | {"enrolment": {"policy": "once", "again_after": "PT4H"}},
    "once while active": definition(wait("PT6H"), send()) | {"enrolment": {"policy": "once_while_active"}},
    "by key": definition(send()) | {"enrolment": {"policy": "by_key", "key": "event.title"}},
    "an answer awaited": definition(
        wait_for(timeout="PT5H", look_back="PT2H"),
        branch("steps.reply.outcome == 'event'", [send("thanks")], [wait("PT1H"), send("nudge")]),
    ),
    "an answer that came before": definition(
        wait("PT3H"),
        wait_for(UPDATED, about="patient", timeout="PT1H", look_back="PT6H"),
        branch("steps.reply.outcome == 'event'", [send("thanks")], [send("nudge")]),
    ),
    "an exit": definition(wait("PT8H"), send()) | {"exit": [{"event": "vantage.scheduling.appointment-cancelled.v1"}]},
    "anchored": {"trigger": ANCHORED, "condition": "appointment.status != 'confirmed'", "steps": [send()]},
    "an anchored step": definition(send("first"), reminder(), send("second")),
    "an anchored step past due": definition(wait("PT1H"), reminder("-P3DT20H"), send()),
}


def history(dice: random.Random) -> list[tuple[datetime, Any]]:
    """What happens to a few patients in two days, each at a time of its own."""
    said: list[tuple[datetime, Any]] = []
    people = [Visit(email=dice.choice([None, "kim.lorenz@patients.example"])) for _ in range(5)]
    for number, visit in enumerate(people):
        at = START + timedelta(minutes=7 * number)
        said.append((at, visit.registered().message))
        for again in range(dice.randint(1, 3)):
            one = Visit(visit.patient_id, email=visit.email, title=dice.choice(["First visit", "Check-up"]))
            booked = at + timedelta(minutes=11 + again, hours=5 * again)
            said.append((booked, one.booked().message))
            happens = dice.sample(["confirmed", "moved", "cancelled"], dice.randint(0, 2))
            said += [(booked + timedelta(minutes=dice.randint(5, 900)), news(one, what)) for what in happens]
        assert visit.patient_id is not None
        details = PatientDetails(given_name="Kira", family_name="Lorenz", email="kira.lorenz@patients.example")
        update = PatientUpdated(patient_id=visit.patient_id, version=2, changed=["email"], details=details)
        said.append((at + timedelta(minutes=dice.randint(30, 600)), update))
    said += [(START + timedelta(minutes=90 + 17 * number), visit.tagged("VIP").message) for number, visit in enumerate(people[:4])]
    late = Visit(email="jo.rank@patients.example")
    said += [(START + HOURS, late.unmatched().message), (START + 2 * HOURS, late.registered().message)]
    said.append((START + 3 * HOURS, late.matched().message))
    return sorted(said, key=lambda one: one[0])


async def live(engine: BuiltinDriver, said: list[tuple[datetime, Any]], until: datetime) -> None:
    """Everything at its time: events, timers when they are due, answers at once."""
    answered: set[UUID] = set()
    while True:
        async with engine.work(engine.admin) as tx:
            due = await tx.value("SELECT min(due_at) FROM timer WHERE practice_id = $1", engine.practice)
        moments = [one for one in (due, said[0][0] if said else None) if one is not None and one <= until]
        if not moments:
            break
        await engine.pass_time(max(min(moments) - engine.now, timedelta()))
        if said and said[0][0] <= engine.now:
            await engine.deliver(Said(uuid4(), said.pop(0)[1]))
        while open_ := [request for request in await engine.requests() if request.effect_key not in answered]:
            for request in open_:
                answered.add(request.effect_key)
                await engine.answer(request, Outcome.SUCCEEDED)
    engine.now = until


async def ask(engine: BuiltinDriver, workflow: UUID, **body: Any) -> UUID:
    async with engine.work(engine.admin) as tx:
        cmd = AskForBacktest.model_validate({"days": 5} | body)
        return (await ask_for_backtest(workflow, cmd, CelCpp, tx)).id


async def run_all(engine: BuiltinDriver, jobs: Backtests | None = None) -> None:
    jobs = jobs or Backtests(engine.work, CelCpp)
    while await jobs.round() is not None:
        pass


async def row_of(engine: BuiltinDriver, backtest: UUID) -> Any:
    async with engine.work(engine.admin) as tx:
        row = await tx.row("SELECT * FROM backtest WHERE practice_id = $1 AND id = $2", engine.practice, backtest)
    assert row is not None
    return row


async def begun(work: Work, practice: UUID) -> BuiltinDriver:
    """An engine before anything happened. What other tests asked for and left is of other practices, and would be taken first."""
    async with work.batch([], backtesting.SYSTEM) as tx:
        await tx.execute("DELETE FROM backtest_queue")
    driver = BuiltinDriver(work.engine, practice)
    driver.now = START - HOURS
    await driver.learn_catalogue()
    await driver.deliver(practice_created(practice))
    return driver


@pytest.fixture
async def engine(work: Work, practice: UUID) -> BuiltinDriver:
    return await begun(work, practice)


async def really_asked(engine: BuiltinDriver) -> list[tuple[str, str, Any]]:
    async with engine.work(engine.admin) as tx:
        rows = await tx.rows("SELECT payload, time FROM outbox WHERE practice_id = $1 AND type LIKE '%perform-action.v1'", engine.practice)
    found = [(row["payload"]["step_id"], row["time"].isoformat(), row["payload"]["parameters"]) for row in rows]
    return sorted(found, key=str)


async def really_decided(engine: BuiltinDriver) -> Counter[str]:
    async with engine.work(engine.admin) as tx:
        rows = await with_decisions(await tx.rows("SELECT * FROM event_log WHERE practice_id = $1", engine.practice), tx)
    return Counter(verdict for row in rows for _, _, verdict, _ in row["decisions"])


class TestAgainstTheEngine:
    @pytest.mark.parametrize("name", DEFINITIONS)
    async def test_it_finds_what_the_engine_did(self, engine: BuiltinDriver, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(comparing, "MAX_EXAMPLES", 10_000)
        workflow = await engine.publish(DEFINITIONS[name])
        await live(engine, history(random.Random(name)), AT)
        backtest = await ask(engine, workflow, compare_with=None)
        await run_all(engine)
        row = await row_of(engine, backtest)
        result = row["result"]
        assert (row["status"], row["events_done"]) == ("done", row["events_total"])
        asked = [
            (one["draft"]["step_id"], one["draft"]["at"], one["draft"]["parameters"]) for one in result["examples"].get("only_in_draft", [])
        ]
        expected = await really_asked(engine)
        assert expected or "fails" in name
        assert sorted(asked, key=str) == expected
        assert Counter(result["draft"]["verdicts"]) == await really_decided(engine)
        outcomes = {{"exited": "cancelled"}.get(status, status): count for status, count in result["draft"]["outcomes"].items()}
        assert Counter(outcomes) == Counter(run.status for run in await engine.runs())

    async def test_a_version_compared_with_itself_differs_nowhere(self, engine: BuiltinDriver) -> None:
        workflow = await engine.publish(DEFINITIONS["an answer awaited"])
        await live(engine, history(random.Random(7)), AT)
        backtest = await ask(engine, workflow)
        await run_all(engine)
        result = (await row_of(engine, backtest))["result"]
        assert result["draft"] == result["compared"]
        assert result["differences"] == {"same": sum(one["count"] for one in result["draft"]["actions"])}


class TestDifferences:
    async def test_they_are_counted_by_kind_with_examples(self, engine: BuiltinDriver) -> None:
        told = send(text="{{ event.title }}")
        workflow = await engine.publish(definition(told, wait("PT1H"), send("again"), condition="event.title != 'Check-up'"))
        draft = definition(send(text="Your {{ event.title }}"), wait("PT2H"), send("again"), condition="event.title != 'First visit'")
        await engine.edit(workflow, draft)
        visits = [Visit(title=title) for title in ("First visit", "Check-up", "Check-up", "Other")]
        engine.now = START
        for visit in visits:
            await engine.deliver(visit.registered(), visit.booked())
        engine.now += timedelta(days=1)
        backtest = await ask(engine, workflow)
        await run_all(engine)
        result = (await row_of(engine, backtest))["result"]
        expected = {"only_in_draft": 4, "only_in_compared": 2, "different_parameters": 1, "different_time": 1}
        assert result["differences"] == expected
        (changed,) = result["examples"]["different_parameters"]
        assert changed["patient_id"] == str(visits[3].patient_id)
        assert (changed["draft"]["parameters"]["text"], changed["compared"]["parameters"]["text"]) == ("Your Other", "Other")
        (later,) = result["examples"]["different_time"]
        gap = datetime.fromisoformat(later["draft"]["at"]) - datetime.fromisoformat(later["compared"]["at"])
        assert gap == HOURS

    async def test_what_somebody_should_look_at_is_a_warning(self, engine: BuiltinDriver) -> None:
        workflow = await engine.publish(definition(send(text="{{ patient.phone.size() }}"), condition="patient.email.size() > 3"))
        engine.now = START
        for visit in (Visit(email=None), Visit()):
            await engine.deliver(visit.registered(), visit.booked())
        engine.now += HOURS
        backtest = await ask(engine, workflow, compare_with=None)
        await run_all(engine)
        warnings = (await row_of(engine, backtest))["result"]["draft"]["warnings"]
        assert sorted((one["code"], str(one["step_id"]), one["count"]) for one in warnings) == [
            ("condition_error:no_such_overload", "None", 1),
            ("template_error:no_such_overload", "intake", 1),
        ]

    async def test_what_starts_far_too_much_is_cut_and_says_so(self, engine: BuiltinDriver, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(replaying, "MAX_RUNNING", 2)
        workflow = await engine.publish(definition(wait("P9D"), send()))
        engine.now = START
        for _ in range(4):
            visit = Visit()
            await engine.deliver(visit.registered(), visit.booked())
        engine.now += HOURS
        backtest = await ask(engine, workflow, compare_with=None)
        await run_all(engine)
        found = (await row_of(engine, backtest))["result"]["draft"]
        assert found["verdicts"] == {"started": 2, "not_followed": 2}
        assert [(one["code"], one["count"]) for one in found["warnings"]] == [("too_many_running", 2)]
        assert found["outcomes"] == {"running": 2}


class TestJobs:
    @pytest.fixture
    async def asked(self, engine: BuiltinDriver) -> UUID:
        workflow = await engine.publish(definition())
        engine.now = START
        for _ in range(5):
            visit = Visit()
            await engine.deliver(visit.registered(), visit.booked())
        engine.now += HOURS
        return await ask(engine, workflow)

    async def test_it_goes_page_by_page_and_shows_its_progress(
        self, engine: BuiltinDriver, asked: UUID, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(backtesting, "PAGE", 2)
        jobs = Backtests(engine.work, CelCpp)
        seen = []
        while await jobs.round() is not None:
            row = await row_of(engine, asked)
            seen.append((row["status"], row["events_done"], row["events_total"]))
        assert seen == [("running", 0, 5), ("running", 2, 5), ("done", 5, 5)]

    async def test_one_that_was_cut_off_begins_again_and_ends_the_same(
        self, engine: BuiltinDriver, asked: UUID, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(backtesting, "PAGE", 2)
        assert await Backtests(engine.work, CelCpp).round() == 0.0  # and this process is gone
        assert await Backtests(engine.work, CelCpp).round() is None  # held by its lease
        engine.now += 2 * LEASE
        await run_all(engine)
        row = await row_of(engine, asked)
        assert (row["status"], row["attempts"], row["events_done"]) == ("done", 2, 5)
        assert row["result"]["differences"] == {"same": 5}

    async def test_one_that_is_cut_off_again_and_again_is_given_up(
        self, engine: BuiltinDriver, asked: UUID, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(backtesting, "PAGE", 2)
        for _ in range(MOST_ATTEMPTS):
            assert await Backtests(engine.work, CelCpp).round() == 0.0
            engine.now += 2 * LEASE
        await run_all(engine)
        row = await row_of(engine, asked)
        assert (row["status"], row["error_code"]) == ("failed", "gave_up")

    async def test_one_that_is_given_up_keeps_nobody_waiting(
        self, engine: BuiltinDriver, asked: UUID, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(backtesting, "PAGE", 2)
        for _ in range(MOST_ATTEMPTS):
            assert await Backtests(engine.work, CelCpp).round() == 0.0
            engine.now += 2 * LEASE
        assert await Backtests(engine.work, CelCpp).round() == 0.0  # given up: look for the next at once
        assert (await row_of(engine, asked))["status"] == "failed"
        assert await Backtests(engine.work, CelCpp).round() is None

    async def test_nothing_is_started_asked_for_or_timed(self, engine: BuiltinDriver, asked: UUID) -> None:
        runs, said = await engine.runs(), await engine._outbox()
        await run_all(engine)
        assert (await engine.runs(), await engine._outbox()) == (runs, said)

    async def test_a_suspended_practice_waits(self, engine: BuiltinDriver, asked: UUID) -> None:
        await engine.suspend()
        await run_all(engine)
        assert (await row_of(engine, asked))["status"] == "queued"
        await engine.suspend(suspended=False)
        await run_all(engine)
        assert (await row_of(engine, asked))["status"] == "done"

    async def test_what_is_older_than_is_kept_is_forgotten(self, engine: BuiltinDriver, asked: UUID) -> None:
        await run_all(engine)
        await engine.suspend(suspended=False)  # so that the practice is known
        engine.now += KEPT + timedelta(days=1)
        assert await forget_old(engine.work) >= 5
        async with engine.work(engine.admin) as tx:
            for table in ("event_log", "backtest"):
                assert await tx.value(f"SELECT count(*) FROM {table} WHERE practice_id = $1", engine.practice) == 0


class TestOverHttp:
    @pytest.fixture
    async def workflow(self, engine: BuiltinDriver) -> UUID:
        workflow = await engine.publish(definition(send(subject="Old")))
        engine.now = datetime.now(UTC) - HOURS
        visit = Visit()
        await engine.deliver(visit.registered(), visit.booked())
        await engine.edit(workflow, definition(send(subject="New")))
        engine.now += HOURS
        return workflow

    async def test_it_is_asked_for_followed_and_read(
        self, client: httpx.AsyncClient, as_admin: Headers, engine: BuiltinDriver, workflow: UUID
    ) -> None:
        answer = await client.post(f"/v1/workflows/{workflow}/backtests", json={"days": 7}, headers=as_admin)
        assert (answer.status_code, answer.json()["status"]) == (202, "queued"), answer.text
        path = answer.headers["location"]
        twice = await client.post(f"/v1/workflows/{workflow}/backtests", json={"days": 7}, headers=as_admin)
        assert (twice.status_code, twice.json()["code"]) == (409, "backtest_under_way")
        await run_all(engine)
        found = (await client.get(path, headers=as_admin)).json()
        assert (found["status"], found["progress"], found["version"], found["compared_version"]) == ("done", 1.0, 2, 1)
        assert found["result"]["differences"] == {"different_parameters": 1}
        (viewed,) = await engine.said(ExplanationsViewed)
        assert isinstance(viewed, ExplanationsViewed)
        assert viewed.view == "backtest"
        listed = (await client.get(f"/v1/workflows/{workflow}/backtests", headers=as_admin)).json()["items"]
        assert [(one["id"], one["result"]) for one in listed] == [(found["id"], None)]

    async def test_it_can_be_called_off_once(
        self, client: httpx.AsyncClient, as_admin: Headers, engine: BuiltinDriver, workflow: UUID
    ) -> None:
        path = (await client.post(f"/v1/workflows/{workflow}/backtests", json={"days": 7}, headers=as_admin)).headers["location"]
        assert (await client.post(f"{path}/cancel", headers=as_admin)).status_code == 204
        again = await client.post(f"{path}/cancel", headers=as_admin)
        assert (again.status_code, again.json()["code"]) == (409, "backtest_has_ended")
        await run_all(engine)
        assert (await client.get(path, headers=as_admin)).json()["status"] == "cancelled"
        assert (await client.post(f"/v1/workflows/{workflow}/backtests", json={"days": 7}, headers=as_admin)).status_code == 202

    @pytest.mark.parametrize(
        ("body", "status", "code"),
        [
            ({}, 422, "invalid_input"),
            ({"days": 31}, 422, "invalid_input"),
            ({"days": 3, "since": "2030-01-01T00:00:00Z"}, 422, "invalid_input"),
            ({"since": "2020-01-01T00:00:00Z"}, 422, "backtest_span_invalid"),
            ({"since": "2100-01-01T00:00:00Z"}, 422, "backtest_span_invalid"),
            ({"days": 3, "compare_with": 9}, 404, "version_not_found"),
            ({"days": 3, "compare_with": "another"}, 422, "invalid_input"),
        ],
    )
    async def test_what_cannot_be_done_is_refused(
        self, client: httpx.AsyncClient, as_admin: Headers, workflow: UUID, body: dict[str, Any], status: int, code: str
    ) -> None:
        answer = await client.post(f"/v1/workflows/{workflow}/backtests", json=body, headers=as_admin)
        assert (answer.status_code, answer.json()["code"]) == (status, code), answer.text

    async def test_admins_only(self, client: httpx.AsyncClient, as_user: Headers, as_stranger: Headers, workflow: UUID) -> None:
        path = f"/v1/workflows/{workflow}/backtests"
        assert (await client.post(path, json={"days": 1}, headers=as_user)).status_code == 403
        assert (await client.get(path, headers=as_user)).status_code == 403
        assert (await client.get(path, headers=as_stranger)).status_code == 404
