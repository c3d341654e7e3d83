"""No silent run: what stands still is put right or raised, once."""

from __future__ import annotations

from datetime import timedelta
from typing import Any
from uuid import UUID

import httpx
import pytest

from libs.common.work import Work
from libs.contracts.actions import Outcome
from libs.contracts.workflows import RunStuck, ScheduleStuck
from services.workflows import timers
from services.workflows.commands import watchdog
from services.workflows.commands.controls import retry_run
from services.workflows.tests.engine.builtin import BuiltinDriver
from services.workflows.tests.engine.world import HOURS, Visit, definition, practice_created, send, wait
from services.workflows.tests.steering import breaks

Headers = dict[str, str]


@pytest.fixture
async def engine(work: Work, practice: UUID) -> BuiltinDriver:
    driver = BuiltinDriver(work.engine, practice)
    await driver.learn_catalogue()
    return driver


async def booked(engine: BuiltinDriver, count: int = 1) -> None:
    visits = [Visit() for _ in range(count)]
    await engine.deliver(*(visit.registered() for visit in visits), *(visit.booked() for visit in visits))


async def damage(engine: BuiltinDriver, sql: str) -> None:
    """Something a bug, or a hand in the database, might have left behind."""
    async with engine.work(engine.admin) as tx:
        await tx.execute(sql, engine.practice)


async def look(engine: BuiltinDriver, after: timedelta = timedelta(minutes=5)) -> watchdog.Findings:
    engine.now += after
    return await watchdog.look_after([engine.practice], engine.work, engine.published)


class TestRepairs:
    async def test_runs_that_are_well_are_left_alone(self, engine: BuiltinDriver) -> None:
        await engine.publish(definition(wait("P1D"), send()))
        await engine.publish(definition(send()))
        await engine.publish(
            definition(
                {"kind": "wait_for", "id": "w", "events": [{"event": "vantage.scheduling.appointment-confirmed.v1"}], "timeout": "P9D"}
            )
        )
        await booked(engine, 3)
        found = await look(engine)
        assert (found.repaired, found.raised) == (0, 0)

    @pytest.mark.parametrize("step", [wait("PT1H"), {
        "kind": "wait_for", "id": "pause", "events": [{"event": "vantage.scheduling.appointment-confirmed.v1"}], "timeout": "PT1H",
    }])  # fmt: skip
    async def test_runs_silently_abandoned(self, engine: BuiltinDriver, step: dict[str, Any]) -> None:
        """A timer that is gone comes back with the time it had."""
        await engine.publish(definition(step, send()))
        await booked(engine, 2)
        await damage(engine, "DELETE FROM timer WHERE practice_id = $1")
        assert (await look(engine)).repaired == 2
        await engine.pass_time(timedelta(minutes=54))
        assert await engine.requests() == []
        await engine.pass_time(timedelta(minutes=2))
        assert len(await engine.requests()) == 2

    async def test_a_run_that_stopped_between_two_steps_goes_on(self, engine: BuiltinDriver) -> None:
        await engine.publish(definition(wait("PT1H"), send()))
        await booked(engine)
        await damage(engine, "UPDATE run SET cursor = 1, waiting = false, memory = '{}' WHERE practice_id = $1")
        await damage(engine, "DELETE FROM timer WHERE practice_id = $1")
        assert (await look(engine)).repaired == 1
        assert len(await engine.requests()) == 1
        assert (await look(engine)).repaired == 0

    async def test_what_a_pause_missed_is_held_and_what_a_resume_missed_is_let_go(self, engine: BuiltinDriver) -> None:
        await engine.publish(definition(wait("PT1H"), send()))
        await booked(engine)
        await damage(engine, "UPDATE workflow SET paused = true WHERE practice_id = $1")
        assert (await look(engine)).repaired == 1
        await engine.pass_time(2 * HOURS)
        assert await engine.requests() == []
        await damage(engine, "UPDATE workflow SET paused = false WHERE practice_id = $1")
        assert (await look(engine)).repaired == 1
        async with engine.work(engine.admin) as tx:
            assert await tx.value("SELECT count(*) FROM job WHERE practice_id = $1 AND kind = 'release'", engine.practice) == 1
        assert (await look(engine)).repaired == 0

    async def test_a_schedule_and_a_job_nobody_would_come_to_are_put_back(
        self, engine: BuiltinDriver, client: httpx.AsyncClient, as_admin: Headers
    ) -> None:
        await engine.publish({"trigger": {"kind": "schedule", "cron": "0 9 * * *"}, "steps": [wait()]})
        await client.post("/v1/runs/bulk", json={"verb": "cancel", "filter": {}}, headers=as_admin)
        for table in ("schedule", "job_due"):
            await damage(engine, f"DELETE FROM {table} WHERE practice_id = $1")
        assert (await look(engine)).repaired == 2
        assert (await look(engine)).repaired == 0


