"""Runs steered by the thousand."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import pytest

from libs.common.work import Work
from libs.contracts.actions import Outcome
from services.workflows.commands import controls
from services.workflows.commands.runs import move_runs
from services.workflows.tests.engine.builtin import BuiltinDriver
from services.workflows.tests.engine.world import HOURS, definition, send, wait
from services.workflows.tests.steering import Client, Headers, booked, done, post, statuses


@pytest.fixture
async def engine(work: Work, practice: UUID) -> BuiltinDriver:
    driver = BuiltinDriver(work.engine, practice)
    await driver.learn_catalogue()
    return driver


class TestMany:
    async def test_what_failed_alike_is_repaired_together(self, client: Client, engine: BuiltinDriver, as_admin: Headers) -> None:
        workflow = await engine.publish(definition(send()))
        await booked(engine, 12)
        for number, request in enumerate(await engine.requests()):
            await engine.answer(request, Outcome.FAILED, "mailbox_full" if number < 8 else "address_unknown")
        groups = (await client.get("/v1/runs/failures", headers=as_admin)).json()["items"]
        assert [(group["error_code"], group["failed_step"], group["count"]) for group in groups] == [
            ("mailbox_full", "intake", 8), ("address_unknown", "intake", 4),
        ]  # fmt: skip
        alike = {"workflow_id": str(workflow), "failed_step": "intake", "error_code": "mailbox_full"}
        wish = {"verb": "retry", "fingerprint": alike}
        preview = await post(client, "/v1/runs/bulk/preview", as_admin, wish)
        assert (preview["found"], len(preview["first"])) == (8, 8)
        assert len(await engine.requests()) == 12
        job = await post(client, "/v1/runs/bulk", as_admin, wish, 201)
        assert (await done(engine, client, as_admin, job))["done"] == 8
        assert len(await engine.requests()) == 20
        again = await post(client, "/v1/runs/bulk", as_admin, wish, 201)
        assert ((await done(engine, client, as_admin, again))["done"], len(await engine.requests())) == (0, 20)

    async def test_runs_that_start_after_somebody_asked_are_not_meant(
        self, client: Client, engine: BuiltinDriver, as_admin: Headers
    ) -> None:
        await engine.publish(definition(wait("PT1H"), send()))
        engine.now -= timedelta(hours=2)
        await booked(engine, 3)
        engine.now += timedelta(hours=1)
        meant = {run.id for run in await engine.runs()}
        job = await post(client, "/v1/runs/bulk", as_admin, {"verb": "cancel", "filter": {}}, 201)
        engine.now = datetime.fromisoformat(job["created_at"]) + timedelta(seconds=1)
        await booked(engine, 4)
        assert (await done(engine, client, as_admin, job))["done"] == job["total"] == 3
        assert {run.id for run in await engine.runs() if run.status == "cancelled"} == meant

    async def test_of_one_patients_runs_one_is_tried_again_where_one_at_a_time_is_let_through(
        self, client: Client, engine: BuiltinDriver, as_admin: Headers
    ) -> None:
        await engine.publish(definition(send()) | {"enrolment": {"policy": "once_while_active"}})
        (visit,), _ = await booked(engine, 1), await booked(engine, 1)
        for _ in range(2):
            for request in (await engine.requests())[-2:]:
                await engine.answer(request, Outcome.FAILED, "mailbox_full")
            await engine.deliver(visit.again().booked())
        (active,) = [run for run in await engine.runs() if run.status == "running"]
        await engine.cancel(active.id)
        job = await post(client, "/v1/runs/bulk", as_admin, {"verb": "retry", "filter": {"status": "failed"}}, 201)
        ended = await done(engine, client, as_admin, job)
        assert (ended["done"], ended["passed"], ended["failed"]) == (2, 1, 0)

    async def test_a_preview_of_retries_counts_what_can_be_tried_again(
        self, client: Client, engine: BuiltinDriver, as_admin: Headers
    ) -> None:
        await engine.publish(
            definition(send(), condition="patient.family_name.size() > 3 && appointment.starts_at < timestamp(event.title)")
        )
        await booked(engine, 2)
        await engine.publish(definition(send("second")))
        visits = await booked(engine, 3)
        for request in await engine.requests():
            await engine.answer(request, Outcome.FAILED, "mailbox_full")
        assert visits[0].patient_id is not None
        await engine.suppress(visits[0].patient_id)
        assert len([run for run in await engine.runs() if run.status == "failed"]) == 5 + 3
        wish = {"verb": "retry", "filter": {"status": "failed"}}
        preview = await post(client, "/v1/runs/bulk/preview", as_admin, wish)
        job = await done(engine, client, as_admin, await post(client, "/v1/runs/bulk", as_admin, wish, 201))
        assert (preview["found"], len(preview["first"]), job["total"], job["done"], job["passed"]) == (3, 3, 3, 2, 1)

    async def test_run_again_in_bulk_is_safe_to_repeat(self, client: Client, engine: BuiltinDriver, as_admin: Headers) -> None:
        workflow = await engine.publish(definition(send()))
        await booked(engine, 25)
        for request in await engine.requests():
            await engine.answer(request, Outcome.FAILED, "mailbox_full")
        wish = {"verb": "rerun", "filter": {"workflow_id": str(workflow), "status": "failed"}}
        for _ in range(3):
            job = await post(client, "/v1/runs/bulk", as_admin, wish, 201)
            await done(engine, client, as_admin, job)
        assert len(await engine.requests()) == 50
        assert (await client.get("/v1/runs/failures", headers=as_admin)).json()["items"] == []

    @pytest.mark.parametrize(("verb", "status", "count"), [("pause", "running", 0), ("cancel", "cancelled", 0)])
    async def test_pause_and_cancel_by_filter(
        self, client: Client, engine: BuiltinDriver, as_admin: Headers, verb: str, status: str, count: int
    ) -> None:
        workflow = await engine.publish(definition(wait("PT1H"), send()))
        await booked(engine, 130)
        job = await post(client, "/v1/runs/bulk", as_admin, {"verb": verb, "filter": {"workflow_id": str(workflow)}}, 201)
        assert (await done(engine, client, as_admin, job))["done"] == 130
        await engine.pass_time(2 * HOURS)
        assert (set(await statuses(engine)), len(await engine.requests())) == ({status}, count)
        if verb == "pause":
            job = await post(client, "/v1/runs/bulk", as_admin, {"verb": "resume", "filter": {"workflow_id": str(workflow)}}, 201)
            await done(engine, client, as_admin, job)
            await engine.pass_time(timedelta())
            assert len(await engine.requests()) == 130

    async def test_one_that_cannot_be_done_is_counted_and_stops_no_other(
        self, client: Client, engine: BuiltinDriver, as_admin: Headers, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        workflow = await engine.publish(definition(wait("PT1H"), send()))
        await booked(engine, 7)
        await post(client, f"/v1/workflows/{workflow}/pause", as_admin)
        bad = sorted(run.id for run in await engine.runs())[3]

        async def with_one_bad(inputs: Any, *rest: Any) -> Any:
            if any(key[1] == bad for key, _, _ in inputs):
                raise ZeroDivisionError
            return await move_runs(inputs, *rest)

        monkeypatch.setattr(controls, "move_runs", with_one_bad)
        job_id = (await post(client, f"/v1/workflows/{workflow}/resume", as_admin))["job_id"]
        ended = await done(engine, client, as_admin, {"id": job_id})
        assert (ended["status"], ended["done"], ended["failed"]) == ("finished", 6, 1)

    @pytest.mark.parametrize(
        "wish",
        [
            {"verb": "cancel"}, {"verb": "delete", "filter": {}}, {"verb": "cancel", "filter": {"surprise": 1}},
            {"verb": "cancel", "filter": {}, "version": 2}, {"verb": "rerun", "filter": {"run_ids": []}},
        ],
    )  # fmt: skip
    async def test_what_fits_no_wish_is_refused(self, client: Client, as_admin: Headers, wish: dict[str, Any]) -> None:
        assert (await post(client, "/v1/runs/bulk", as_admin, wish, 422))["code"] == "invalid_input"

    async def test_users_look_and_strangers_see_nothing(
        self, client: Client, engine: BuiltinDriver, as_admin: Headers, as_user: Headers, as_stranger: Headers
    ) -> None:
        await engine.publish(definition(wait()))
        job = await post(client, "/v1/runs/bulk", as_admin, {"verb": "cancel", "filter": {}}, 201)
        await post(client, "/v1/runs/bulk", as_user, {"verb": "cancel", "filter": {}}, 403)
        assert [one["id"] for one in (await client.get("/v1/runs/jobs", headers=as_user)).json()["items"]] == [job["id"]]
        assert (await client.get("/v1/runs/jobs", headers=as_stranger)).json()["items"] == []
        assert (await client.get(f"/v1/runs/jobs/{job['id']}", headers=as_stranger)).status_code == 404
