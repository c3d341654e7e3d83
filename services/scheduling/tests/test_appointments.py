"""Appointments over HTTP: booked once per slot, changed by those who saw the newest version."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import httpx
import orjson
import pytest
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncSession

from libs.common.auth import Principal
from libs.common.service import Service
from libs.common.work import Work
from libs.contracts.envelope import Message
from libs.contracts.patients import PatientDetails, PatientRegistered
from libs.contracts.scheduling import (
    AppointmentBooked,
    AppointmentCancelled,
    AppointmentConfirmed,
    AppointmentRescheduled,
    AppointmentsViewed,
)
from libs.testing.fixtures import incoming
from services.scheduling.commands import contacts
from services.scheduling.commands.appointments import BookAppointment, SlotTaken, book_appointment
from services.scheduling.tests.cal import SECRET, created, signature

Outbox = Callable[[UUID], Awaitable[list[Message]]]
Headers = dict[str, str]
NINE = datetime(2026, 12, 1, 9, 0, tzinfo=UTC)
GUEST = {"name": "Jo Berg", "email": "Jo@Berg.example", "phone": "+1 202 555 0101"}


def body(hour: int = 0, **fields: Any) -> dict[str, Any]:
    starts_at = NINE + timedelta(hours=hour)
    times = {"starts_at": starts_at.isoformat(), "ends_at": (starts_at + timedelta(minutes=30)).isoformat()}
    return {"resource": "dr-kim", "title": "Check-up", "attendee": GUEST, **times, **fields}


def times(hour: int) -> dict[str, Any]:
    told = body(hour)
    return {"starts_at": told["starts_at"], "ends_at": told["ends_at"]}


@pytest.fixture
async def booked(client: httpx.AsyncClient, as_user: Headers) -> dict[str, Any]:
    answer = await client.post("/v1/appointments", json=body(), headers=as_user)
    assert answer.status_code == 201, answer.text
    view: dict[str, Any] = answer.json()
    return view


async def register(service: Service, practice: UUID, email: str | None = "jo@berg.example") -> UUID:
    patient = PatientRegistered(patient_id=uuid4(), version=1, details=PatientDetails(given_name="Jo", family_name="Berg", email=email))
    await service.batches.handle([incoming(patient, practice)])
    return patient.patient_id


class TestBook:
    async def test_answers_with_the_appointment_and_says_it(self, booked: dict[str, Any], practice: UUID, outbox: Outbox) -> None:
        assert (booked["status"], booked["source"], booked["version"], booked["attendee_email"]) == (
            "booked",
            "local",
            1,
            "jo@berg.example",
        )
        (event,) = await outbox(practice)
        assert isinstance(event, AppointmentBooked)
        assert (str(event.appointment_id), event.starts_at, event.attendee.phone) == (booked["id"], NINE, "+12025550101")

    async def test_takes_a_patient_who_is_known(
        self, client: httpx.AsyncClient, as_user: Headers, service: Service, practice: UUID
    ) -> None:
        patient_id = await register(service, practice)
        answer = await client.post("/v1/appointments", json=body(attendee=None, patient_id=str(patient_id)), headers=as_user)
        assert answer.json()["patient_id"] == str(patient_id)

    async def test_waits_a_little_for_a_patient_on_the_way(
        self, client: httpx.AsyncClient, as_user: Headers, service: Service, practice: UUID
    ) -> None:
        patient = PatientRegistered(patient_id=uuid4(), version=1, details=PatientDetails(given_name="Jo", family_name="Berg"))
        answer, _ = await asyncio.gather(
            client.post("/v1/appointments", json=body(attendee=None, patient_id=str(patient.patient_id)), headers=as_user),
            service.batches.handle([incoming(patient, practice)]),
        )
        assert answer.status_code == 201

    async def test_refuses_a_patient_nobody_knows_or_of_another_practice(
        self, client: httpx.AsyncClient, as_user: Headers, service: Service, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(contacts, "LOOKS", 1)
        for patient_id in (uuid4(), await register(service, uuid4())):
            answer = await client.post("/v1/appointments", json=body(attendee=None, patient_id=str(patient_id)), headers=as_user)
            assert (answer.status_code, answer.json()["code"], answer.json()["errors"][0]["pointer"]) == (
                404,
                "patient_unknown",
                "/patient_id",
            )

    async def test_matches_the_attendee(self, client: httpx.AsyncClient, as_user: Headers, service: Service, practice: UUID) -> None:
        patient_id = await register(service, practice)
        assert (await client.post("/v1/appointments", json=body(), headers=as_user)).json()["patient_id"] == str(patient_id)

    async def test_refuses_a_taken_slot(self, client: httpx.AsyncClient, as_user: Headers, booked: dict[str, Any]) -> None:
        answer = await client.post("/v1/appointments", json=body(), headers=as_user)
        assert (answer.status_code, answer.json()["code"], answer.json()["errors"][0]["pointer"]) == (409, "slot_taken", "/starts_at")

    async def test_takes_the_time_right_after_and_another_resource(
        self, client: httpx.AsyncClient, as_user: Headers, booked: dict[str, Any]
    ) -> None:
        after = body(starts_at=booked["ends_at"], ends_at=(NINE + timedelta(hours=1)).isoformat())
        for told in (after, body(resource="room-2")):
            assert (await client.post("/v1/appointments", json=told, headers=as_user)).status_code == 201

    async def test_takes_the_slot_of_a_cancelled_appointment(
        self, client: httpx.AsyncClient, as_user: Headers, booked: dict[str, Any]
    ) -> None:
        await client.post(f"/v1/appointments/{booked['id']}/cancel", json={}, headers=as_user)
        assert (await client.post("/v1/appointments", json=body(), headers=as_user)).status_code == 201

    async def test_repeats_its_answer_for_the_same_idempotency_key(
        self, client: httpx.AsyncClient, as_user: Headers, practice: UUID, outbox: Outbox
    ) -> None:
        headers = {**as_user, "Idempotency-Key": "k"}
        first, second = [await client.post("/v1/appointments", json=body(), headers=headers) for _ in range(2)]
        assert first.json() == second.json()
        assert len(await outbox(practice)) == 1

    @pytest.mark.parametrize(
        ("fields", "pointer"),
        [
            ({"ends_at": NINE.isoformat()}, "/ends_at"),
            ({"ends_at": (NINE + timedelta(days=2)).isoformat()}, "/ends_at"),
            ({"time_zone": "Mars/Base"}, "/time_zone"),
            ({"starts_at": "2026-12-01T09:00:00"}, "/starts_at"),
            ({"starts_at": "0001-01-01T00:00:00+12:00"}, "/starts_at"),
            ({"ends_at": "9999-12-31T23:59:59-12:00"}, "/ends_at"),
            ({"resource": "calcom/host/5"}, "/resource"),
            ({"title": ""}, "/title"),
            ({"attendee": {"name": "Jo", "email": "jo"}}, "/attendee/email"),
            ({"attendee": {"name": "Jo", "phone": "0170"}}, "/attendee/phone"),
            ({"attendee": None}, "/"),
            ({"patient_id": str(uuid4())}, "/"),
            ({"surprise": 1}, "/surprise"),
        ],
    )
    async def test_refuses_bad_input_and_names_the_field(
        self, client: httpx.AsyncClient, as_user: Headers, fields: dict[str, Any], pointer: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(contacts, "LOOKS", 0)
        answer = await client.post("/v1/appointments", json=body(**fields), headers=as_user)
        assert answer.status_code == 422
        assert answer.json()["errors"][0]["pointer"] == pointer

    async def test_needs_a_token_of_a_practice(self, client: httpx.AsyncClient, as_vantage_admin: Headers) -> None:
        assert (await client.post("/v1/appointments", json=body())).status_code == 401
        assert (await client.post("/v1/appointments", json=body(), headers=as_vantage_admin)).status_code == 403


class TestRace:
    async def test_gives_a_slot_to_exactly_one_of_two_hundred(self, work: Work, admin: Principal, practice: UUID, outbox: Outbox) -> None:
        cmd = BookAppointment.model_validate_json(orjson.dumps(body()))

        async def attempt() -> str:
            try:
                async with work(admin) as tx:
                    await book_appointment(cmd, tx)
            except SlotTaken as trouble:
                return trouble.code
            return "booked"

        outcomes = await asyncio.gather(*(attempt() for _ in range(200)))
        assert sorted(outcomes) == ["booked"] + ["slot_taken"] * 199
        assert len(await outbox(practice)) == 1

    async def test_lets_one_of_many_moves_into_a_slot(self, client: httpx.AsyncClient, as_user: Headers) -> None:
        made = [(await client.post("/v1/appointments", json=body(hour), headers=as_user)).json() for hour in range(1, 11)]
        answers = await asyncio.gather(
            *(client.post(f"/v1/appointments/{view['id']}/reschedule", json=times(20), headers=as_user) for view in made)
        )
        assert sorted(answer.status_code for answer in answers) == [200] + [409] * 9

    async def test_refuses_two_who_want_each_others_slots(self, client: httpx.AsyncClient, as_user: Headers) -> None:
        for hour in range(0, 40, 4):
            one, two = [(await client.post("/v1/appointments", json=body(hour + n), headers=as_user)).json()["id"] for n in (0, 1)]
            answers = await asyncio.gather(
                client.post(f"/v1/appointments/{one}/reschedule", json=times(hour + 1), headers=as_user),
                client.post(f"/v1/appointments/{two}/reschedule", json=times(hour), headers=as_user),
            )
            assert [(answer.status_code, answer.json()["code"]) for answer in answers] == [(409, "slot_taken")] * 2

    @pytest.mark.parametrize("sqlstate", ["23P01", "40P01", "40001"])
    async def test_says_that_the_slot_is_taken_when_the_database_ends_a_circle(
        self, work: Work, admin: Principal, sqlstate: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        async def flush(_: object) -> None:
            raise DBAPIError("", {}, type("Aborted", (Exception,), {"sqlstate": sqlstate})())

        monkeypatch.setattr(AsyncSession, "flush", flush)
        with pytest.raises(SlotTaken):
            async with work(admin) as tx:
                await book_appointment(BookAppointment.model_validate_json(orjson.dumps(body())), tx)

    async def test_lets_one_of_many_cancel(self, client: httpx.AsyncClient, as_user: Headers, booked: dict[str, Any]) -> None:
        answers = await asyncio.gather(
            *(client.post(f"/v1/appointments/{booked['id']}/cancel", json={}, headers=as_user) for _ in range(10))
        )
        assert sorted(answer.status_code for answer in answers) == [200] + [409] * 9


class TestChange:
    async def test_confirms(
        self, client: httpx.AsyncClient, as_user: Headers, booked: dict[str, Any], practice: UUID, outbox: Outbox
    ) -> None:
        answer = await client.post(f"/v1/appointments/{booked['id']}/confirm", headers=as_user)
        assert (answer.status_code, answer.json()["status"], answer.json()["version"], answer.headers["etag"]) == (
            200,
            "confirmed",
            2,
            '"2"',
        )
        assert isinstance((await outbox(practice))[-1], AppointmentConfirmed)

    async def test_reschedules_and_takes_the_confirmation_back(
        self, client: httpx.AsyncClient, as_user: Headers, booked: dict[str, Any], practice: UUID, outbox: Outbox
    ) -> None:
        await client.post(f"/v1/appointments/{booked['id']}/confirm", headers=as_user)
        answer = await client.post(f"/v1/appointments/{booked['id']}/reschedule", json=times(2), headers=as_user)
        assert (answer.json()["status"], answer.json()["version"]) == ("booked", 3)
        event = (await outbox(practice))[-1]
        assert isinstance(event, AppointmentRescheduled)
        assert (event.previous_starts_at, event.starts_at) == (NINE, NINE + timedelta(hours=2))

    async def test_cancels_with_a_reason(
        self, client: httpx.AsyncClient, as_user: Headers, booked: dict[str, Any], practice: UUID, outbox: Outbox
    ) -> None:
        answer = await client.post(f"/v1/appointments/{booked['id']}/cancel", json={"reason": "ill"}, headers=as_user)
        assert answer.json()["status"] == "cancelled"
        event = (await outbox(practice))[-1]
        assert isinstance(event, AppointmentCancelled)
        assert event.reason == "ill"

    @pytest.mark.parametrize(
        ("before", "verb", "sent", "status", "code"),
        [
            ("confirm", "confirm", {}, 409, "already_confirmed"),
            ("cancel", "cancel", {}, 409, "already_cancelled"),
            ("cancel", "confirm", {}, 422, "appointment_is_cancelled"),
            ("cancel", "reschedule", times(3), 422, "appointment_is_cancelled"),
            (None, "reschedule", times(0), 409, "already_at_that_time"),
            (None, "reschedule", {"starts_at": NINE.isoformat(), "ends_at": NINE.isoformat()}, 422, "ends_before_start"),
        ],
    )
    async def test_refuses_what_cannot_happen_any_more(
        self,
        client: httpx.AsyncClient,
        as_user: Headers,
        booked: dict[str, Any],
        before: str | None,
        verb: str,
        sent: dict[str, Any],
        status: int,
        code: str,
    ) -> None:
        if before is not None:
            await client.post(f"/v1/appointments/{booked['id']}/{before}", json={}, headers=as_user)
        answer = await client.post(f"/v1/appointments/{booked['id']}/{verb}", json=sent, headers=as_user)
        assert (answer.status_code, answer.json()["code"]) == (status, code)

    async def test_refuses_a_move_into_a_taken_slot(self, client: httpx.AsyncClient, as_user: Headers, booked: dict[str, Any]) -> None:
        other = (await client.post("/v1/appointments", json=body(5), headers=as_user)).json()
        answer = await client.post(f"/v1/appointments/{other['id']}/reschedule", json=times(0), headers=as_user)
        assert (answer.status_code, answer.json()["code"]) == (409, "slot_taken")
        assert (await client.get(f"/v1/appointments/{other['id']}", headers=as_user)).json() == other

    @pytest.mark.parametrize("verb", ["confirm", "reschedule", "cancel"])
    async def test_refuses_a_version_that_is_not_the_newest(
        self, client: httpx.AsyncClient, as_user: Headers, booked: dict[str, Any], verb: str
    ) -> None:
        sent = times(4) if verb == "reschedule" else {}
        headers = {**as_user, "If-Match": '"7"'}
        answer = await client.post(f"/v1/appointments/{booked['id']}/{verb}", json=sent, headers=headers)
        assert (answer.status_code, answer.json()["code"]) == (412, "version_mismatch")
        headers["If-Match"] = '"1"'
        assert (await client.post(f"/v1/appointments/{booked['id']}/{verb}", json=sent, headers=headers)).status_code == 200


class TestOfCalcom:
    @pytest.fixture
    async def theirs(self, client: httpx.AsyncClient, practice: UUID, as_admin: Headers) -> str:
        await client.put("/v1/calcom-settings", json={"webhook_secret": SECRET}, headers=as_admin)
        raw = orjson.dumps(created("u"))
        await client.post(f"/webhooks/calcom/{practice}", content=raw, headers={"x-cal-signature-256": signature(raw)})
        appointment_id: str = (await client.get("/v1/appointments", headers=as_admin)).json()["items"][0]["id"]
        return appointment_id

    async def test_is_confirmed_here(self, client: httpx.AsyncClient, as_user: Headers, theirs: str) -> None:
        assert (await client.post(f"/v1/appointments/{theirs}/confirm", headers=as_user)).json()["status"] == "confirmed"

    @pytest.mark.parametrize(("verb", "sent"), [("reschedule", times(3)), ("cancel", {})])
    async def test_is_moved_and_cancelled_there(
        self, client: httpx.AsyncClient, as_user: Headers, theirs: str, verb: str, sent: dict[str, Any]
    ) -> None:
        answer = await client.post(f"/v1/appointments/{theirs}/{verb}", json=sent, headers=as_user)
        assert (answer.status_code, answer.json()["code"]) == (422, "kept_by_calcom")


class TestRead:
    async def test_shows_one(self, client: httpx.AsyncClient, as_user: Headers, booked: dict[str, Any]) -> None:
        answer = await client.get(f"/v1/appointments/{booked['id']}", headers=as_user)
        assert answer.json() == booked
        assert answer.headers["etag"] == '"1"'

    async def test_leaves_a_trace_of_every_reading(
        self, client: httpx.AsyncClient, as_user: Headers, booked: dict[str, Any], practice: UUID, outbox: Outbox
    ) -> None:
        await client.get(f"/v1/appointments/{booked['id']}", headers=as_user)
        await client.get("/v1/appointments", headers=as_user)
        await client.get("/v1/appointments", params={"since": "2100-01-01T00:00:00Z"}, headers=as_user)
        viewed = [message for message in await outbox(practice) if isinstance(message, AppointmentsViewed)]
        assert [(message.view, [str(shown) for shown in message.appointment_ids]) for message in viewed] == [
            ("record", [booked["id"]]),
            ("list", [booked["id"]]),
        ]

    async def test_lists_by_start_page_by_page(self, client: httpx.AsyncClient, as_user: Headers) -> None:
        made = [(await client.post("/v1/appointments", json=body(hour), headers=as_user)).json()["id"] for hour in (3, 1, 2, 5, 4)]
        seen: list[str] = []
        cursor: str | None = None
        while True:
            query = {"limit": "2", **({"cursor": cursor} if cursor else {})}
            page = (await client.get("/v1/appointments", params=query, headers=as_user)).json()
            seen += [view["id"] for view in page["items"]]
            cursor = page["next_cursor"]
            if cursor is None:
                break
        assert seen == [made[1], made[2], made[0], made[4], made[3]]

    async def test_lists_a_time_and_a_patient(self, client: httpx.AsyncClient, as_user: Headers, service: Service, practice: UUID) -> None:
        patient_id = await register(service, practice, None)
        for hour in range(3):
            await client.post("/v1/appointments", json=body(hour, attendee=None, patient_id=str(patient_id)), headers=as_user)
        await client.post("/v1/appointments", json=body(9), headers=as_user)
        between = {"since": (NINE + timedelta(hours=1)).isoformat(), "until": (NINE + timedelta(hours=2)).isoformat()}
        assert len((await client.get("/v1/appointments", params=between, headers=as_user)).json()["items"]) == 1
        of_patient = {"patient_id": str(patient_id)}
        assert len((await client.get("/v1/appointments", params=of_patient, headers=as_user)).json()["items"]) == 3

    @pytest.mark.parametrize(
        "query",
        [
            {"since": "yesterday"},
            {"until": "9999-12-31T23:59:59-12:00"},
            {"limit": "0"},
            {"limit": "101"},
            {"cursor": "x"},
            {"patient_id": "7"},
        ],
    )
    async def test_refuses_a_query_that_makes_no_sense(self, client: httpx.AsyncClient, as_user: Headers, query: dict[str, str]) -> None:
        assert (await client.get("/v1/appointments", params=query, headers=as_user)).status_code == 422


class TestIsolation:
    async def test_hides_every_operation_from_another_practice(
        self, client: httpx.AsyncClient, as_stranger: Headers, booked: dict[str, Any]
    ) -> None:
        for appointment_id in (booked["id"], str(uuid4())):
            path = f"/v1/appointments/{appointment_id}"
            answers = [
                await client.get(path, headers=as_stranger),
                await client.post(f"{path}/confirm", headers=as_stranger),
                await client.post(f"{path}/reschedule", json=times(3), headers=as_stranger),
                await client.post(f"{path}/cancel", json={}, headers=as_stranger),
            ]
            assert {(answer.status_code, answer.json()["code"]) for answer in answers} == {(404, "appointment_not_found")}
        assert (await client.get("/v1/appointments", headers=as_stranger)).json()["items"] == []

    async def test_does_not_let_practices_take_each_others_slots(
        self, client: httpx.AsyncClient, as_stranger: Headers, booked: dict[str, Any]
    ) -> None:
        assert (await client.post("/v1/appointments", json=body(), headers=as_stranger)).status_code == 201