class TestRaising:
    async def test_runs_stuck_running(
        self, engine: BuiltinDriver, client: httpx.AsyncClient, as_user: Headers, as_stranger: Headers
    ) -> None:
        """An answer that does not come is raised once, listed, never asked for again, and forgotten when it comes."""
        await engine.publish(definition(send(), wait("P1D")))
        await booked(engine)
        (request,) = await engine.requests()
        assert (await look(engine)).raised == 0
        assert [(await look(engine, watchdog.NO_ANSWER)).raised for _ in range(3)] == [1, 0, 0]
        (stuck,) = await engine.said(RunStuck)
        assert isinstance(stuck, RunStuck)
        assert (stuck.run_id, stuck.step_id, stuck.code) == (request.run_id, "intake", "no_answer")
        assert len(await engine.requests()) == 1

        async def listed(headers: Headers, *, stuck: bool) -> list[str]:
            answer = await client.get("/v1/runs", params={"stuck": stuck}, headers=headers)
            return [run["id"] for run in answer.json()["items"]]

        assert (await listed(as_user, stuck=True), await listed(as_user, stuck=False)) == ([str(request.run_id)], [])
        assert await listed(as_stranger, stuck=True) == []
        shown = (await client.get(f"/v1/runs/{request.run_id}", headers=as_user)).json()
        assert [(cause["step_id"], cause["code"]) for cause in shown["stuck"]] == [("intake", "no_answer")]
        await engine.answer(request, Outcome.SUCCEEDED)
        await look(engine)
        assert await listed(as_user, stuck=True) == []

    async def test_an_unknown_outcome_is_raised_and_never_resent(self, engine: BuiltinDriver) -> None:
        await engine.publish(definition(send()))
        await booked(engine)
        (request,) = await engine.requests()
        await engine.answer(request, Outcome.UNKNOWN)
        assert [(await look(engine, watchdog.UNKNOWN + timedelta(seconds=1))).raised for _ in range(2)] == [1, 0]
        assert [stuck.code for stuck in await engine.said(RunStuck) if isinstance(stuck, RunStuck)] == ["unknown_outcome"]
        assert len(await engine.requests()) == 1

    async def test_a_run_that_waits_for_nothing_is_raised(self, engine: BuiltinDriver) -> None:
        await engine.publish(definition(send()))
        await booked(engine)
        await damage(engine, "UPDATE step SET status = 'succeeded' WHERE practice_id = $1")
        assert [(await look(engine)).raised for _ in range(2)] == [1, 0]
        assert [stuck.code for stuck in await engine.said(RunStuck) if isinstance(stuck, RunStuck)] == ["nothing_to_wait_for"]

    async def test_a_new_attempt_has_time_of_its_own(self, engine: BuiltinDriver) -> None:
        await engine.publish(definition(send()))
        await booked(engine)
        (request,) = await engine.requests()
        engine.now += watchdog.NO_ANSWER
        await engine.answer(request, Outcome.FAILED, "mailbox_full")
        async with engine.work(engine.admin) as tx:
            await retry_run(request.run_id, engine.published, tx)
        assert (await look(engine)).raised == 0


async def causes(client: httpx.AsyncClient, headers: Headers) -> list[tuple[str | None, str]]:
    answer = await client.get("/v1/runs/stuck", headers=headers)
    assert answer.status_code == 200, answer.text
    return [(cause["run_id"], cause["code"]) for cause in answer.json()["items"]]


