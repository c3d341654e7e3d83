"""Tasks that people create, change, hand on and open again."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest

from libs.common.auth import Role
from libs.common.service import Service
from libs.contracts.envelope import Message
from libs.contracts.notifications import TaskCompleted, TaskCreated, TaskReopened, TaskUpdated
from libs.contracts.patients import PatientDetails, PatientRegistered
from libs.testing.fixtures import Headers, Join, incoming
from services.notifications.commands import contacts

Outbox = Callable[[UUID], Awaitable[list[Message]]]
Add = Callable[..., Awaitable[dict[str, Any]]]
BODY = {"title": "Call back"}


@pytest.fixture
def add(client: httpx.AsyncClient, as_user: Headers) -> Add:
    async def post(**fields: Any) -> dict[str, Any]:
        answer = await client.post("/v1/tasks", json={**BODY, **fields}, headers=as_user)
        assert answer.status_code == 201, answer.text
        view: dict[str, Any] = answer.json()
        return view

    return post


@pytest.fixture
async def patient(service: Service, practice: UUID) -> UUID:
    event = PatientRegistered(patient_id=uuid4(), version=1, details=PatientDetails(given_name="Mira", family_name="Holm"))
    await service.batches.handle([incoming(event, practice)])
    return event.patient_id


async def listed(client: httpx.AsyncClient, headers: Headers, **query: Any) -> list[str]:
    answer = await client.get("/v1/tasks", params=query, headers=headers)
    assert answer.status_code == 200, answer.text
    return [task["id"] for task in answer.json()["items"]]


class TestCreate:
    async def test_is_answered_said_and_shown(
        self, add: Add, patient: UUID, client: httpx.AsyncClient, as_user: Headers, practice: UUID, outbox: Outbox
    ) -> None:
        task = await add(text="About the findings.", due_in_hours=24, role="practice_admin", patient_id=str(patient))
        assert (task["title"], task["assignee_role"], task["patient_id"], task["run_id"]) == (
            "Call back",
            "practice_admin",
            str(patient),
            None,
        )
        assert task["created_by"].startswith("user:")
        assert datetime.fromisoformat(task["due_at"]) - datetime.fromisoformat(task["created_at"]) == timedelta(hours=24)
        (said,) = await outbox(practice)
        assert isinstance(said, TaskCreated)
        assert (str(said.task_id), said.patient_id, said.assignee_role) == (task["id"], patient, "practice_admin")
        assert (await client.get(f"/v1/tasks/{task['id']}", headers=as_user)).json() == task

    async def test_is_once_for_the_same_idempotency_key(self, client: httpx.AsyncClient, as_user: Headers) -> None:
        headers = {**as_user, "Idempotency-Key": "k"}
        first, second = [await client.post("/v1/tasks", json=BODY, headers=headers) for _ in range(2)]
        assert (first.status_code, first.json()) == (second.status_code, second.json())
        assert len(await listed(client, as_user)) == 1

    async def test_is_refused_about_a_patient_nobody_knows_or_for_somebody_who_is_not_there(
        self, client: httpx.AsyncClient, as_user: Headers, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(contacts, "LOOKS", 1)
        for field, status, code in (("patient_id", 404, "patient_unknown"), ("user_id", 422, "assignee_unknown")):
            answer = await client.post("/v1/tasks", json={**BODY, field: str(uuid4())}, headers=as_user)
            assert (answer.status_code, answer.json()["code"], answer.json()["errors"][0]["pointer"]) == (status, code, f"/{field}")
        assert await listed(client, as_user) == []

    @pytest.mark.parametrize(
        ("fields", "pointer"),
        [
            ({"title": ""}, "/title"), ({"title": "two\nlines"}, "/title"), ({"due_at": "2026-12-01T09:00:00"}, "/due_at"),
            ({"due_in_hours": 0}, "/due_in_hours"), ({"role": "vantage_admin"}, "/role"), ({"user_id": "me"}, "/user_id"),
            ({"role": "regular_user", "user_id": str(uuid4())}, "/"), ({"due_at": "2026-12-01T09:00:00Z", "due_in_hours": 1}, "/"),
            ({"done": True}, "/done"), ({"due_at": "9999-12-31T23:59:59-12:00"}, "/due_at"), ({"due_at": "0001-01-01T00:00:00+12:00"}, "/due_at"),
        ],
    )  # fmt: skip
    async def test_that_makes_no_sense_is_refused_by_field(
        self, client: httpx.AsyncClient, as_user: Headers, fields: dict[str, Any], pointer: str
    ) -> None:
        answer = await client.post("/v1/tasks", json={**BODY, **fields}, headers=as_user)
        assert (answer.status_code, answer.json()["errors"][0]["pointer"]) == (422, pointer)


class TestChange:
    async def test_says_what_changed(self, add: Add, client: httpx.AsyncClient, as_user: Headers, practice: UUID, outbox: Outbox) -> None:
        task = await add(text="Soon.", due_in_hours=1)
        sent = {"title": "Call back today", "text": None, "due_at": "2030-01-07T16:00:00Z"}
        view = (await client.patch(f"/v1/tasks/{task['id']}", json=sent, headers=as_user)).json()
        assert view == task | {"title": "Call back today", "text": None, "due_at": "2030-01-07T16:00:00Z"}
        said = (await outbox(practice))[-1]
        assert isinstance(said, TaskUpdated)
        assert (said.changed, said.title) == (["due_at", "text", "title"], "Call back today")

    async def test_hands_it_on_from_everybody_to_a_role_to_a_user_and_back(
        self, add: Add, client: httpx.AsyncClient, join: Join, practice: UUID
    ) -> None:
        user = uuid4()
        as_user, as_admin = await join(Role.REGULAR_USER, practice, user_id=user), await join(Role.PRACTICE_ADMIN, practice)
        task = (await add())["id"]

        async def hand(**to: Any) -> tuple[str | None, str | None]:
            answer = await client.patch(f"/v1/tasks/{task}", json=to, headers=as_admin)
            assert answer.status_code == 200, answer.text
            return answer.json()["assignee_role"], answer.json()["assignee_id"]

        assert await hand(role="practice_admin") == ("practice_admin", None)
        assert (await listed(client, as_user, mine=True), await listed(client, as_admin, mine=True)) == ([], [task])
        assert await hand(user_id=str(user)) == (None, str(user))
        assert (await listed(client, as_user, mine=True), await listed(client, as_admin, mine=True)) == ([task], [])
        assert await hand(role="regular_user") == ("regular_user", None)
        assert await hand(role=None) == (None, None)
        assert (await listed(client, as_user, mine=True), await listed(client, as_admin, mine=True)) == ([task], [task])

    async def test_into_what_it_is_says_nothing(
        self, add: Add, client: httpx.AsyncClient, as_user: Headers, practice: UUID, outbox: Outbox
    ) -> None:
        task = await add()
        for sent in ({}, BODY, {"role": None}):
            assert (await client.patch(f"/v1/tasks/{task['id']}", json=sent, headers=as_user)).json() == task
        assert len(await outbox(practice)) == 1

    @pytest.mark.parametrize(
        ("sent", "code"),
        [
            ({"title": None}, "invalid_input"), ({"title": " "}, "invalid_input"), ({"due_in_hours": 1}, "invalid_input"),
            ({"role": "regular_user", "user_id": str(uuid4())}, "invalid_input"), ({"user_id": str(uuid4())}, "assignee_unknown"),
        ],
    )  # fmt: skip
    async def test_that_makes_no_sense_is_refused(
        self, add: Add, client: httpx.AsyncClient, as_user: Headers, sent: dict[str, Any], code: str
    ) -> None:
        task = await add()
        answer = await client.patch(f"/v1/tasks/{task['id']}", json=sent, headers=as_user)
        assert (answer.status_code, answer.json()["code"]) == (422, code)
        assert (await client.get(f"/v1/tasks/{task['id']}", headers=as_user)).json() == task

    async def test_of_a_completed_one_waits_until_it_is_open_again(self, add: Add, client: httpx.AsyncClient, as_user: Headers) -> None:
        path = f"/v1/tasks/{(await add())['id']}"
        await client.post(f"{path}/complete", headers=as_user)
        assert (await client.patch(path, json={"title": "x"}, headers=as_user)).json()["code"] == "task_is_completed"
        await client.post(f"{path}/reopen", headers=as_user)
        assert (await client.patch(path, json={"title": "x"}, headers=as_user)).json()["title"] == "x"


class TestReopen:
    async def test_happens_once_and_it_can_be_completed_again(
        self, add: Add, client: httpx.AsyncClient, as_user: Headers, practice: UUID, outbox: Outbox
    ) -> None:
        task = await add()
        for verb in ("reopen", "complete", "reopen", "reopen", "complete"):
            view = (await client.post(f"/v1/tasks/{task['id']}/{verb}", headers=as_user)).json()
            assert (view["completed_at"] is not None, view["completed_by"] is not None) == (verb == "complete", verb == "complete")
        assert [type(message) for message in await outbox(practice)] == [TaskCreated, TaskCompleted, TaskReopened, TaskCompleted]


class TestList:
    async def test_finds_those_of_a_user_and_those_that_are_overdue(
        self, add: Add, client: httpx.AsyncClient, as_user: Headers, join: Join, practice: UUID
    ) -> None:
        user = uuid4()
        await join(Role.REGULAR_USER, practice, user_id=user)
        late, soon, _ = [
            (await add(due_at="2025-01-07T16:00:00Z"))["id"], (await add(due_at="2100-01-07T16:00:00Z", user_id=str(user)))["id"], await add(),
        ]  # fmt: skip
        assert await listed(client, as_user, user_id=str(user)) == [soon]
        assert await listed(client, as_user, due_before="2030-01-01T00:00:00Z", status="open") == [late]
        assert (await client.get("/v1/tasks", params={"due_before": "today"}, headers=as_user)).status_code == 422


class TestIsolation:
    async def test_hides_every_operation_from_another_practice(
        self, add: Add, patient: UUID, client: httpx.AsyncClient, as_user: Headers, as_stranger: Headers, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(contacts, "LOOKS", 1)
        task = await add()
        path = f"/v1/tasks/{task['id']}"
        answers = [
            await client.patch(path, json={"title": "Mine"}, headers=as_stranger),
            await client.post(f"{path}/reopen", headers=as_stranger),
        ]
        assert [(answer.status_code, answer.json()["code"]) for answer in answers] == [(404, "task_not_found")] * 2
        theirs = await client.post("/v1/tasks", json={**BODY, "patient_id": str(patient)}, headers=as_stranger)
        assert (theirs.status_code, theirs.json()["code"]) == (404, "patient_unknown")
        assert (await client.get(path, headers=as_user)).json() == task
