"""Tasks for the staff: asked for by workflows, shown to whom they are for, completed once."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest

from libs.common.auth import Role
from libs.common.work import Work
from libs.contracts.actions import Outcome
from libs.contracts.envelope import Message
from libs.contracts.notifications import TaskCompleted, TaskCreated
from libs.testing.fixtures import Headers, Join
from libs.testing.stage import Stage
from services.notifications.actions import CREATE_TASK

Outbox = Callable[[UUID], Awaitable[list[Message]]]
Ask = Callable[..., Awaitable[str]]


@pytest.fixture
async def stage(work: Work, practice: UUID) -> AsyncIterator[Stage]:
    async with Stage(work, CREATE_TASK, practice) as found:
        yield found


@pytest.fixture
def ask(stage: Stage) -> Ask:
    """Ask for a task; its id, or why there is none."""

    async def make(patient: UUID | None = None, **parameters: Any) -> str:
        await stage.ask(stage.asking({"title": "Call back", **parameters}, patient))
        finished = (await stage.outcomes())[-1]
        return finished.error.code if finished.error else str(finished.result["task_id"])

    return make


async def listed(client: httpx.AsyncClient, headers: Headers, **query: Any) -> list[str]:
    answer = await client.get("/v1/tasks", params=query, headers=headers)
    assert answer.status_code == 200, answer.text
    return [task["id"] for task in answer.json()["items"]]


class TestCreate:
    async def test_is_shown_and_said(self, ask: Ask, client: httpx.AsyncClient, as_user: Headers, practice: UUID, outbox: Outbox) -> None:
        patient = uuid4()
        task = await ask(patient, text="About the visit.", due_in_hours=24)
        view = (await client.get(f"/v1/tasks/{task}", headers=as_user)).json()
        assert (view["title"], view["text"], view["patient_id"], view["completed_at"]) == (
            "Call back",
            "About the visit.",
            str(patient),
            None,
        )
        assert (view["run_id"] is not None, view["created_by"]) == (True, None)
        assert datetime.fromisoformat(view["due_at"]) - datetime.fromisoformat(view["created_at"]) == timedelta(hours=24)
        created = (await outbox(practice))[0]
        assert isinstance(created, TaskCreated)
        assert (created.task_id, created.patient_id, created.title) == (UUID(task), patient, "Call back")

    async def test_for_somebody_who_is_not_there_is_refused(self, ask: Ask, stage: Stage) -> None:
        assert await ask(user_id=str(uuid4())) == "assignee_unknown"
        assert not any(isinstance(message, TaskCreated) for message in await stage.said())

    @pytest.mark.parametrize(
        "fields",
        [
            {"title": ""}, {"title": "two\nlines"}, {"due_at": "2026-12-01T09:00:00"}, {"due_in_hours": 0}, {"due_in_hours": 10_000},
            {"role": "vantage_admin"}, {"user_id": "me"}, {"role": "regular_user", "user_id": str(uuid4())},
            {"due_at": "2026-12-01T09:00:00Z", "due_in_hours": 1},
        ],
    )  # fmt: skip
    async def test_that_makes_no_sense_is_refused(self, fields: dict[str, Any], ask: Ask) -> None:
        assert await ask(**fields) == "parameters_invalid"


class TestList:
    async def test_shows_people_what_is_for_them(self, ask: Ask, client: httpx.AsyncClient, join: Join, practice: UUID) -> None:
        user = uuid4()
        as_user, as_admin = await join(Role.REGULAR_USER, practice, user_id=user), await join(Role.PRACTICE_ADMIN, practice)
        everybody, users, admins, one = (
            await ask(), await ask(role="regular_user"), await ask(role="practice_admin"), await ask(user_id=str(user)),
        )  # fmt: skip
        assert await listed(client, as_user, mine=True) == [one, users, everybody]
        assert await listed(client, as_admin, mine=True) == [admins, everybody]
        assert await listed(client, as_admin) == [one, admins, users, everybody]

    async def test_by_patient_and_status_in_pages(self, ask: Ask, client: httpx.AsyncClient, as_user: Headers) -> None:
        patient = uuid4()
        tasks = [await ask(patient if number % 2 else None) for number in range(4)]
        await client.post(f"/v1/tasks/{tasks[1]}/complete", headers=as_user)
        assert await listed(client, as_user, patient_id=str(patient)) == [tasks[3], tasks[1]]
        assert await listed(client, as_user, status="completed") == [tasks[1]]
        page = (await client.get("/v1/tasks", params={"limit": 2, "status": "open"}, headers=as_user)).json()
        rest = await listed(client, as_user, limit=2, status="open", cursor=page["next_cursor"])
        assert [task["id"] for task in page["items"]] + rest == [tasks[3], tasks[2], tasks[0]]

    async def test_shows_nothing_to_strangers(self, ask: Ask, client: httpx.AsyncClient, as_stranger: Headers) -> None:
        task = await ask()
        assert await listed(client, as_stranger) == []
        answers = [
            await client.get(f"/v1/tasks/{task}", headers=as_stranger),
            await client.post(f"/v1/tasks/{task}/complete", headers=as_stranger),
        ]
        assert [(answer.status_code, answer.json()["code"]) for answer in answers] == [(404, "task_not_found")] * 2


class TestComplete:
    async def test_happens_once_and_says_so(
        self, ask: Ask, client: httpx.AsyncClient, as_user: Headers, practice: UUID, outbox: Outbox
    ) -> None:
        task = await ask(uuid4())
        first, again = [(await client.post(f"/v1/tasks/{task}/complete", headers=as_user)).json() for _ in range(2)]
        assert first["completed_at"] is not None
        assert again == first
        assert sum(isinstance(message, TaskCompleted) for message in await outbox(practice)) == 1

    async def test_does_not_come_back_when_the_request_is_repeated(self, stage: Stage) -> None:
        request = stage.asking({"title": "Call back"}, None)
        await stage.ask(request, request)
        assert [finished.outcome for finished in await stage.outcomes()] == [Outcome.SUCCEEDED]
        assert sum(isinstance(message, TaskCreated) for message in await stage.said()) == 1