class TestWhatFailsEveryTime:
    async def test_a_timer_is_put_off_counted_and_raised_and_fires_when_it_can(
        self, engine: BuiltinDriver, client: httpx.AsyncClient, as_user: Headers, as_stranger: Headers, broken: set[UUID]
    ) -> None:
        workflow = await engine.publish(definition(wait("PT1H"), send()))
        await booked(engine)
        (run,) = await engine.runs()
        await breaks(engine, broken, workflow)
        await engine.pass_time(timedelta(hours=1, minutes=3))
        assert (await look(engine, timedelta())).raised == 0
        await engine.pass_time(timedelta(minutes=watchdog.TIMES))
        assert [(await look(engine, timedelta())).raised for _ in range(3)] == [1, 0, 0]
        (stuck,) = await engine.said(RunStuck)
        assert isinstance(stuck, RunStuck)
        assert (stuck.run_id, stuck.step_id, stuck.code) == (run.id, "pause", "keeps_failing")
        assert await causes(client, as_user) == [(str(run.id), "keeps_failing")]
        assert await causes(client, as_stranger) == []
        shown = (await client.get(f"/v1/runs/{run.id}", headers=as_user)).json()
        assert [cause["code"] for cause in shown["stuck"]] == ["keeps_failing"]
        await breaks(engine, broken)
        await engine.pass_time(timedelta(minutes=2))
        assert len(await engine.requests()) == 1
        await look(engine, timedelta())
        assert await causes(client, as_user) == []

    async def test_a_schedule_is_put_off_counted_and_raised_and_forgets_no_time(
        self, engine: BuiltinDriver, client: httpx.AsyncClient, as_user: Headers, broken: set[UUID]
    ) -> None:
        await engine.deliver(practice_created(engine.practice))
        workflow = await engine.publish({"trigger": {"kind": "schedule", "cron": "0 9 * * *"}, "steps": [wait()]})
        await breaks(engine, broken, workflow)
        engine.now += timedelta(days=1)
        for _ in range(watchdog.TIMES):
            assert await causes(client, as_user) == []
            await timers.follow_schedules(engine.work, engine.published)
            engine.now += timedelta(minutes=1, seconds=1)
        assert [(await look(engine, timedelta())).raised for _ in range(2)] == [1, 0]
        (stuck,) = await engine.said(ScheduleStuck)
        assert isinstance(stuck, ScheduleStuck)
        assert (stuck.workflow_id, stuck.code) == (workflow, "keeps_failing")
        assert await causes(client, as_user) == [(None, "keeps_failing")]
        await breaks(engine, broken)
        await timers.follow_schedules(engine.work, engine.published)
        assert len(await engine.runs()) == 1
        await look(engine, timedelta())
        assert await causes(client, as_user) == []

    async def test_a_run_that_cannot_go_on_is_raised_and_hides_no_other(self, engine: BuiltinDriver, broken: set[UUID]) -> None:
        workflow = await engine.publish(definition(wait("PT1H"), send()))
        await engine.publish(definition(send("other"), wait("P1D")))
        await booked(engine)
        await breaks(engine, broken, workflow)
        await damage(engine, "UPDATE run SET waiting = false, cursor = 0, memory = '{}' WHERE practice_id = $1")
        await damage(engine, "DELETE FROM timer WHERE practice_id = $1")
        found = await look(engine)
        assert (found.repaired, found.raised) == (1, 1)
        assert {stuck.code for stuck in await engine.said(RunStuck) if isinstance(stuck, RunStuck)} == {"keeps_failing"}
        assert (await look(engine)).raised == 0

    async def test_a_run_whose_wait_cannot_be_told_any_more_is_raised(self, engine: BuiltinDriver, broken: set[UUID]) -> None:
        workflow = await engine.publish(definition(wait("PT1H"), send()))
        await booked(engine)
        await breaks(engine, broken, workflow)
        await damage(engine, "DELETE FROM timer WHERE practice_id = $1")
        assert [(await look(engine)).raised for _ in range(2)] == [1, 0]
        assert [stuck.code for stuck in await engine.said(RunStuck) if isinstance(stuck, RunStuck)] == ["nothing_to_wait_for"]


class TestTheListOfCauses:
    async def test_goes_from_page_to_page_without_leaving_one_out(
        self, engine: BuiltinDriver, client: httpx.AsyncClient, as_user: Headers
    ) -> None:
        await engine.publish(definition(send()))
        await booked(engine, 5)
        await look(engine, watchdog.NO_ANSWER + timedelta(minutes=1))
        seen: list[str] = []
        cursor: str | None = None
        while True:
            page = (
                await client.get("/v1/runs/stuck", params={"limit": 2} | ({"cursor": cursor} if cursor else {}), headers=as_user)
            ).json()
            seen += [cause["run_id"] for cause in page["items"]]
            cursor = page["next_cursor"]
            if cursor is None:
                break
        assert sorted(seen) == sorted(str(run.id) for run in await engine.runs())


class TestRounds:
    async def test_one_practice_that_cannot_be_looked_at_hides_no_other(
        self, engine: BuiltinDriver, monkeypatch: pytest.MonkeyPatch, work: Work
    ) -> None:
        await engine.publish(definition(send()))
        await booked(engine)
        other = BuiltinDriver(work.engine)
        engine.now += watchdog.NO_ANSWER + timedelta(minutes=1)
        look_at = watchdog._look

        async def with_one_bad(published: Any, found: Any, tx: Any) -> None:
            if tx.practice_id == other.practice:
                raise ZeroDivisionError
            await look_at(published, found, tx)

        monkeypatch.setattr(watchdog, "_look", with_one_bad)
        found = await watchdog.look_after([other.practice, engine.practice], engine.work, engine.published)
        assert found.raised == 1

    async def test_the_duty_goes_round_all_practices_some_at_a_time(self, engine: BuiltinDriver, monkeypatch: pytest.MonkeyPatch) -> None:
        await engine.suspend(suspended=False)
        monkeypatch.setattr(timers, "LOOKED_AT", 1)
        seen: list[UUID] = []

        async def looking(practices: list[UUID], *_: Any) -> None:
            seen.extend(practices)

        monkeypatch.setattr(timers, "look_after", looking)
        watch = timers.Watch(engine.work, engine.published)
        while await watch.round() is not None:
            pass
        assert engine.practice in seen
        assert len(seen) == len(set(seen))
