"""Cal.com's door: signed, once, in any order, nothing lost."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import asyncpg
import httpx
import orjson
import pytest

from libs.common.auth import Principal
from libs.common.service import Service
from libs.common.work import Work
from libs.contracts.envelope import Message
from libs.contracts.patients import PatientDetails, PatientRegistered
from libs.contracts.scheduling import AppointmentBooked, AppointmentCancelled, AppointmentMatched, AppointmentRescheduled
from libs.testing.fixtures import incoming
from libs.testing.simulators.calcom import API_VERSION, CalcomSimulator
from services.scheduling.commands.notices import TRIES, again_when_aborted
from services.scheduling.tests.cal import SECRET, cancelled, created, moved, signature
from services.scheduling.tests.calcom import KEY

Outbox = Callable[[UUID], Awaitable[list[Message]]]
Deliver = Callable[..., Awaitable[httpx.Response]]


@pytest.fixture
async def deliver(client: httpx.AsyncClient, practice: UUID, as_admin: dict[str, str]) -> Deliver:
    """Send a body as Cal.com does, to a practice that has shared its secret."""
    answer = await client.put("/v1/calcom-settings", json={"webhook_secret": SECRET}, headers=as_admin)
    assert answer.status_code == 200

    async def post(body: dict[str, Any] | bytes, *, secret: str = SECRET, **headers: str) -> httpx.Response:
        raw = body if isinstance(body, bytes) else orjson.dumps(body)
        sent = {"x-cal-signature-256": signature(raw, secret), "content-type": "application/json", **headers}
        return await client.post(f"/webhooks/calcom/{practice}", content=raw, headers=sent)

    return post


async def appointments(work: Work, practice: UUID) -> list[dict[str, Any]]:
    async with work(Principal.system("test", practice)) as tx:
        return [dict(row) for row in await tx.rows("SELECT * FROM appointment WHERE practice_id = $1 ORDER BY created_at", practice)]


async def set_aside(work: Work, practice: UUID) -> list[tuple[str, str, bytes]]:
    async with work(Principal.system("test", practice)) as tx:
        rows = await tx.rows("SELECT trigger, reason, body FROM set_aside_notice WHERE practice_id = $1 ORDER BY received_at", practice)
    return [tuple(row) for row in rows]


def patient(email: str | None = "jonas@berg.example", phone: str | None = None, given: str = "Jonas") -> PatientRegistered:
    details = PatientDetails(given_name=given, family_name="Berg", email=email, phone=phone)
    return PatientRegistered(patient_id=uuid4(), version=1, details=details)


class TestSignature:
    async def test_lets_a_booking_in(self, deliver: Deliver, work: Work, practice: UUID) -> None:
        answer = await deliver(created("u"))
        assert answer.status_code == 204
        assert len(await appointments(work, practice)) == 1

    async def test_answers_a_wrong_one_a_missing_one_and_an_unknown_practice_alike(
        self, deliver: Deliver, client: httpx.AsyncClient, work: Work, practice: UUID
    ) -> None:
        raw = orjson.dumps(created("u"))
        answers = [
            await deliver(raw, secret="another secret"),
            await deliver(raw, **{"x-cal-signature-256": "no-secret-provided"}),
            await deliver(raw + b" ", **{"x-cal-signature-256": signature(raw)}),
            await client.post(f"/webhooks/calcom/{practice}", content=raw),
            await client.post(f"/webhooks/calcom/{uuid4()}", content=raw, headers={"x-cal-signature-256": signature(raw)}),
        ]
        told = [{key: value for key, value in answer.json().items() if key != "trace_id"} for answer in answers]
        assert {answer.status_code for answer in answers} == {401}
        assert told == [told[0]] * 5
        assert told[0]["code"] == "webhook_refused"
        assert await appointments(work, practice) == []

    async def test_of_another_practice_opens_nothing_here(
        self, deliver: Deliver, client: httpx.AsyncClient, as_stranger: dict[str, str], practice: UUID
    ) -> None:
        await client.put("/v1/calcom-settings", json={"webhook_secret": "the other practice's secret"}, headers=as_stranger)
        assert (await deliver(created("u"), secret="the other practice's secret")).status_code == 401

    async def test_is_checked_before_the_body_is_read(self, deliver: Deliver) -> None:
        assert (await deliver(b"{", secret="another secret")).status_code == 401

    async def test_with_the_old_secret_counts_for_a_day_after_a_change(
        self, deliver: Deliver, client: httpx.AsyncClient, as_admin: dict[str, str], work: Work, practice: UUID
    ) -> None:
        await client.put("/v1/calcom-settings", json={"webhook_secret": "a new secret, long enough"}, headers=as_admin)
        assert (await deliver(created("u1"))).status_code == 204
        assert (await deliver(created("u2"), secret="a new secret, long enough")).status_code == 204
        async with work(Principal.system("test", practice)) as tx:
            past = datetime.now(UTC) - timedelta(seconds=1)
            await tx.execute("UPDATE calcom_settings SET previous_until = $2 WHERE practice_id = $1", practice, past)
        assert (await deliver(created("u3"))).status_code == 401


class TestOnce:
    async def test_books_once_for_five_deliveries_at_the_same_time(
        self, deliver: Deliver, work: Work, practice: UUID, outbox: Outbox
    ) -> None:
        answers = await asyncio.gather(*(deliver(created("u")) for _ in range(5)))
        assert [answer.status_code for answer in answers] == [204] * 5
        assert len(await appointments(work, practice)) == 1
        assert [type(message) for message in await outbox(practice)] == [AppointmentBooked]

    async def test_books_once_for_two_subscriptions(self, deliver: Deliver, outbox: Outbox, practice: UUID) -> None:
        await deliver(created("u", sent_at="2026-12-01T08:00:00.000Z"))
        await deliver(created("u", sent_at="2026-12-01T08:00:00.001Z"))
        assert len(await outbox(practice)) == 1

    async def test_says_what_was_booked(self, deliver: Deliver, outbox: Outbox, practice: UUID) -> None:
        await deliver(created("u"))
        (event,) = await outbox(practice)
        assert isinstance(event, AppointmentBooked)
        assert (event.source, event.status, event.resource, event.external_id) == ("calcom", "booked", "calcom/host/5", "u")
        assert (event.attendee.name, event.attendee.email, event.patient_id, event.version) == ("Jonas Berg", "jonas@berg.example", None, 1)
        assert event.starts_at == datetime(2026, 12, 10, 9, 0, tzinfo=UTC)


class TestAnyOrder:
    async def test_moves_an_appointment(self, deliver: Deliver, work: Work, practice: UUID, outbox: Outbox) -> None:
        await deliver(created("u1"))
        await deliver(moved("u2", previous="u1", startTime="2026-12-12T13:00:00Z", endTime="2026-12-12T13:30:00Z"))
        (appointment,) = await appointments(work, practice)
        assert (appointment["starts_at"].day, appointment["external_id"], appointment["version"]) == (12, "u2", 2)
        event = (await outbox(practice))[1]
        assert isinstance(event, AppointmentRescheduled)
        assert (event.previous_starts_at.day, event.starts_at.day) == (10, 12)

    async def test_takes_the_move_before_the_booking(self, deliver: Deliver, work: Work, practice: UUID, outbox: Outbox) -> None:
        await deliver(moved("u2", previous="u1", startTime="2026-12-12T13:00:00Z", endTime="2026-12-12T13:30:00Z"))
        await deliver(created("u1"))
        (appointment,) = await appointments(work, practice)
        assert appointment["starts_at"].day == 12
        assert [type(message) for message in await outbox(practice)] == [AppointmentBooked]

    async def test_takes_the_cancellation_before_the_booking(self, deliver: Deliver, work: Work, practice: UUID, outbox: Outbox) -> None:
        await deliver(cancelled("u"))
        await deliver(created("u"))
        (appointment,) = await appointments(work, practice)
        assert appointment["status"] == "cancelled"
        assert [type(message) for message in await outbox(practice)] == [AppointmentCancelled]

    async def test_follows_a_chain_of_moves_to_its_cancellation(self, deliver: Deliver, work: Work, practice: UUID, outbox: Outbox) -> None:
        await deliver(created("u0"))
        await deliver(moved("u1", previous="u0", startTime="2026-12-11T09:00:00Z", endTime="2026-12-11T09:30:00Z"))
        late = moved("u2", previous="u1", root="u0", sequence=2, startTime="2026-12-12T09:00:00Z", endTime="2026-12-12T09:30:00Z")
        await deliver(late)
        await deliver(cancelled("u2", startTime="2026-12-12T09:00:00Z", endTime="2026-12-12T09:30:00Z"))
        (appointment,) = await appointments(work, practice)
        assert (appointment["status"], appointment["starts_at"].day) == ("cancelled", 12)
        event = (await outbox(practice))[-1]
        assert isinstance(event, AppointmentCancelled)
        assert event.reason == "Feeling better"

    async def test_ends_as_one_appointment_when_everything_comes_at_once(self, deliver: Deliver, work: Work, practice: UUID) -> None:
        told = []
        for host in range(5):
            told.append(created(f"{host}u0", organizer={"id": host}))
            for n in (1, 2, 3):
                # Another address each time: only the booking itself makes the notices take turns.
                fields: dict[str, Any] = {"attendees": [{"email": f"guest{n}@berg.example"}], "responses": {}, "organizer": {"id": host}}
                fields |= {"startTime": f"2026-12-1{n}T09:00:00Z", "endTime": f"2026-12-1{n}T09:30:00Z"}
                told.append(moved(f"{host}u{n}", previous=f"{host}u{n - 1}", root=f"{host}u0", sequence=n, **fields))
        answers = await asyncio.gather(*(deliver(body) for body in told[::-1] * 2))
        assert {answer.status_code for answer in answers} == {204}
        live = [row for row in await appointments(work, practice) if row["status"] != "cancelled"]
        assert {(row["external_id"], row["starts_at"].day) for row in live} == {(f"{host}u3", 13) for host in range(5)}
        assert len(live) == 5

    async def test_cancels_the_earlier_state_a_late_link_uncovers(
        self, deliver: Deliver, work: Work, practice: UUID, outbox: Outbox
    ) -> None:
        await deliver(moved("u2", previous="u1", iCalUID=None, startTime="2026-12-12T13:00:00Z", endTime="2026-12-12T13:30:00Z"))
        await deliver(created("u0"))
        await deliver(moved("u1", previous="u0", iCalUID=None, startTime="2026-12-11T13:00:00Z", endTime="2026-12-11T13:30:00Z"))
        live = [row for row in await appointments(work, practice) if row["status"] != "cancelled"]
        assert [row["external_id"] for row in live] == ["u2"]
        event = (await outbox(practice))[-1]
        assert isinstance(event, AppointmentCancelled)
        assert event.reason == "superseded by another booking"


class TestCollision:
    async def test_is_kept_and_flagged(self, deliver: Deliver, work: Work, practice: UUID, outbox: Outbox) -> None:
        await deliver(created("u1"))
        assert (await deliver(created("u2", startTime="2026-12-10T09:15:00Z", endTime="2026-12-10T09:45:00Z"))).status_code == 204
        assert [row["double_booked"] for row in await appointments(work, practice)] == [False, True]
        events = [message for message in await outbox(practice) if isinstance(message, AppointmentBooked)]
        assert [event.double_booked for event in events] == [False, True]

    async def test_loses_nothing_when_all_come_at_once(self, deliver: Deliver, work: Work, practice: UUID) -> None:
        answers = await asyncio.gather(*(deliver(created(f"u{n}")) for n in range(20)))
        assert {answer.status_code for answer in answers} == {204}
        assert sorted(row["double_booked"] for row in await appointments(work, practice)) == [False] + [True] * 19

    async def test_by_a_move_is_kept_and_flagged(self, deliver: Deliver, work: Work, practice: UUID) -> None:
        await deliver(created("u1"))
        await deliver(created("u2", startTime="2026-12-11T09:00:00Z", endTime="2026-12-11T09:30:00Z"))
        await deliver(moved("u3", previous="u2"))
        rows = await appointments(work, practice)
        assert [(row["double_booked"], row["starts_at"].day) for row in rows] == [(False, 10), (True, 10)]

    async def test_ends_when_the_booking_moves_away(self, deliver: Deliver, work: Work, practice: UUID) -> None:
        await deliver(created("u1"))
        await deliver(created("u2"))
        await deliver(moved("u3", previous="u2", startTime="2026-12-11T09:00:00Z", endTime="2026-12-11T09:30:00Z"))
        assert [row["double_booked"] for row in await appointments(work, practice)] == [False, False]

    async def test_of_two_that_take_each_others_slots_loses_neither(self, deliver: Deliver, work: Work, practice: UUID) -> None:
        first: dict[str, Any] = {"startTime": "2026-12-10T09:00:00Z", "endTime": "2026-12-10T09:30:00Z"}
        second: dict[str, Any] = {"startTime": "2026-12-10T10:00:00Z", "endTime": "2026-12-10T10:30:00Z"}
        for host in range(5):
            told: dict[str, Any] = {"organizer": {"id": host}}
            await deliver(created(f"a{host}", **first, **told))
            await deliver(created(f"b{host}", **second, **told))
            answers = await asyncio.gather(
                deliver(moved(f"c{host}", previous=f"a{host}", **second, **told)),
                deliver(moved(f"d{host}", previous=f"b{host}", **first, **told)),
            )
            assert [answer.status_code for answer in answers] == [204, 204]
        rows = await appointments(work, practice)
        assert len(rows) == 10
        assert {row["external_id"][0]: row["starts_at"].hour for row in rows} == {"c": 10, "d": 9}

    async def test_that_never_ends_is_not_repeated_for_ever(self) -> None:
        tried = 0

        async def attempt() -> None:
            nonlocal tried
            tried += 1
            raise asyncpg.DeadlockDetectedError

        with pytest.raises(asyncpg.DeadlockDetectedError):
            await again_when_aborted(attempt)
        assert tried == TRIES

    async def test_is_none_between_hosts_nor_between_seats(self, deliver: Deliver, work: Work, practice: UUID) -> None:
        await deliver(created("u1"))
        await deliver(created("u2", organizer={"id": 6}))
        for n in range(3):
            attendee = [{"email": f"guest{n}@berg.example"}]
            await deliver(created("group", seatsPerTimeSlot=5, organizer={"id": 7}, attendees=attendee))
        assert [row["double_booked"] for row in await appointments(work, practice)] == [False] * 5


class TestMatching:
    async def test_finds_the_patient_who_is_known(self, deliver: Deliver, service: Service, work: Work, practice: UUID) -> None:
        known = patient()
        await service.batches.handle([incoming(known, practice)])
        await deliver(created("u"))
        assert [row["patient_id"] for row in await appointments(work, practice)] == [known.patient_id]

    async def test_knows_nobody_of_another_practice(self, deliver: Deliver, service: Service, work: Work, practice: UUID) -> None:
        await service.batches.handle([incoming(patient(), uuid4())])
        await deliver(created("u"))
        assert [row["patient_id"] for row in await appointments(work, practice)] == [None]

    async def test_finds_the_patient_when_they_are_registered_later(
        self, deliver: Deliver, service: Service, work: Work, practice: UUID, outbox: Outbox
    ) -> None:
        await deliver(created("u"))
        late = patient()
        await service.batches.handle([incoming(late, practice)])
        assert [(row["patient_id"], row["version"]) for row in await appointments(work, practice)] == [(late.patient_id, 2)]
        event = (await outbox(practice))[-1]
        assert isinstance(event, AppointmentMatched)
        assert event.patient_id == late.patient_id

    async def test_says_it_once_when_the_registration_is_delivered_again(
        self, deliver: Deliver, service: Service, practice: UUID, outbox: Outbox
    ) -> None:
        await deliver(created("u"))
        message = incoming(patient(), practice)
        await service.batches.handle([message, message])
        await service.batches.handle([message])
        assert [type(m) for m in await outbox(practice)] == [AppointmentBooked, AppointmentMatched]

    async def test_leaves_open_whom_two_patients_could_be(self, deliver: Deliver, service: Service, work: Work, practice: UUID) -> None:
        family = [patient(given="Al"), patient(given="Zoe")]
        await service.batches.handle([incoming(person, practice) for person in family])
        await deliver(created("u"))
        assert [row["patient_id"] for row in await appointments(work, practice)] == [None]

    async def test_misses_nobody_when_both_come_at_once(self, deliver: Deliver, service: Service, work: Work, practice: UUID) -> None:
        async def both(n: int) -> None:
            email = f"guest{n}@berg.example"
            body = created(f"u{n}", organizer={"id": n}, attendees=[{"email": email}], responses={})
            await asyncio.gather(deliver(body), service.batches.handle([incoming(patient(email), practice)]))

        await asyncio.gather(*(both(n) for n in range(20)))
        assert all(row["patient_id"] is not None for row in await appointments(work, practice))

    async def test_keeps_the_newest_details_whatever_order_they_come_in(self, service: Service, work: Work, practice: UUID) -> None:
        first = patient("old@berg.example")
        newer = PatientRegistered(patient_id=first.patient_id, version=2, details=patient("new@berg.example").details)
        await service.batches.handle([incoming(newer, practice), incoming(first, practice)])
        await service.batches.handle([incoming(first, practice)])
        async with work(Principal.system("test", practice)) as tx:
            assert await tx.value("SELECT email FROM contact WHERE practice_id = $1", practice) == "new@berg.example"


class TestAgainstTheSimulator:
    async def test_follows_a_booking_from_the_page_to_its_end(
        self, deliver: Deliver, service: Service, client: httpx.AsyncClient, work: Work, practice: UUID, outbox: Outbox, tmp_path: Path
    ) -> None:
        simulator = CalcomSimulator(tmp_path)
        simulator._client = client
        key = {"Authorization": "Bearer cal_test", "cal-api-version": API_VERSION}
        async with httpx.AsyncClient(transport=httpx.ASGITransport(simulator.app()), base_url="http://cal.test") as cal:
            hook = {"url": f"http://vantage.test/webhooks/calcom/{practice}", "secret": SECRET}
            await cal.post("/_control/webhook", json=hook)
            told = {"name": "Jo Berg", "email": "jo@berg.example", "start": "2026-12-10T09:00:00Z"}
            booked = (await cal.post("/_control/book", json=told)).json()
            again = (await cal.post("/_control/resend", json={"uid": booked["uid"], "times": 5})).json()
            path = f"/v2/bookings/{booked['uid']}/reschedule"
            move = (await cal.post(path, json={"start": "2026-12-11T09:00:00Z"}, headers=key)).json()
            await cal.post(f"/v2/bookings/{move['data']['uid']}/cancel", json={"cancellationReason": "ill"}, headers=key)
        assert (booked["webhook_status"], again["statuses"], move["webhook"]) == (204, [204] * 5, 204)
        (appointment,) = await appointments(work, practice)
        assert (appointment["status"], appointment["starts_at"].day, appointment["version"]) == ("cancelled", 11, 3)
        assert [type(message) for message in await outbox(practice)] == [AppointmentBooked, AppointmentRescheduled, AppointmentCancelled]


class TestSetAside:
    @pytest.mark.parametrize("raw", [b"not json", b'{"triggerEvent":"BOOKING_CREATED","payload":{}}', b'{"triggerEvent":"MEETING_ENDED"}'])
    async def test_keeps_what_is_signed_but_not_understood_once(
        self, deliver: Deliver, work: Work, practice: UUID, raw: bytes, outbox: Outbox
    ) -> None:
        assert [(await deliver(raw)).status_code for _ in range(2)] == [204, 204]
        kept = await set_aside(work, practice)
        assert [body for _, _, body in kept] == [raw]
        assert await outbox(practice) == []

    async def test_answers_a_ping_and_keeps_nothing(self, deliver: Deliver, work: Work, practice: UUID) -> None:
        assert (await deliver({"triggerEvent": "PING", "payload": {"type": "Test"}})).status_code == 204
        assert await set_aside(work, practice) == []

    async def test_refuses_a_body_that_is_too_large(self, deliver: Deliver) -> None:
        assert (await deliver(b"x" * 1_048_577)).status_code == 413


class TestSettings:
    async def test_never_show_the_secret(self, client: httpx.AsyncClient, as_admin: dict[str, str], practice: UUID) -> None:
        assert (await client.get("/v1/calcom-settings", headers=as_admin)).json()["configured"] is False
        put = await client.put("/v1/calcom-settings", json={"webhook_secret": SECRET}, headers=as_admin)
        got = await client.get("/v1/calcom-settings", headers=as_admin)
        assert put.json() == got.json()
        assert got.json()["webhook_path"] == f"/webhooks/calcom/{practice}"
        assert SECRET not in put.text + got.text

    async def test_are_kept_sealed(self, deliver: Deliver, work: Work, practice: UUID) -> None:
        async with work(Principal.system("test", practice)) as tx:
            sealed = await tx.value("SELECT webhook_secret FROM calcom_settings WHERE practice_id = $1", practice)
        assert SECRET.encode() not in sealed

    @pytest.mark.parametrize("body", [{}, {"webhook_secret": "too short"}, {"webhook_secret": SECRET, "x": 1}, {"webhook_secret": None}])
    async def test_refuse_what_is_no_secret_and_do_not_repeat_it(
        self, client: httpx.AsyncClient, as_admin: dict[str, str], body: dict[str, Any]
    ) -> None:
        answer = await client.put("/v1/calcom-settings", json=body, headers=as_admin)
        assert answer.status_code == 422
        assert "too short" not in answer.text

    async def test_take_a_key_and_an_event_type_beside_the_secret_and_leave_what_is_not_named(
        self, client: httpx.AsyncClient, as_admin: dict[str, str], deliver: Deliver, work: Work, practice: UUID
    ) -> None:
        async def put(**settings: Any) -> tuple[bool, int | None]:
            answer = await client.put("/v1/calcom-settings", json=settings, headers=as_admin)
            assert (answer.status_code, KEY in answer.text) == (200, False)
            assert answer.json() == (await client.get("/v1/calcom-settings", headers=as_admin)).json()
            return answer.json()["can_book"], answer.json()["event_type_id"]

        assert await put() == (False, None)
        assert await put(api_key=KEY, event_type_id=7) == (True, 7)
        assert await put(event_type_id=8) == (True, 8)
        assert await put(webhook_secret="a new secret, long enough") == (True, 8)
        assert (await deliver(created("u1"), secret="a new secret, long enough")).status_code == 204
        assert await put(api_key=None) == (False, 8)
        assert (await deliver(created("u2"))).status_code == 204, "the secret before, within its day"
        assert await put(event_type_id=None, api_key=KEY) == (True, None)
        async with work(Principal.system("test", practice)) as tx:
            assert KEY.encode() not in await tx.value("SELECT api_key FROM calcom_settings WHERE practice_id = $1", practice)

    @pytest.mark.parametrize(
        "body",
        [
            {"api_key": "too short"},
            {"api_key": "cal_live_with a blank"},
            {"event_type_id": 0},
            {"event_type_id": "first"},
            {"event_type_id": 2**31},
        ],
    )
    async def test_refuse_what_is_no_key_and_no_event_type(
        self, client: httpx.AsyncClient, as_admin: dict[str, str], deliver: Deliver, body: dict[str, Any]
    ) -> None:
        answer = await client.put("/v1/calcom-settings", json=body, headers=as_admin)
        (error,) = answer.json()["errors"]
        assert (answer.status_code, error["pointer"]) == (422, f"/{next(iter(body))}")
        assert not [text for text in ("too short", "with a blank") if text in answer.text]

    async def test_begin_with_the_secret(self, client: httpx.AsyncClient, as_admin: dict[str, str]) -> None:
        answer = await client.put("/v1/calcom-settings", json={"api_key": KEY}, headers=as_admin)
        assert (answer.status_code, answer.json()["code"]) == (422, "webhook_secret_missing")
        assert (await client.get("/v1/calcom-settings", headers=as_admin)).json()["configured"] is False

    async def test_are_for_admins(self, client: httpx.AsyncClient, as_user: dict[str, str]) -> None:
        assert (await client.put("/v1/calcom-settings", json={"webhook_secret": SECRET}, headers=as_user)).status_code == 403
        assert (await client.get("/v1/calcom-settings", headers=as_user)).status_code == 403
        assert (await client.get("/v1/calcom-settings")).status_code == 401
