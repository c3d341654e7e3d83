"""Runs run again from what started them, whatever that was."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest

from libs.common.work import Work
from libs.contracts.actions import Outcome
from services.workflows.tests.engine.builtin import BuiltinDriver
from services.workflows.tests.engine.world import HOURS, Visit, definition, practice_created, reminder, send
from services.workflows.tests.engine.world import booked as one_booked
from services.workflows.tests.steering import Client, Headers, booked, by_hand, done, patients, post
from services.workflows.tests.test_schedules import turns
from services.workflows.tests.test_webhooks import BODY, secret_of, signed

DAY = timedelta(days=1)
Begin = Callable[[Client, BuiltinDriver, Headers], Awaitable[None]]


@pytest.fixture
async def engine(work: Work, practice: UUID) -> BuiltinDriver:
    driver = BuiltinDriver(work.engine, practice)
    await driver.learn_catalogue()
    return driver


async def by_event(_: Client, engine: BuiltinDriver, __: Headers) -> None:
    await engine.publish(definition())
    await booked(engine)


async def by_its_time(_: Client, engine: BuiltinDriver, __: Headers) -> None:
    await engine.publish(reminder("trigger", enrolment={"policy": "once"}))
    await one_booked(engine, Visit(starts_at=engine.now + 3 * DAY))
    await engine.pass_time(2 * DAY)


async def by_a_person(client: Client, engine: BuiltinDriver, headers: Headers) -> None:
    workflow = await engine.publish(by_hand(send(), enrolment={"policy": "once"}))
    (visit,) = await patients(engine, 1)
    await post(client, f"/v1/workflows/{workflow}/runs", headers, {"patient_id": str(visit.patient_id)}, 201)


async def by_the_clock(_: Client, engine: BuiltinDriver, __: Headers) -> None:
    trigger = {"kind": "schedule", "cron": "0 9 * * *", "for_each": "patient"}
    engine.now -= DAY
    await engine.deliver(practice_created(engine.practice))
    await engine.publish({"trigger": trigger, "steps": [send()]})
    await patients(engine, 1)
    engine.now += DAY
    await turns(engine)


async def by_a_call(client: Client, engine: BuiltinDriver, headers: Headers) -> None:
    workflow = await engine.publish({"trigger": {"kind": "webhook"}, "steps": [send()]})
    path, secret = await secret_of(client, workflow, headers)
    assert (await client.post(path, content=BODY, headers=signed(secret, BODY))).is_success


ALL = pytest.mark.parametrize("begin", [by_event, by_its_time, by_a_person, by_the_clock, by_a_call])


async def failed_once(client: Client, engine: BuiltinDriver, headers: Headers, begin: Begin) -> dict[str, Any]:
    """A run that failed, as the list shows it."""
    await begin(client, engine, headers)
    (request,) = await engine.requests()
    await engine.answer(request, Outcome.FAILED, "mailbox_full")
    (run,) = (await client.get("/v1/runs", params={"status": "failed"}, headers=headers)).json()["items"]
    found: dict[str, Any] = run
    return found


class TestRerun:
    @ALL
    async def test_whatever_started_a_run_may_start_it_again(
        self, client: Client, engine: BuiltinDriver, as_admin: Headers, begin: Begin
    ) -> None:
        run = await failed_once(client, engine, as_admin, begin)
        again = await post(client, f"/v1/runs/{run['id']}/rerun", as_admin, {}, 201)
        await engine.pass_time(timedelta())
        first, second = await engine.requests()
        assert (str(second.run_id), second.patient_id) == (again["run_id"], first.patient_id)
        assert first.effect_key != second.effect_key

    @ALL
    async def test_so_may_many(self, client: Client, engine: BuiltinDriver, as_admin: Headers, begin: Begin) -> None:
        run = await failed_once(client, engine, as_admin, begin)
        wish = {"verb": "rerun", "filter": {"workflow_id": run["workflow_id"], "status": "failed"}}
        job = await post(client, "/v1/runs/bulk", as_admin, wish, 201)
        ended = await done(engine, client, as_admin, job)
        assert (ended["done"], ended["passed"], ended["failed"]) == (1, 0, 0)
        await engine.pass_time(timedelta())
        assert len(await engine.requests()) == 2

    async def test_a_workflow_by_event_that_goes_by_the_appointments_time_now(
        self, client: Client, engine: BuiltinDriver, as_admin: Headers
    ) -> None:
        workflow = await engine.publish(definition())
        await one_booked(engine, Visit(starts_at=engine.now + 3 * DAY))
        (run,) = await engine.runs()
        await engine.publish(reminder("trigger"), workflow)
        await post(client, f"/v1/runs/{run.id}/rerun", as_admin, {}, 201)
        assert len(await engine.requests()) == 1
        await engine.pass_time(2 * DAY)
        assert [request.step_id for request in await engine.requests()] == ["intake", "remind"]

    async def test_a_time_that_is_over_is_decided_by_its_policy(self, client: Client, engine: BuiltinDriver, as_admin: Headers) -> None:
        await engine.publish(reminder("trigger", policy="skip"))
        await one_booked(engine, Visit(starts_at=engine.now + 3 * DAY))
        await engine.pass_time(2 * DAY + HOURS)
        (run,) = await engine.runs()
        await post(client, f"/v1/runs/{run.id}/rerun", as_admin, {}, 201)
        await engine.pass_time(DAY)
        assert [one.status for one in await engine.runs()] == ["running", "completed"]
        assert len(await engine.requests()) == 1

    async def test_no_second_one_waits_for_the_time_of_an_appointment(
        self, client: Client, engine: BuiltinDriver, as_admin: Headers
    ) -> None:
        await engine.publish(reminder("trigger"))
        await one_booked(engine, Visit(starts_at=engine.now + 3 * DAY))
        (run,) = await engine.runs()
        assert (await post(client, f"/v1/runs/{run.id}/rerun", as_admin, {}, 409))["code"] == "waits_already"
        await engine.cancel(run.id)
        for _ in range(2):
            job = await post(client, "/v1/runs/bulk", as_admin, {"verb": "rerun", "filter": {"run_ids": [str(run.id)]}}, 201)
            await done(engine, client, as_admin, job)
        await engine.pass_time(3 * DAY)
        assert len(await engine.requests()) == 1
