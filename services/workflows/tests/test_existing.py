"""Appointments booked before a workflow was published: as a job over HTTP, whatever dies meanwhile, and what is said about it."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest

from libs.common.work import Work
from services.workflows.commands import jobs
from services.workflows.commands.existing import PATIENCE
from services.workflows.rules.expressions.engines import ENGINES
from services.workflows.tests.engine.builtin import BuiltinDriver
from services.workflows.tests.engine.world import Visit, booked, definition, reminder
from services.workflows.tests.steering import Client, Headers, done, post
from services.workflows.tests.test_api import saved
from services.workflows.timers import jobs as kinds_of

DAY = timedelta(days=1)


@pytest.fixture
async def engine(work: Work, practice: UUID) -> BuiltinDriver:
    driver = BuiltinDriver(work.engine, practice)
    await driver.learn_catalogue()
    return driver


async def visits(engine: BuiltinDriver, count: int) -> list[Visit]:
    found = [Visit(starts_at=engine.now + 3 * DAY) for _ in range(count)]
    await engine.deliver(*(visit.registered() for visit in found))
    await engine.deliver(*(visit.booked() for visit in found))
    return found


async def publish(client: Client, headers: Headers, body: Any = None, status: int = 200, **definition: Any) -> tuple[str, Any]:
    """The workflow, and the answer to its publication."""
    workflow_id = (await saved(client, headers, definition=definition or reminder("trigger")))["id"]
    return workflow_id, await post(client, f"/v1/workflows/{workflow_id}/publish", headers, body, status)


class TestPublishing:
    async def test_how_many_it_would_take_up_is_said_before(self, client: Client, engine: BuiltinDriver, as_admin: Headers) -> None:
        await visits(engine, 3)
        gone = await booked(engine, Visit(starts_at=engine.now - DAY))
        workflow = await saved(client, as_admin, definition=reminder("trigger"))
        path = f"/v1/workflows/{workflow['id']}"
        assert (await post(client, f"{path}/validate", as_admin))["existing_appointments"] == 3
        job = (await post(client, f"{path}/publish", as_admin))["including"]
        assert (job["kind"], job["total"], job["status"]) == ("include", 3, "running")
        assert (await done(engine, client, as_admin, job))["done"] == 3
        assert (await post(client, f"{path}/validate", as_admin))["existing_appointments"] == 0
        assert str(gone.appointment_id) not in str(await engine.runs())

    async def test_left_out_nothing_is_taken_up_and_it_may_be_done_later(
        self, client: Client, engine: BuiltinDriver, as_admin: Headers
    ) -> None:
        await visits(engine, 2)
        workflow, answer = await publish(client, as_admin, {"include_existing": False})
        assert answer["including"] is None
        later = await post(client, f"/v1/workflows/{workflow}/publish", as_admin, {"include_existing": True})
        same = await post(client, f"/v1/workflows/{workflow}/publish", as_admin, {"include_existing": True})
        assert (later["published_version"], same["including"]["id"]) == (1, later["including"]["id"])
        assert (await done(engine, client, as_admin, later["including"]))["done"] == 2

    async def test_thought_better_of_it_stops(self, client: Client, engine: BuiltinDriver, as_admin: Headers) -> None:
        await visits(engine, 120)
        workflow, answer = await publish(client, as_admin)
        await done(engine, client, as_admin, answer["including"], chunks=1)
        await post(client, f"/v1/workflows/{workflow}/publish", as_admin, {"include_existing": False})
        assert (await done(engine, client, as_admin, answer["including"]))["status"] == "cancelled"
        assert len(await engine.runs()) == 100

    async def test_only_what_runs_before_or_after_appointments_can(self, client: Client, engine: BuiltinDriver, as_admin: Headers) -> None:
        _, refused = await publish(client, as_admin, {"include_existing": True}, 422, **definition())
        assert (refused["code"], refused["errors"][0]["pointer"]) == ("not_anchored", "/include_existing")
        _, answer = await publish(client, as_admin, **definition())
        assert answer["including"] is None

    async def test_unpublished_meanwhile_no_more_are_taken_up(self, client: Client, engine: BuiltinDriver, as_admin: Headers) -> None:
        await visits(engine, 120)
        workflow, answer = await publish(client, as_admin)
        await done(engine, client, as_admin, answer["including"], chunks=1)
        await post(client, f"/v1/workflows/{workflow}/unpublish", as_admin)
        ended = await done(engine, client, as_admin, answer["including"])
        assert (ended["status"], ended["done"], len(await engine.runs())) == ("finished", 100, 100)


class TestTheJob:
    async def test_killed_at_any_chunk_and_published_again_meanwhile_each_gets_one_run(
        self, client: Client, engine: BuiltinDriver, as_admin: Headers
    ) -> None:
        known = await visits(engine, 320)
        workflow, answer = await publish(client, as_admin)
        do = kinds_of(ENGINES["cel-cpp"], engine.published)

        async def and_die(*arguments: Any) -> Any:
            await do["include"](*arguments)
            raise asyncio.CancelledError

        engine.now += timedelta(seconds=5)
        for turn in range(12):
            with pytest.raises(asyncio.CancelledError):
                await jobs.work_on(engine.work, {**do, "include": and_die})
            await asyncio.gather(*(jobs.work_on(engine.work, do) for _ in range(3)))
            engine.now += jobs.PACE
            if turn == 1:
                await post(client, f"/v1/workflows/{workflow}/unpublish", as_admin)
                answer = await post(client, f"/v1/workflows/{workflow}/publish", as_admin)
            if (await client.get(f"/v1/runs/jobs/{answer['including']['id']}", headers=as_admin)).json()["status"] == "finished":
                break
        assert len(await engine.runs()) == len(known)
        await engine.pass_time(3 * DAY)
        asked = [str(request.patient_id) for request in await engine.requests()]
        assert sorted(asked) == sorted(str(visit.patient_id) for visit in known)

    async def test_booked_and_moved_while_it_is_at_work_each_gets_one_run(
        self, client: Client, engine: BuiltinDriver, as_admin: Headers
    ) -> None:
        known = await visits(engine, 120)
        _, answer = await publish(client, as_admin)
        await done(engine, client, as_admin, answer["including"], chunks=1)
        await engine.deliver(*(visit.moved(engine.now + 4 * DAY) for visit in known))
        await visits(engine, 5)
        await done(engine, client, as_admin, answer["including"])
        assert len(await engine.runs()) == 125

    async def test_it_waits_for_news_of_a_patient_that_is_on_its_way(
        self, client: Client, engine: BuiltinDriver, as_admin: Headers
    ) -> None:
        early = Visit(starts_at=engine.now + 3 * DAY)
        await engine.deliver(early.booked())
        _, answer = await publish(client, as_admin)
        assert (await done(engine, client, as_admin, answer["including"], chunks=3))["status"] == "running"
        await engine.deliver(early.registered())
        engine.now += jobs.POSTPONED
        ended = await done(engine, client, as_admin, answer["including"])
        assert (ended["status"], ended["done"], ended["failed"]) == ("finished", 1, 0)

    async def test_a_patient_nobody_ever_hears_of_is_counted_and_stops_no_other(
        self, client: Client, engine: BuiltinDriver, as_admin: Headers
    ) -> None:
        await visits(engine, 3)
        await engine.deliver(Visit(starts_at=engine.now + 3 * DAY).booked())
        _, answer = await publish(client, as_admin)
        engine.now += PATIENCE
        ended = await done(engine, client, as_admin, answer["including"])
        assert (ended["status"], ended["done"], ended["failed"]) == ("finished", 3, 1)

    async def test_practices_take_turns(self, client: Client, engine: BuiltinDriver, as_admin: Headers, work: Work) -> None:
        other = BuiltinDriver(work.engine)
        await visits(engine, 250)
        await visits(other, 2)
        _, answer = await publish(client, as_admin)
        await other.publish(reminder("trigger"))  # works until its own job has ended: one turn of each
        shown = (await client.get(f"/v1/runs/jobs/{answer['including']['id']}", headers=as_admin)).json()
        assert (len(await other.runs()), shown["status"]) == (2, "running")


class TestWhy:
    async def explained(self, client: Client, headers: Headers, visit: Visit, workflow: str) -> list[tuple[str, str, int]]:
        query = {"patient_id": str(visit.patient_id), "limit": "20", "to": visit.starts_at.isoformat()}
        items = (await client.get("/v1/workflows/explanations", params=query, headers=headers)).json()["items"]
        return [
            (item["type"].split(".")[2], one["verdict"], len(one["runs"]))
            for item in items
            for one in item["workflows"]
            if one["workflow_id"] == workflow and item["type"].split(".")[2].startswith("appointment")
        ]

    async def test_what_was_taken_up_why_not_before_and_why_not_again(
        self, client: Client, engine: BuiltinDriver, as_admin: Headers
    ) -> None:
        (visit,) = await visits(engine, 1)
        engine.now += timedelta(minutes=1)
        workflow = await engine.publish(reminder("trigger"))
        engine.now += timedelta(minutes=1)
        await engine.publish(reminder("trigger"), workflow, include_existing=True)
        assert await self.explained(client, as_admin, visit, str(workflow)) == [
            ("appointment-included", "started_already", 1),
            ("appointment-included", "started", 1),
            ("appointment-booked", "not_in_force", 0),
        ]

    async def test_why_somebody_was_not_taken_up(self, client: Client, engine: BuiltinDriver, as_admin: Headers) -> None:
        (visit,) = await visits(engine, 1)
        assert visit.patient_id is not None
        await engine.suppress(visit.patient_id)
        engine.now += timedelta(minutes=1)
        workflow = await engine.publish(reminder("trigger"))
        assert (await self.explained(client, as_admin, visit, str(workflow)))[0] == ("appointment-included", "suppressed", 0)

    async def test_what_it_took_up_can_be_run_again_and_tried_out(self, client: Client, engine: BuiltinDriver, as_admin: Headers) -> None:
        await booked(engine, Visit(starts_at=engine.now + timedelta(hours=8)))
        workflow = await engine.publish(reminder("trigger"))
        (run,) = await engine.runs()
        await engine.cancel(run.id)
        await post(client, f"/v1/runs/{run.id}/rerun", as_admin, {}, 201)
        assert len(await engine.requests()) == 2
        shown = (await client.get(f"/v1/runs/{run.id}", headers=as_admin)).json()
        tried = await post(client, f"/v1/workflows/{workflow}/dry-run", as_admin, {"event_id": shown["trigger_event_id"]})
        assert (shown["trigger_type"], tried["verdict"]) == ("vantage.workflows.appointment-included.v1", "started")
