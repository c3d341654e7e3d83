"""Workflows, runs and the catalogue over HTTP: admins edit, users look, strangers see nothing, faults are named by field."""

from __future__ import annotations

from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest

from libs.common.work import Work
from libs.contracts.actions import Outcome
from libs.contracts.workflows import WorkflowPublished, WorkflowUnpublished
from libs.testing.fixtures import Outbox
from services.workflows.tests.engine.builtin import BuiltinDriver
from services.workflows.tests.engine.world import Visit, definition, send, wait

Headers = dict[str, str]


@pytest.fixture
async def engine(work: Work, practice: UUID) -> BuiltinDriver:
    driver = BuiltinDriver(work.engine, practice)
    await driver.learn_catalogue()
    return driver


def body(*steps: dict[str, Any], name: str = "Intake", **more: Any) -> dict[str, Any]:
    return {"name": name, "definition": definition(*steps, **more)}


async def saved(client: httpx.AsyncClient, headers: Headers, **fields: Any) -> dict[str, Any]:
    answer = await client.post("/v1/workflows", json=body() | fields, headers=headers)
    assert answer.status_code == 201, answer.text
    view: dict[str, Any] = answer.json()
    return view


async def published(client: httpx.AsyncClient, headers: Headers, **fields: Any) -> str:
    workflow_id: str = (await saved(client, headers, **fields))["id"]
    answer = await client.post(f"/v1/workflows/{workflow_id}/publish", headers=headers)
    assert answer.status_code == 200, answer.text
    return workflow_id


async def booked(engine: BuiltinDriver) -> Visit:
    visit = Visit()
    await engine.deliver(visit.registered(), visit.booked())
    return visit


class TestSaving:
    async def test_a_draft_is_saved_shown_and_listed_by_name(self, client: httpx.AsyncClient, as_admin: Headers, as_user: Headers) -> None:
        second, first = await saved(client, as_admin, name="B"), await saved(client, as_admin, name="A")
        shown = await client.get(f"/v1/workflows/{first['id']}", headers=as_user)
        assert shown.json() == first
        assert shown.headers["etag"] == '"1"'
        page = (await client.get("/v1/workflows?limit=1", headers=as_user)).json()
        rest = (await client.get("/v1/workflows", params={"limit": 1, "cursor": page["next_cursor"]}, headers=as_user)).json()
        assert [item["id"] for item in page["items"] + rest["items"]] == [first["id"], second["id"]]

    @pytest.mark.parametrize(
        ("definition_of", "pointer"),
        [
            ({"steps": [send()]}, "/definition/trigger"),
            (definition(condition="patient.emial != null"), "/definition/condition"),
            (definition(send("a"), send("b", when="1 +")), "/definition/steps/1/when"),
            (definition(send(text="{{ nobody }}")), "/definition/steps/0/parameters/text"),
            (definition(event="vantage.nothing.happened.v1"), "/definition/trigger/event"),
            (definition(wait("eternity")), "/definition/steps/0/duration"),
            (definition(send(), {"kind": "action", "id": "x"}), "/definition/steps/1/action"),
            (definition({**send(), "id": "NO"}), "/definition/steps/0/id"),
            (definition({**send(), "surprise": 1}), "/definition/steps/0/surprise"),
            (definition({"kind": "teleport"}), "/definition/steps/0"),
        ],
    )
    async def test_a_fault_is_refused_with_its_place(
        self, client: httpx.AsyncClient, as_admin: Headers, definition_of: dict[str, Any], pointer: str
    ) -> None:
        answer = await client.post("/v1/workflows", json={"name": "Faulty", "definition": definition_of}, headers=as_admin)
        assert answer.status_code == 422
        assert [error["pointer"] for error in answer.json()["errors"]] == [pointer]
        assert (await client.get("/v1/workflows", headers=as_admin)).json()["items"] == []

    async def test_what_fits_no_request_is_refused_whatever_it_is(self, client: httpx.AsyncClient, as_admin: Headers) -> None:
        for hostile in (b"", b"[]", b"null", b"{", b'{"name": "\\u0000"}', b'{"name":"x","definition":' + b"[" * 5000 + b"]" * 5000 + b"}"):
            answer = await client.post("/v1/workflows", content=hostile, headers=as_admin | {"content-type": "application/json"})
            assert answer.status_code in {400, 422}, hostile[:30]

    async def test_an_edit_makes_a_new_version_unless_somebody_was_faster(self, client: httpx.AsyncClient, as_admin: Headers) -> None:
        workflow = await saved(client, as_admin)
        path = f"/v1/workflows/{workflow['id']}"
        edited = await client.put(path, json=body(name="Renamed"), headers=as_admin | {"If-Match": '"1"'})
        assert (edited.json()["version"], edited.json()["name"]) == (2, "Renamed")
        late = await client.put(path, json=body(name="Late"), headers=as_admin | {"If-Match": '"1"'})
        assert late.status_code == 412
        assert (await client.get(path, headers=as_admin)).json()["name"] == "Renamed"

    async def test_a_request_repeated_under_its_key_saves_once(self, client: httpx.AsyncClient, as_admin: Headers) -> None:
        keyed = as_admin | {"Idempotency-Key": str(uuid4())}
        first, again = [(await client.post("/v1/workflows", json=body(), headers=keyed)).json()["id"] for _ in range(2)]
        assert first == again


