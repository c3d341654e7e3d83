"""Runs started by hand, steered one by one, by the workflow and by the thousand."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest

from libs.common.work import Work
from libs.contracts.actions import Outcome
from libs.contracts.workflows import RunRequested
from services.workflows.commands import controls, jobs
from services.workflows.commands.runs import move_runs
from services.workflows.rules.engines import ENGINES
from services.workflows.tests.engine.builtin import BuiltinDriver
from services.workflows.tests.engine.world import HOURS, Visit, definition, send, wait
from services.workflows.timers import jobs as kinds_of

Headers = dict[str, str]
Client = httpx.AsyncClient


@pytest.fixture
async def engine(work: Work, practice: UUID) -> BuiltinDriver:
    driver = BuiltinDriver(work.engine, practice)
    await driver.learn_catalogue()
    return driver


def by_hand(*steps: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"trigger": {"kind": "manual"}, "steps": list(steps or (wait(),)), **more}


async def patients(engine: BuiltinDriver, count: int, email: str | None = "kim.lorenz@patients.example") -> list[Visit]:
    visits = [Visit(email=email) for _ in range(count)]
    await engine.deliver(*(visit.registered() for visit in visits))
    return visits


async def booked(engine: BuiltinDriver, count: int = 1) -> list[Visit]:
    visits = await patients(engine, count)
    await engine.deliver(*(visit.booked() for visit in visits))
    return visits


async def post(client: Client, path: str, headers: Headers, body: Any = None, status: int = 200) -> Any:
    answer = await client.post(path, json=body, headers=headers)
    assert answer.status_code == status, answer.text
    return answer.json() if answer.content else None


async def done(engine: BuiltinDriver, client: Client, headers: Headers, job: dict[str, Any], chunks: int = 100) -> dict[str, Any]:
    """Until the job has ended, or so many chunks."""
    do = kinds_of(ENGINES["cel-cpp"], engine.published)
    engine.now += timedelta(seconds=5)
    for _ in range(chunks):
        await jobs.work_on(engine.work, do)
        engine.now += jobs.PACE
        shown: dict[str, Any] = (await client.get(f"/v1/runs/jobs/{job['id']}", headers=headers)).json()
        if shown["status"] != "running":
            break
    return shown


async def statuses(engine: BuiltinDriver) -> list[str]:
    return sorted(run.status for run in await engine.runs())


class TestByHand:
    async def test_one_patient_gets_a_run_that_sees_what_was_passed_on(
        self, client: Client, engine: BuiltinDriver, as_admin: Headers
    ) -> None:
        workflow = await engine.publish(by_hand(send(text="{{ event.values.reason }}, {{ patient.given_name }}")))
        (visit,) = await patients(engine, 1)
        wish = {"patient_id": str(visit.patient_id), "values": {"reason": "Recall"}}
        came = await post(client, f"/v1/workflows/{workflow}/runs", as_admin, wish, 201)
        (run,) = await engine.runs()
        (request,) = await engine.requests()
        assert (came["decision"], came["run_id"]) == ("started", str(run.id))
        assert request.parameters["text"] == "Recall, Kim"
        assert len(await engine.said(RunRequested)) == 1

    async def test_why_there_is_no_run_is_said(self, client: Client, engine: BuiltinDriver, as_admin: Headers) -> None:
        workflow = await engine.publish(by_hand(condition="patient.email != null", enrolment={"policy": "once"}))
        with_mail, without = (await patients(engine, 1))[0], (await patients(engine, 1, None))[0]
        decisions = [
            (await post(client, f"/v1/workflows/{workflow}/runs", as_admin, {"patient_id": str(one.patient_id)}, 201))["decision"]
            for one in (without, with_mail, with_mail)
        ]
        assert decisions == ["filtered", "started", "enrolled_already"]

    @pytest.mark.parametrize(
        ("wish", "status", "code"),
        [
            ({"patient_id": str(uuid4())}, 422, "patient_unknown"),
            ({"appointment_id": str(uuid4())}, 422, "appointment_unknown"),
            ({"filter": "patient.emial != null"}, 422, "filter_invalid"),
            ({"filter": "1 + 1"}, 422, "filter_invalid"),
            ({"filter": "event.values.x == 1"}, 422, "filter_invalid"),
            ({"filter": "true", "patient_id": str(uuid4())}, 422, "invalid_input"),
            ({"values": {"x": "y" * 20_001}}, 422, "invalid_input"),
        ],
    )
    async def test_what_cannot_be_is_named(
        self, client: Client, engine: BuiltinDriver, as_admin: Headers, wish: dict[str, Any], status: int, code: str
    ) -> None:
        workflow = await engine.publish(by_hand())
        refused = await post(client, f"/v1/workflows/{workflow}/runs", as_admin, wish, status)
        assert refused["code"] == code
        assert await engine.runs() == []

    async def test_only_what_is_published_and_started_by_hand(
        self, client: Client, engine: BuiltinDriver, as_admin: Headers, as_user: Headers
    ) -> None:
        by_event, gone = await engine.publish(definition()), await engine.publish(by_hand())
        await engine.unpublish(gone)
        for workflow, headers, status, code in (
            (by_event, as_admin, 422, "not_manual"), (gone, as_admin, 409, "not_published"), (uuid4(), as_admin, 404, "workflow_not_found"),
            (gone, as_user, 403, "permission_missing"),
        ):  # fmt: skip
            assert (await post(client, f"/v1/workflows/{workflow}/runs", headers, {}, status))["code"] == code

    async def test_a_filter_is_looked_at_first_and_then_done_in_chunks_once_each(
        self, client: Client, engine: BuiltinDriver, as_admin: Headers
    ) -> None:
        workflow = await engine.publish(by_hand(send()))
        visits = await patients(engine, 130)
        await patients(engine, 20, None)
        wish = {"filter": "patient.email != null"}
        preview = await post(client, f"/v1/workflows/{workflow}/runs/preview", as_admin, wish)
        assert (preview["found"], preview["looked_at"], preview["complete"], len(preview["first"])) == (130, 150, True, 10)
        job = (await post(client, f"/v1/workflows/{workflow}/runs", as_admin, wish, 201))["job"]
        assert (job["status"], job["total"], job["done"]) == ("running", 150, 0)
        half = await done(engine, client, as_admin, job, chunks=1)
        assert (half["status"], half["done"] + half["passed"]) == ("running", 100)
        await engine.restart()
        whole = await done(engine, client, as_admin, job)
        assert (whole["status"], whole["done"], whole["passed"], whole["failed"]) == ("finished", 130, 20, 0)
        assert sorted(str(request.patient_id) for request in await engine.requests()) == sorted(str(visit.patient_id) for visit in visits)

    async def test_killed_at_any_chunk_and_worked_on_by_several_it_reaches_everybody_once(
        self, client: Client, engine: BuiltinDriver, as_admin: Headers
    ) -> None:
        workflow = await engine.publish(by_hand(send()))
        visits = await patients(engine, 320)
        job = (await post(client, f"/v1/workflows/{workflow}/runs", as_admin, {"filter": "true"}, 201))["job"]
        do = kinds_of(ENGINES["cel-cpp"], engine.published)

        async def and_die(*arguments: Any) -> Any:
            await do["start"](*arguments)
            raise asyncio.CancelledError

        engine.now += timedelta(seconds=5)
        for _ in range(6):
            with pytest.raises(asyncio.CancelledError):
                await jobs.work_on(engine.work, {**do, "start": and_die})
            await asyncio.gather(*(jobs.work_on(engine.work, do) for _ in range(3)))
            engine.now += jobs.PACE
            if (await client.get(f"/v1/runs/jobs/{job['id']}", headers=as_admin)).json()["status"] == "finished":
                break
        asked = [str(request.patient_id) for request in await engine.requests()]
        assert sorted(asked) == sorted(str(visit.patient_id) for visit in visits)

    async def test_a_job_that_is_stopped_does_no_more(self, client: Client, engine: BuiltinDriver, as_admin: Headers) -> None:
        workflow = await engine.publish(by_hand())
        await patients(engine, 120)
        job = (await post(client, f"/v1/workflows/{workflow}/runs", as_admin, {"filter": "true"}, 201))["job"]
        await done(engine, client, as_admin, job, chunks=1)
        stopped = await post(client, f"/v1/runs/jobs/{job['id']}/cancel", as_admin)
        again = await post(client, f"/v1/runs/jobs/{job['id']}/cancel", as_admin)
        assert (stopped["status"], stopped["done"], again["status"]) == ("cancelled", 100, "cancelled")
        await done(engine, client, as_admin, job, chunks=3)
        assert len(await engine.runs()) == 100


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


class TestSuppression:
    async def test_a_suppressed_patient_goes_through_nothing_until_admitted(
        self, client: Client, engine: BuiltinDriver, as_admin: Headers
    ) -> None:
        await engine.publish(definition(send()))
        (visit,) = await patients(engine, 1)
        path = f"/v1/workflows/suppressions/{visit.patient_id}"
        for reason in ("asked for it", "asked again"):
            assert (await client.put(path, json={"reason": reason}, headers=as_admin)).status_code == 200
        listed = (await client.get("/v1/workflows/suppressions", headers=as_admin)).json()["items"]
        assert [(one["patient_id"], one["reason"]) for one in listed] == [(str(visit.patient_id), "asked again")]
        await engine.deliver(visit.booked())
        assert await engine.runs() == []
        assert [(await client.delete(path, headers=as_admin)).status_code for _ in range(2)] == [204, 404]
        await engine.deliver(Visit(visit.patient_id).booked())
        assert len(await engine.runs()) == 1
        nobody = await client.put(f"/v1/workflows/suppressions/{uuid4()}", json={"reason": "x"}, headers=as_admin)
        assert nobody.status_code == 404


class TestHostileText:
    @pytest.mark.parametrize("name", ["error_code", "failed_step", "trigger"])
    async def test_a_filter_no_run_can_fit_finds_nothing_or_is_refused(self, client: Client, as_admin: Headers, name: str) -> None:
        for text in ("\x00", "\ud800", "%", "'; DROP TABLE run", "ü" * 200):
            answer = await client.get("/v1/runs", params={name: text.encode("utf-8", "surrogatepass")}, headers=as_admin)
            assert answer.status_code in {200, 400, 422}, answer.text

    async def test_what_the_database_cannot_keep_is_refused(self, client: Client, engine: BuiltinDriver, as_admin: Headers) -> None:
        workflow = await engine.publish(by_hand())
        for path, body in (
            (f"/v1/workflows/{workflow}/runs", b'{"values": {"a": "\\u0000"}}'),
            (f"/v1/workflows/{workflow}/runs", b'{"values": {"\\u0000": 1}}'),
            (f"/v1/workflows/{workflow}/runs", b'{"values": {"a": "\\ud800"}}'),
            (f"/v1/workflows/{workflow}/runs", b'{"filter": "patient.email == \'\\u0000\'"}'),
            ("/v1/runs/bulk/preview", b'{"verb": "cancel", "filter": {"error_code": "\\u0000"}}'),
        ):
            answer = await client.post(path, content=body, headers=as_admin | {"content-type": "application/json"})
            assert answer.status_code in {400, 422}, (path, body, answer.text)
        deep = b'{"values": {"a": ' + b"[" * 200 + b"]" * 200 + b"}}"
        answer = await client.post(f"/v1/workflows/{workflow}/runs", content=deep, headers=as_admin | {"content-type": "application/json"})
        assert answer.status_code in {201, 400, 422}, answer.text


class TestWhy:
    async def test_why_a_run_by_hand_began_or_not_is_explained(self, client: Client, engine: BuiltinDriver, as_admin: Headers) -> None:
        workflow = await engine.publish(by_hand(condition="patient.email != null"))
        await engine.publish(definition())
        (visit,) = await patients(engine, 1, None)
        await post(client, f"/v1/workflows/{workflow}/runs", as_admin, {"patient_id": str(visit.patient_id)}, 201)
        answer = await client.get("/v1/workflows/explanations", params={"patient_id": str(visit.patient_id)}, headers=as_admin)
        assert answer.status_code == 200, answer.text
        verdicts = [
            (event["type"], one["workflow_id"], one["verdict"])
            for event in answer.json()["items"]
            for one in event["workflows"]
            if one["verdict"] != "other_trigger"
        ]
        assert (RunRequested.type, str(workflow), "filtered") in verdicts
