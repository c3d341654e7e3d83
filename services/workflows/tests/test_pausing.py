"""Runs and whole workflows paused, resumed, tried and run again."""

from __future__ import annotations

from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest

from libs.common.work import Work
from libs.contracts.actions import Outcome
from libs.contracts.workflows import RunStuck
from services.workflows.commands import pausing, watchdog
from services.workflows.tests.engine.builtin import BuiltinDriver
from services.workflows.tests.engine.world import HOURS, Visit, definition, send, wait
from services.workflows.tests.steering import Client, Headers, booked, by_hand, done, post, statuses


@pytest.fixture
async def engine(work: Work, practice: UUID) -> BuiltinDriver:
    driver = BuiltinDriver(work.engine, practice)
    await driver.learn_catalogue()
    return driver


class TestPausingAWorkflow:
    async def test_pause_that_loses_messages(self, client: Client, engine: BuiltinDriver, as_admin: Headers) -> None:
        """Runs in flight stand still, new ones are held, timers wait, answers count; resumed, everything goes on once."""
        workflow = await engine.publish(definition(send("first"), wait("PT1H"), send("second")))
        await booked(engine, 3)
        held = await post(client, f"/v1/workflows/{workflow}/pause", as_admin)
        assert (held["paused"], held["held"]) == (True, 3)
        await booked(engine, 120)
        for request in await engine.requests():
            await engine.answer(request, Outcome.SUCCEEDED)
        await engine.pass_time(5 * HOURS)
        assert len(await engine.requests()) == 3
        shown = (await client.get(f"/v1/workflows/{workflow}/backlog", headers=as_admin)).json()
        assert (shown["held"], shown["oldest"] is not None) == (123, True)
        resumed = await post(client, f"/v1/workflows/{workflow}/resume", as_admin)
        assert (resumed["paused"], resumed["held"]) == (False, 123)
        await booked(engine, 1)  # starts at once, before the backlog
        assert len(await engine.requests()) == 4
        job = (await client.get(f"/v1/runs/jobs/{resumed['job_id']}", headers=as_admin)).json()
        assert (await done(engine, client, as_admin, job))["done"] == 123
        for request in (await engine.requests())[3:]:
            await engine.answer(request, Outcome.SUCCEEDED)
        await engine.pass_time(2 * HOURS)
        asked = [(request.run_id, request.step_id) for request in await engine.requests()]
        assert len(asked) == len(set(asked)) == 2 * 124

    async def test_pausing_and_resuming_again_changes_nothing(self, client: Client, engine: BuiltinDriver, as_admin: Headers) -> None:
        workflow = await engine.publish(definition(wait(), send()))
        await booked(engine, 2)
        paused = [await post(client, f"/v1/workflows/{workflow}/pause", as_admin) for _ in range(2)]
        assert paused[0] == paused[1]
        resumed = [await post(client, f"/v1/workflows/{workflow}/resume", as_admin) for _ in range(2)]
        assert resumed[0] == resumed[1]

    async def test_paused_while_it_is_let_go_the_rest_stays_held(self, client: Client, engine: BuiltinDriver, as_admin: Headers) -> None:
        workflow = await engine.publish(definition(wait("PT1H"), send()))
        await booked(engine, 120)
        await post(client, f"/v1/workflows/{workflow}/pause", as_admin)
        job_id = (await post(client, f"/v1/workflows/{workflow}/resume", as_admin))["job_id"]
        await done(engine, client, as_admin, {"id": job_id}, chunks=1)
        again = await post(client, f"/v1/workflows/{workflow}/pause", as_admin)
        await done(engine, client, as_admin, {"id": job_id})
        await engine.pass_time(2 * HOURS)
        assert (again["held"], len(await engine.requests())) == (120, 0)
        job_id = (await post(client, f"/v1/workflows/{workflow}/resume", as_admin))["job_id"]
        await done(engine, client, as_admin, {"id": job_id})
        await engine.pass_time(timedelta())
        assert len(await engine.requests()) == 120

    async def test_paused_and_resumed_while_it_is_let_go_nothing_stays_held(
        self, client: Client, engine: BuiltinDriver, as_admin: Headers
    ) -> None:
        workflow = await engine.publish(definition(wait("PT1H"), send()))
        await booked(engine, 120)
        await post(client, f"/v1/workflows/{workflow}/pause", as_admin)
        first = (await post(client, f"/v1/workflows/{workflow}/resume", as_admin))["job_id"]
        await done(engine, client, as_admin, {"id": first}, chunks=1)
        await post(client, f"/v1/workflows/{workflow}/pause", as_admin)
        again = (await post(client, f"/v1/workflows/{workflow}/resume", as_admin))["job_id"]
        assert (await client.get(f"/v1/runs/jobs/{first}", headers=as_admin)).json()["status"] == "cancelled"
        assert (await done(engine, client, as_admin, {"id": again}))["done"] == 120
        assert (await client.get(f"/v1/workflows/{workflow}/backlog", headers=as_admin)).json()["held"] == 0
        assert (await watchdog.look_after([engine.practice], engine.work, engine.published)).repaired == 0
        await engine.pass_time(2 * HOURS)
        assert len(await engine.requests()) == 120

    async def test_a_run_that_cannot_be_let_go_is_raised_once_keeps_no_other_and_goes_on_when_it_can(
        self, client: Client, engine: BuiltinDriver, as_admin: Headers
    ) -> None:
        workflow = await engine.publish(definition(send("first"), wait("PT1H"), send("second")))
        await booked(engine)
        await engine.publish(definition(wait("PT1H"), send("second")), workflow)
        await booked(engine)
        await post(client, f"/v1/workflows/{workflow}/pause", as_admin)
        for request in await engine.requests():
            await engine.answer(request, Outcome.SUCCEEDED)
        job_id = (await post(client, f"/v1/workflows/{workflow}/resume", as_admin))["job_id"]
        first = (await engine.runs())[0]
        let_go = pausing.let_go

        async def with_one_bad(run_ids: list[UUID], *more: Any) -> None:
            if first.id in run_ids:
                raise ZeroDivisionError
            await let_go(run_ids, *more)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(pausing, "let_go", with_one_bad)
            patch.setattr(watchdog, "let_go", with_one_bad)
            ended = await done(engine, client, as_admin, {"id": job_id})
            assert (ended["done"], ended["failed"]) == (1, 1)
            for _ in range(3):
                engine.now += timedelta(minutes=1)
                found = await watchdog.look_after([engine.practice], engine.work, engine.published)
                assert (found.repaired, found.raised) == (0, 0)
        assert len(await engine.said(RunStuck)) == 1
        listed = (await client.get("/v1/runs/stuck", headers=as_admin)).json()["items"]
        assert [(cause["run_id"], cause["code"]) for cause in listed] == [(str(first.id), "keeps_failing")]
        assert len((await client.get("/v1/runs/jobs", headers=as_admin)).json()["items"]) == 1
        assert (await watchdog.look_after([engine.practice], engine.work, engine.published)).repaired == 1
        assert (await client.get("/v1/runs/stuck", headers=as_admin)).json()["items"] == []
        await engine.pass_time(2 * HOURS)
        assert [request.step_id for request in await engine.requests()] == ["first", "second", "second"]

    @pytest.mark.parametrize("alike", [False, True])
    async def test_what_is_tried_again_meanwhile_belongs_to_the_backlog(
        self, client: Client, engine: BuiltinDriver, as_admin: Headers, alike: bool
    ) -> None:
        workflow = await engine.publish(definition(send("first"), send("second")))
        await booked(engine, 3)
        for request in await engine.requests():
            await engine.answer(request, Outcome.FAILED, "mailbox_full")
        await post(client, f"/v1/workflows/{workflow}/pause", as_admin)
        one = {"workflow_id": str(workflow), "error_code": "mailbox_full", "failed_step": "first"}
        job = await post(client, "/v1/runs/bulk", as_admin, {"verb": "retry", "fingerprint" if alike else "filter": one}, 201)
        assert (await done(engine, client, as_admin, job))["done"] == 3
        shown = (await client.get(f"/v1/workflows/{workflow}/backlog", headers=as_admin)).json()
        assert (shown["held"], len(await engine.requests())) == (3, 3)
        job_id = (await post(client, f"/v1/workflows/{workflow}/resume", as_admin))["job_id"]
        await done(engine, client, as_admin, {"id": job_id})
        assert [request.step_id for request in await engine.requests()] == ["first"] * 6

    async def test_a_run_paused_by_itself_stays_paused(self, client: Client, engine: BuiltinDriver, as_admin: Headers) -> None:
        workflow = await engine.publish(definition(wait("PT1H"), send()))
        await booked(engine, 2)
        mine, other = (run.id for run in await engine.runs())
        await post(client, f"/v1/workflows/{workflow}/pause", as_admin)
        refused = await post(client, f"/v1/runs/{mine}/resume", as_admin, status=409)
        assert refused["code"] == "workflow_is_paused"
        await post(client, f"/v1/runs/{mine}/pause", as_admin, status=204)
        job_id = (await post(client, f"/v1/workflows/{workflow}/resume", as_admin))["job_id"]
        await done(engine, client, as_admin, {"id": job_id})
        await engine.pass_time(2 * HOURS)
        assert [request.run_id for request in await engine.requests()] == [other]
        await post(client, f"/v1/runs/{mine}/resume", as_admin, status=204)
        await engine.pass_time(timedelta())
        assert len(await engine.requests()) == 2

    async def test_a_reminder_whose_time_is_over_follows_its_policy(self, client: Client, engine: BuiltinDriver, as_admin: Headers) -> None:
        trigger = {
            "kind": "anchored", "anchor": {"of": "appointment.starts_at", "offset": "-PT24H"}, "past_due": {"policy": "skip"},
        }  # fmt: skip
        workflow = await engine.publish({"trigger": trigger, "steps": [send()]})
        (visit,) = await booked(engine)
        await post(client, f"/v1/workflows/{workflow}/pause", as_admin)
        await engine.pass_time(visit.booked().message.starts_at - engine.now - 12 * HOURS)  # type: ignore[attr-defined]
        job_id = (await post(client, f"/v1/workflows/{workflow}/resume", as_admin))["job_id"]
        await done(engine, client, as_admin, {"id": job_id})
        await engine.pass_time(timedelta())
        assert (await statuses(engine), await engine.requests()) == (["completed"], [])