class TestPublishing:
    async def test_publishing_and_unpublishing_say_so_and_repeating_changes_nothing(
        self, client: httpx.AsyncClient, engine: BuiltinDriver, as_admin: Headers, practice: UUID, outbox: Outbox
    ) -> None:
        workflow_id = await published(client, as_admin)
        again = await client.post(f"/v1/workflows/{workflow_id}/publish", headers=as_admin)
        assert again.json()["published_version"] == 1
        unpublished = await client.post(f"/v1/workflows/{workflow_id}/unpublish", headers=as_admin)
        assert unpublished.json()["published_version"] is None
        twice = await client.post(f"/v1/workflows/{workflow_id}/unpublish", headers=as_admin)
        assert (twice.status_code, twice.json()["code"]) == (409, "nothing_published")
        back = await client.post(f"/v1/workflows/{workflow_id}/publish", headers=as_admin)
        assert back.json()["published_version"] == 1
        assert [type(message) for message in await outbox(practice)] == [WorkflowPublished, WorkflowUnpublished, WorkflowPublished]

    @pytest.mark.parametrize(
        ("step", "code", "pointer"),
        [
            ({**send(), "action": "fax"}, "unknown_action", "/steps/0/action"),
            ({**send(), "parameters": {"subject": "x"}}, "missing_parameter", "/steps/0/parameters"),
            ({**send(), "parameters": {"subject": 1, "text": "x"}}, "invalid_parameter", "/steps/0/parameters/subject"),
        ],
    )
    async def test_a_step_that_does_not_fit_the_catalogue_may_be_saved_but_not_published(
        self, client: httpx.AsyncClient, engine: BuiltinDriver, as_admin: Headers, step: dict[str, Any], code: str, pointer: str
    ) -> None:
        workflow = await saved(client, as_admin, **body(step))
        refused = await client.post(f"/v1/workflows/{workflow['id']}/publish", headers=as_admin)
        assert (refused.status_code, refused.json()["code"], refused.json()["errors"][0]["pointer"]) == (422, "definition_refused", pointer)
        checked = (await client.post(f"/v1/workflows/{workflow['id']}/validate", headers=as_admin)).json()
        assert checked["publishable"] is False
        assert [(found["code"], found["step"]) for found in checked["findings"]] == [(code, "intake")]

    async def test_a_warning_is_shown_and_does_not_stop_publishing(
        self, client: httpx.AsyncClient, engine: BuiltinDriver, as_admin: Headers, as_user: Headers
    ) -> None:
        workflow = await saved(client, as_admin, **body(condition="patient.email.endsWith('.example')"))
        checked = (await client.post(f"/v1/workflows/{workflow['id']}/validate", headers=as_user)).json()
        assert checked["publishable"] is True
        assert [found["severity"] for found in checked["findings"]] == ["warning"]
        assert (await client.post(f"/v1/workflows/{workflow['id']}/publish", headers=as_admin)).status_code == 200


