"""Whether the patient came, over HTTP: completed, missed, and a wrong mark taken back."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import httpx
import orjson
import pytest

from libs.contracts.envelope import Message
from libs.contracts.scheduling import AppointmentCompleted, AppointmentMarkedNoShow, AppointmentReopened
from services.scheduling.tests.cal import SECRET, created, signature

Outbox = Callable[[UUID], Awaitable[list[Message]]]
Headers = dict[str, str]
Do = Callable[..., Awaitable[httpx.Response]]
PAST = datetime(2025, 3, 4, 9, 0, tzinfo=UTC)
MARKS = ["complete", "no-show"]


def body(starts_at: datetime = PAST, resource: str = "dr-kim") -> dict[str, Any]:
    times = {"starts_at": starts_at.isoformat(), "ends_at": (starts_at + timedelta(minutes=30)).isoformat()}
    return {"resource": resource, "title": "Check-up", "attendee": {"name": "Jo Berg", "email": "jo@berg.example"}, **times}


@pytest.fixture
async def visit(client: httpx.AsyncClient, as_user: Headers) -> str:
    """An appointment that has begun."""
    appointment_id: str = (await client.post("/v1/appointments", json=body(), headers=as_user)).json()["id"]
    return appointment_id


@pytest.fixture
def do(client: httpx.AsyncClient, as_user: Headers, visit: str) -> Do:
    async def post(verb: str, appointment_id: str = visit, **sent: Any) -> httpx.Response:
        return await client.post(f"/v1/appointments/{appointment_id}/{verb}", headers=as_user | sent.pop("headers", {}), **sent)

    return post


class TestComplete:
    async def test_says_that_the_patient_came(self, do: Do, visit: str, practice: UUID, outbox: Outbox) -> None:
        answer = await do("complete")
        assert (answer.status_code, answer.json()["status"], answer.headers["etag"]) == (200, "completed", '"2"')
        said = (await outbox(practice))[-1]
        assert isinstance(said, AppointmentCompleted)
        assert (str(said.appointment_id), said.status, said.version) == (visit, "completed", 2)

    async def test_of_one_marked_as_no_show_is_for_whoever_came_late(self, do: Do, practice: UUID, outbox: Outbox) -> None:
        await do("no-show")
        assert (await do("complete")).json()["status"] == "completed"
        assert isinstance((await outbox(practice))[-1], AppointmentCompleted)


class TestNoShow:
    async def test_says_that_the_patient_did_not_come(self, do: Do, practice: UUID, outbox: Outbox) -> None:
        answer = await do("no-show")
        assert (answer.status_code, answer.json()["status"], answer.headers["etag"]) == (200, "no_show", '"2"')
        said = (await outbox(practice))[-1]
        assert isinstance(said, AppointmentMarkedNoShow)
        assert said.status == "no_show"

    async def test_is_said_once_for_the_same_idempotency_key(self, do: Do, practice: UUID, outbox: Outbox) -> None:
        first, second = [await do("no-show", headers={"Idempotency-Key": "k"}) for _ in range(2)]
        assert (first.status_code, first.json()) == (second.status_code, second.json())
        assert len(await outbox(practice)) == 2

    async def test_is_said_once_of_many_clicks(self, do: Do) -> None:
        answers = await asyncio.gather(*(do("no-show") for _ in range(10)))
        assert sorted(answer.status_code for answer in answers) == [200] + [409] * 9

    async def test_counts_from_the_start_and_leaves_the_time_taken(self, client: httpx.AsyncClient, as_user: Headers, do: Do) -> None:
        started = datetime.now(UTC) - timedelta(minutes=5)
        running = (await client.post("/v1/appointments", json=body(started), headers=as_user)).json()["id"]
        assert (await do("no-show", running)).status_code == 200
        assert (await client.post("/v1/appointments", json=body(started), headers=as_user)).json()["code"] == "slot_taken"


class TestReopen:
    @pytest.mark.parametrize("mark", MARKS)
    @pytest.mark.parametrize("before", ["booked", "confirmed"])
    async def test_takes_a_wrong_mark_back(self, do: Do, practice: UUID, outbox: Outbox, mark: str, before: str) -> None:
        if before == "confirmed":
            await do("confirm")
        marked = (await do(mark)).json()["status"]
        assert (await do("reopen")).json()["status"] == before
        said = (await outbox(practice))[-1]
        assert isinstance(said, AppointmentReopened)
        assert (said.previous_status, said.status) == (marked, before)
        assert (await do("cancel", json={})).json()["status"] == "cancelled"

    async def test_of_a_mark_that_took_the_place_of_another_leads_to_before_both(self, do: Do) -> None:
        for verb in ("confirm", "complete", "no-show"):
            await do(verb)
        assert (await do("reopen")).json()["status"] == "confirmed"


class TestRefuses:
    @pytest.mark.parametrize(
        ("before", "verb", "status", "code"),
        [
            ("complete", "complete", 409, "already_completed"),
            ("no-show", "no-show", 409, "already_no_show"),
            (None, "reopen", 409, "not_marked"),
            ("cancel", "complete", 422, "appointment_is_cancelled"),
            ("cancel", "no-show", 422, "appointment_is_cancelled"),
            ("cancel", "reopen", 422, "appointment_is_cancelled"),
            *[(mark, verb, 422, "appointment_is_over") for mark in MARKS for verb in ("confirm", "reschedule", "cancel")],
        ],
    )
    async def test_what_cannot_happen_any_more(
        self, do: Do, practice: UUID, outbox: Outbox, before: str | None, verb: str, status: int, code: str
    ) -> None:
        if before is not None:
            await do(before, json={} if before == "cancel" else None)
        said = len(await outbox(practice))
        times = {"starts_at": PAST.isoformat(), "ends_at": (PAST + timedelta(minutes=30)).isoformat()}
        answer = await do(verb, json={"reschedule": times, "cancel": {}}.get(verb))
        assert (answer.status_code, answer.json()["code"]) == (status, code)
        assert len(await outbox(practice)) == said

    @pytest.mark.parametrize("mark", MARKS)
    async def test_a_mark_before_the_appointment_has_begun(self, client: httpx.AsyncClient, as_user: Headers, do: Do, mark: str) -> None:
        soon = datetime.now(UTC) + timedelta(minutes=10)
        coming = (await client.post("/v1/appointments", json=body(soon), headers=as_user)).json()
        answer = await do(mark, coming["id"])
        assert (answer.status_code, answer.json()["code"]) == (422, "not_begun_yet")
        assert (await client.get(f"/v1/appointments/{coming['id']}", headers=as_user)).json() == coming

    @pytest.mark.parametrize("verb", [*MARKS, "reopen"])
    async def test_a_version_that_is_not_the_newest_and_another_practice(
        self, client: httpx.AsyncClient, as_stranger: Headers, do: Do, visit: str, verb: str
    ) -> None:
        assert (await do(verb, headers={"If-Match": '"7"'})).json()["code"] == "version_mismatch"
        theirs = await client.post(f"/v1/appointments/{visit}/{verb}", headers=as_stranger)
        assert (theirs.status_code, theirs.json()["code"]) == (404, "appointment_not_found")


class TestList:
    async def test_finds_those_of_a_status(self, client: httpx.AsyncClient, as_user: Headers, do: Do, visit: str) -> None:
        other = (await client.post("/v1/appointments", json=body(resource="room-2"), headers=as_user)).json()["id"]
        await do("no-show")
        for status, found in {"no_show": [visit], "booked": [other], "completed": []}.items():
            answer = await client.get("/v1/appointments", params={"status": status}, headers=as_user)
            assert [view["id"] for view in answer.json()["items"]] == found
        assert (await client.get("/v1/appointments", params={"status": "late"}, headers=as_user)).status_code == 422


class TestOfCalcom:
    @pytest.mark.parametrize("verb", MARKS)
    async def test_is_marked_here(self, client: httpx.AsyncClient, as_admin: Headers, as_user: Headers, practice: UUID, verb: str) -> None:
        await client.put("/v1/calcom-settings", json={"webhook_secret": SECRET}, headers=as_admin)
        raw = orjson.dumps(created("u", startTime="2025-03-04T09:00:00Z", endTime="2025-03-04T09:30:00Z"))
        await client.post(f"/webhooks/calcom/{practice}", content=raw, headers={"x-cal-signature-256": signature(raw)})
        (theirs,) = (await client.get("/v1/appointments", headers=as_user)).json()["items"]
        assert (await client.post(f"/v1/appointments/{theirs['id']}/{verb}", headers=as_user)).status_code == 200