class TestOneRun:
    async def test_pause_resume_retry_and_what_each_refuses(self, client: Client, engine: BuiltinDriver, as_admin: Headers) -> None:
        await engine.publish(definition(send("first"), send("second")))
        await booked(engine)
        (run,) = await engine.runs()
        path = f"/v1/runs/{run.id}"
        assert (await post(client, f"{path}/retry", as_admin, status=409))["code"] == "run_has_not_failed"
        for verb in ("pause", "pause", "resume", "resume", "pause"):
            await post(client, f"{path}/{verb}", as_admin, status=204)
        (request,) = await engine.requests()
        await engine.answer(request, Outcome.FAILED, "mailbox_full")
        await post(client, f"{path}/retry", as_admin, status=204)
        first, again = await engine.requests()
        assert (first.step_id, again.step_id, first.effect_key != again.effect_key) == ("first", "first", True)
        await engine.answer(again, Outcome.SUCCEEDED)
        shown = (await client.get(path, headers=as_admin)).json()
        assert [(step["step_id"], step["status"], step["attempt"]) for step in shown["steps"]] == [
            ("first", "succeeded", 1), ("second", "requested", 0),
        ]  # fmt: skip
        assert shown["steps"][0]["input"] == first.parameters
        await post(client, f"{path}/cancel", as_admin, status=204)
        assert (await post(client, f"{path}/pause", as_admin, status=409))["code"] == "run_has_ended"

    async def test_what_failed_before_its_first_step_is_not_retried_past_its_condition(
        self, client: Client, engine: BuiltinDriver, as_admin: Headers
    ) -> None:
        await engine.publish(definition(condition="patient.email.endsWith('.example')"))
        visit = Visit(email=None)
        await engine.deliver(visit.registered(), visit.booked())
        (run,) = await engine.runs()
        assert (await post(client, f"/v1/runs/{run.id}/retry", as_admin, status=409))["code"] == "run_has_not_failed"

    async def test_an_exit_condition_counts_again_after_a_retry(self, client: Client, engine: BuiltinDriver, as_admin: Headers) -> None:
        exits = [{"event": "vantage.scheduling.appointment-confirmed.v1"}]
        await engine.publish({**definition(send(), wait("P9D")), "exit": exits})
        (visit,) = await booked(engine)
        (request,) = await engine.requests()
        await engine.answer(request, Outcome.FAILED, "mailbox_full")
        (run,) = await engine.runs()
        await post(client, f"/v1/runs/{run.id}/retry", as_admin, status=204)
        await engine.deliver(visit.confirmed())
        assert [(one.status, one.error_code) for one in await engine.runs()] == [("cancelled", "exit_condition")]

    async def test_run_again_takes_the_chosen_version_and_asks_for_new_effects(
        self, client: Client, engine: BuiltinDriver, as_admin: Headers
    ) -> None:
        workflow = await engine.publish(definition(send(text="old")))
        await booked(engine)
        (run,) = await engine.runs()
        await engine.publish(definition(send(text="new")), workflow)
        for version in (None, 1):
            await post(client, f"/v1/runs/{run.id}/rerun", as_admin, {} if version is None else {"version": version}, 201)
        assert [request.parameters["text"] for request in await engine.requests()] == ["old", "new", "old"]
        assert len({request.effect_key for request in await engine.requests()}) == 3
        assert (await post(client, f"/v1/runs/{run.id}/rerun", as_admin, {"version": 9}, 422))["code"] == "version_unknown"

    async def test_run_again_refuses_what_starts_otherwise_and_what_is_filtered(
        self, client: Client, engine: BuiltinDriver, as_admin: Headers
    ) -> None:
        workflow = await engine.publish(definition(send()))
        await booked(engine)
        (run,) = await engine.runs()
        for changed, code in ((by_hand(), "trigger_differs"), (definition(condition="event.title == 'Other'"), "condition_is_false")):
            await engine.publish(changed, workflow)
            assert (await post(client, f"/v1/runs/{run.id}/rerun", as_admin, {}, 422))["code"] == code
        await engine.unpublish(workflow)
        assert (await post(client, f"/v1/runs/{run.id}/rerun", as_admin, {}, 409))["code"] == "not_published"
        assert len(await engine.runs()) == 1