class TestRuns:
    async def test_runs_are_listed_newest_first_filtered_and_shown_with_their_steps(
        self, client: httpx.AsyncClient, engine: BuiltinDriver, as_admin: Headers, as_user: Headers
    ) -> None:
        intake = await published(client, as_admin, **body(send("z"), send("a")))
        other = await published(client, as_admin, **body(wait()))
        first, second = await booked(engine), await booked(engine)
        (request, *_) = await engine.requests()
        await engine.answer(request, Outcome.FAILED, "patient_has_no_email")

        async def ids(**query: str) -> list[str]:
            return [run["patient_id"] for run in (await client.get("/v1/runs", params=query, headers=as_user)).json()["items"]]

        assert len(await ids()) == 4
        assert await ids(workflow_id=intake, status="failed") == [str(first.patient_id)]
        assert set(await ids(patient_id=str(second.patient_id))) == {str(second.patient_id)}
        page = (await client.get("/v1/runs", params={"limit": 3}, headers=as_user)).json()
        rest = (await client.get("/v1/runs", params={"limit": 3, "cursor": page["next_cursor"]}, headers=as_user)).json()
        assert len({run["id"] for run in page["items"] + rest["items"]}) == 4
        failed = (await client.get("/v1/runs", params={"status": "failed"}, headers=as_user)).json()["items"][0]
        detail = (await client.get(f"/v1/runs/{failed['id']}", headers=as_user)).json()
        assert (detail["error_code"], detail["workflow_name"], detail["version"]) == ("patient_has_no_email", "Intake", 1)
        assert [(step["step_id"], step["status"], step["action"]) for step in detail["steps"]] == [("z", "failed", "send_email")]
        assert detail["steps"][0]["effect_key"] == str(request.effect_key)
        assert (await client.get("/v1/runs", params={"status": "asleep"}, headers=as_user)).status_code == 422
        assert set(await ids(workflow_id=other, status="running")) == {str(first.patient_id), str(second.patient_id)}

    async def test_effects_nobody_knows_the_outcome_of_are_listed_until_somebody_does(
        self, client: httpx.AsyncClient, engine: BuiltinDriver, as_admin: Headers, as_user: Headers, as_stranger: Headers
    ) -> None:
        intake = await published(client, as_admin)
        for _ in range(3):
            await booked(engine)
            engine.now += timedelta(seconds=1)
        requests = await engine.requests()
        for request in requests:
            await engine.answer(request, Outcome.UNKNOWN)
        path = "/v1/runs/unknown-effects"
        page = (await client.get(path, params={"limit": 2}, headers=as_user)).json()
        rest = (await client.get(path, params={"limit": 2, "cursor": page["next_cursor"]}, headers=as_user)).json()
        items = page["items"] + rest["items"]
        assert [one["effect_key"] for one in items] == [str(request.effect_key) for request in requests]
        shown = {name: items[0][name] for name in ("run_id", "workflow_id", "workflow_name", "step_id", "action", "run_status")}
        assert shown == {
            "run_id": str(requests[0].run_id), "workflow_id": intake, "workflow_name": "Intake", "step_id": "intake", "action": "send_email",
            "run_status": "running",
        }  # fmt: skip
        await engine.answer(requests[0], Outcome.SUCCEEDED)
        assert len((await client.get(path, headers=as_admin)).json()["items"]) == 2
        assert (await client.get(path, headers=as_stranger)).json()["items"] == []
        assert (await client.get(path, params={"cursor": "made-up"}, headers=as_user)).status_code == 422

    async def test_cancelling_stops_a_run_and_repeating_changes_nothing(
        self, client: httpx.AsyncClient, engine: BuiltinDriver, as_admin: Headers
    ) -> None:
        await published(client, as_admin, **body(wait(), send()))
        await published(client, as_admin, **body(send(when="false")))
        await booked(engine)
        ended, running = sorted(await engine.runs(), key=lambda run: run.status)
        for _ in range(3):
            assert (await client.post(f"/v1/runs/{running.id}/cancel", headers=as_admin)).status_code == 204
        late = await client.post(f"/v1/runs/{ended.id}/cancel", headers=as_admin)
        assert (late.status_code, late.json()["code"]) == (409, "run_has_ended")

    async def test_actions_come_with_their_schemas(self, client: httpx.AsyncClient, engine: BuiltinDriver, as_user: Headers) -> None:
        offered = {item["name"]: item for item in (await client.get("/v1/actions", headers=as_user)).json()["items"]}
        assert offered["send_email"]["parameters_schema"]["required"] == ["subject", "text"]


