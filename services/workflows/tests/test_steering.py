"""Runs started by hand, and what is said about them."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest

from libs.common.work import Work
from libs.contracts.actions import Outcome
from libs.contracts.workflows import RunRequested
from services.workflows.commands import jobs
from services.workflows.rules.expressions.engines import ENGINES
from services.workflows.tests.engine.builtin import BuiltinDriver
from services.workflows.tests.engine.world import CANCELLED, Visit, definition, heard, send, wait
from services.workflows.tests.steering import Client, Headers, by_hand, done, patients, post
from services.workflows.timers import jobs as kinds_of


@pytest.fixture
async def engine(work: Work, practice: UUID) -> BuiltinDriver:
    driver = BuiltinDriver(work.engine, practice)
    await driver.learn_catalogue()
    return driver


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
            ({"filter": {"jsonlogic": {"==": [{"var": "patient.emial"}, "x"]}}}, 422, "filter_invalid"),
            ({"filter": {"jsonlogic": {"==": [{"var": "event.values.x"}, 1]}}}, 422, "filter_invalid"),
            ({"filter": {"blocks": {"all": [{"field": "patient.email", "operator": "at_most", "value": 3}]}}}, 422, "filter_invalid"),
            ({"filter": {"blocks": {"all": []}}}, 422, "invalid_input"),
            ({"filter": {"sql": "true"}}, 422, "invalid_input"),
            ({"filter": ""}, 422, "invalid_input"),
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

    @pytest.mark.parametrize(
        "condition",
        [
            "patient.email != null && patient.given_name == 'Kim'",
            {"jsonlogic": {"and": [{"!==": [{"var": "patient.email"}, None]}, {"===": [{"var": "patient.given_name"}, "Kim"]}]}},
            {
                "blocks": {
                    "all": [
                        {"field": "patient.email", "operator": "is_not_empty"},
                        {"field": "patient.given_name", "operator": "equals", "value": "kim", "ignore_case": True},
                    ]
                }
            },
        ],
        ids=["cel", "jsonlogic", "blocks"],
    )
    async def test_a_filter_may_be_written_in_any_form_a_condition_has(
        self, client: Client, engine: BuiltinDriver, as_admin: Headers, condition: Any
    ) -> None:
        workflow = await engine.publish(by_hand(send()))
        await patients(engine, 3)
        await patients(engine, 2, None)
        preview = await post(client, f"/v1/workflows/{workflow}/runs/preview", as_admin, {"filter": condition})
        assert (preview["found"], preview["errors"]) == (3, 0)
        job = (await post(client, f"/v1/workflows/{workflow}/runs", as_admin, {"filter": condition}, 201))["job"]
        whole = await done(engine, client, as_admin, job)
        assert (whole["status"], whole["done"], whole["passed"], whole["failed"]) == ("finished", 3, 2, 0)

    @pytest.mark.parametrize(
        "condition",
        [
            "'Recall' in patient.tags",
            {"jsonlogic": {"in": ["Recall", {"var": "patient.tags"}]}},
            {"blocks": {"all": [{"field": "patient.tags", "operator": "contains", "value": "Recall"}]}},
        ],
        ids=["cel", "jsonlogic", "blocks"],
    )
    async def test_a_filter_may_ask_for_a_tag(self, client: Client, engine: BuiltinDriver, as_admin: Headers, condition: Any) -> None:
        workflow = await engine.publish(by_hand())
        tagged, other, _ = await patients(engine, 3)
        await engine.deliver(tagged.tagged("Recall"), other.tagged("Braces"))
        preview = await post(client, f"/v1/workflows/{workflow}/runs/preview", as_admin, {"filter": condition})
        assert ([one["id"] for one in preview["first"]], preview["errors"]) == ([str(tagged.patient_id)], 0)

    @pytest.mark.parametrize(
        ("condition", "pointer", "word"),
        [
            ("patient.emial != null", "/filter", "email"),
            ({"blocks": {"all": [{"field": "patient.emial", "operator": "is_empty"}]}}, "/filter/blocks/all/0/field", "email"),
            ({"jsonlogic": {"!==": [{"var": "patient.emial"}, None]}}, "/filter/jsonlogic/!==/0", "email"),
        ],
    )
    async def test_what_is_wrong_with_a_filter_is_said_where_it_was_written(
        self, client: Client, engine: BuiltinDriver, as_admin: Headers, condition: Any, pointer: str, word: str
    ) -> None:
        workflow = await engine.publish(by_hand())
        refused = await post(client, f"/v1/workflows/{workflow}/runs/preview", as_admin, {"filter": condition}, 422)
        (error,) = refused["errors"]
        assert error["pointer"] == pointer
        assert word in refused["reason"]

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


class TestWhoseEventEndsARunByHand:
    async def test_its_appointments_if_it_has_one_else_any_of_its_patient(
        self, client: Client, engine: BuiltinDriver, as_admin: Headers
    ) -> None:
        workflow = await engine.publish(by_hand(wait(), exit=[heard(CANCELLED)]))
        (visit,) = await patients(engine, 1)
        another = visit.again()
        await engine.deliver(visit.booked(), another.booked())
        begun = []
        for appointment in ({}, {"appointment_id": str(visit.appointment_id)}):
            wish = {"patient_id": str(visit.patient_id), **appointment}
            begun.append((await post(client, f"/v1/workflows/{workflow}/runs", as_admin, wish, 201))["run_id"])
        await engine.deliver(another.cancelled())
        assert {str(run.id): run.error_code for run in await engine.runs()} == dict(zip(begun, ["exit_condition", None], strict=True))
        await engine.deliver(visit.cancelled())
        assert {run.error_code for run in await engine.runs()} == {"exit_condition"}


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

    async def test_nobody_tries_again_or_anew_what_failed_for_them(self, client: Client, engine: BuiltinDriver, as_admin: Headers) -> None:
        await engine.publish(definition(send()))
        (visit,) = await patients(engine, 1)
        await engine.deliver(visit.booked())
        await engine.answer((await engine.requests())[0], Outcome.FAILED, "no_address")
        (run,) = await engine.runs()
        assert visit.patient_id is not None
        await engine.suppress(visit.patient_id)
        for verb, body in (("retry", None), ("rerun", {})):
            answer = await client.post(f"/v1/runs/{run.id}/{verb}", json=body, headers=as_admin)
            assert (answer.status_code, answer.json()["code"]) == (409, "patient_suppressed"), verb
            job = await post(client, "/v1/runs/bulk", as_admin, {"verb": verb, "filter": {"run_ids": [str(run.id)]}}, 201)
            ended = await done(engine, client, as_admin, job)
            assert (ended["done"], ended["passed"]) == (0, 1), verb
        assert len(await engine.requests()) == 1


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