class TestWhoMay:
    async def test_users_look_and_do_not_change(
        self, client: httpx.AsyncClient, engine: BuiltinDriver, as_admin: Headers, as_user: Headers
    ) -> None:
        workflow_id = await published(client, as_admin)
        await booked(engine)
        (run,) = await engine.runs()
        for method, path in (
            ("POST", "/v1/workflows"), ("PUT", f"/v1/workflows/{workflow_id}"), ("POST", f"/v1/workflows/{workflow_id}/publish"),
            ("POST", f"/v1/workflows/{workflow_id}/unpublish"), ("POST", f"/v1/runs/{run.id}/cancel"),
        ):  # fmt: skip
            answer = await client.request(method, path, json=body(), headers=as_user)
            assert answer.status_code == 403, path
        for path in (f"/v1/workflows/{workflow_id}", "/v1/runs", f"/v1/runs/{run.id}", "/v1/actions"):
            assert (await client.get(path, headers=as_user)).status_code == 200

    async def test_strangers_find_nothing(
        self, client: httpx.AsyncClient, engine: BuiltinDriver, as_admin: Headers, as_stranger: Headers
    ) -> None:
        workflow_id = await published(client, as_admin)
        await booked(engine)
        (run,) = await engine.runs()
        for method, path in (
            ("GET", f"/v1/workflows/{workflow_id}"), ("PUT", f"/v1/workflows/{workflow_id}"),
            ("POST", f"/v1/workflows/{workflow_id}/validate"), ("POST", f"/v1/workflows/{workflow_id}/publish"),
            ("POST", f"/v1/workflows/{workflow_id}/unpublish"), ("GET", f"/v1/runs/{run.id}"), ("POST", f"/v1/runs/{run.id}/cancel"),
        ):  # fmt: skip
            sent = body() if method == "PUT" else None
            answer = await client.request(method, path, json=sent, headers=as_stranger)
            elsewhere = path.replace(workflow_id, str(uuid4())).replace(str(run.id), str(uuid4()))
            nobodys = await client.request(method, elsewhere, json=sent, headers=as_stranger)
            assert answer.status_code == nobodys.status_code == 404, path
            assert answer.json()["code"] == nobodys.json()["code"]
        assert (await client.get("/v1/workflows", headers=as_stranger)).json()["items"] == []
        assert (await client.get("/v1/runs", headers=as_stranger)).json()["items"] == []

    async def test_without_a_token_there_is_no_answer(self, client: httpx.AsyncClient) -> None:
        for path in ("/v1/workflows", "/v1/runs", "/v1/actions"):
            assert (await client.get(path)).status_code == 401
