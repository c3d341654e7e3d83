"""Our words into Cal.com's API and back, against its simulator: booked, refused, lost, found again, cancelled."""

from __future__ import annotations

import dataclasses
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from libs.common.actions.outcomes import Attempt
from libs.testing.simulators.calcom import CalcomSimulator
from services.scheduling.adapters import calcom_api as adapter
from services.scheduling.adapters import connections
from services.scheduling.adapters.calcom import read_notice
from services.scheduling.adapters.calcom_answers import read_booking
from services.scheduling.adapters.calcom_api import Calcom
from services.scheduling.rules.attendees import AttendeeDetails
from services.scheduling.rules.bookings import BookingSeen, BookingState, OutboundBooking, OutboundCancellation
from services.scheduling.rules.notices import BookingNotice
from services.scheduling.tests.calcom import EVENT_TYPE, KEY, running

Simulated = tuple[CalcomSimulator, str]
NINE = datetime(2030, 1, 7, 9, 0, tzinfo=UTC)
JONAS = AttendeeDetails("Jonas Berg", "jonas@berg.example")


def outbound(**fields: Any) -> OutboundBooking:
    values = {
        "practice_id": uuid4(), "effect_key": uuid4(), "api_key": KEY, "event_type_id": EVENT_TYPE, "starts_at": NINE, "minutes": None,
        "attendee": JONAS, "time_zone": "Europe/Berlin", "asked_at": datetime.now(UTC), **fields,
    }  # fmt: skip
    return OutboundBooking(**values)


def cancelling(uid: str, **fields: Any) -> OutboundCancellation:
    values = {"practice_id": uuid4(), "effect_key": uuid4(), "api_key": KEY, "uid": uid, "reason": "moved away", **fields}
    return OutboundCancellation(**values)


@pytest.fixture
async def simulator(tmp_path: Path) -> AsyncIterator[Simulated]:
    async with running(tmp_path) as here:
        yield here


@pytest.fixture
async def provider(simulator: Simulated) -> AsyncIterator[Calcom]:
    calcom = Calcom(simulator[1])
    await calcom.open()
    yield calcom
    await calcom.close()


async def booked(provider: Calcom, booking: OutboundBooking | None = None) -> BookingSeen:
    answer = await provider.book(booking or outbound())
    assert answer.seen is not None, answer
    return answer.seen


STATUSES = [
    (400, Attempt.REFUSED), (401, Attempt.REFUSED), (403, Attempt.REFUSED), (404, Attempt.REFUSED), (498, Attempt.REFUSED), (429, Attempt.NOT_SENT),
    (503, Attempt.NOT_SENT), (500, Attempt.LOST), (502, Attempt.LOST), (504, Attempt.LOST),
]  # fmt: skip


class TestBook:
    async def test_is_accepted_and_carries_the_attendee_and_an_opaque_mark(self, provider: Calcom, simulator: Simulated) -> None:
        booking = outbound()
        seen = await booked(provider, booking)
        (taken,) = simulator[0].record.lines
        assert (seen.state, seen.notice.uid, seen.notice.starts_at) == (BookingState.ACCEPTED, taken["uid"], NINE)
        assert seen.notice.ends_at - seen.notice.starts_at == timedelta(minutes=30)
        assert taken["attendee"] == {"name": "Jonas Berg", "email": "jonas@berg.example", "timeZone": "Europe/Berlin"}
        assert taken["metadata"] == {"vantage_effect": str(booking.effect_key)}

    async def test_tells_what_the_webhook_tells(self, provider: Calcom, simulator: Simulated) -> None:
        simulator[0]._set("webhooks", "*", {"url": "http://127.0.0.1:1/nobody", "secret": "s"})
        seen = await booked(provider)
        raw, _ = simulator[0]._sent[seen.notice.uid]
        told = read_notice(raw)
        assert isinstance(told, BookingNotice)
        same = (
            "kind",
            "uid",
            "key",
            "delivery_key",
            "starts_at",
            "ends_at",
            "time_zone",
            "resource",
            "sequence",
            "exclusive",
            "effect_key",
        )
        assert [getattr(told, name) for name in same] == [getattr(seen.notice, name) for name in same]
        assert told.attendee.email == seen.notice.attendee.email

    async def test_of_a_seat_has_the_key_of_the_webhooks_seat(self, provider: Calcom, simulator: Simulated) -> None:
        simulator[0]._set("event_types", "8", {"seats": 5})
        simulator[0]._set("webhooks", "*", {"url": "http://127.0.0.1:1/nobody", "secret": "s"})
        seen = await booked(provider, outbound(event_type_id=8))
        told = read_notice(simulator[0]._sent[seen.notice.uid][0])
        assert isinstance(told, BookingNotice)
        assert (told.key, told.exclusive) == (seen.notice.key, False) == (seen.notice.key, seen.notice.exclusive)

    async def test_of_a_taken_time_says_so(self, provider: Calcom) -> None:
        await booked(provider)
        again = await provider.book(outbound(starts_at=NINE + timedelta(minutes=15)))
        assert (again.attempt, again.code, again.seen) == (Attempt.REFUSED, "slot_taken", None)

    async def test_that_waits_for_its_host_is_pending(self, provider: Calcom, simulator: Simulated) -> None:
        simulator[0]._set("event_types", "8", {"confirms": True})
        assert (await booked(provider, outbound(event_type_id=8))).state is BookingState.PENDING

    async def test_names_a_length_only_when_the_step_does(self, provider: Calcom, simulator: Simulated) -> None:
        refused = await provider.book(outbound(minutes=45))
        assert (refused.attempt, refused.code) == (Attempt.REFUSED, "provider_status_400")
        simulator[0]._set("event_types", "8", {"lengths": [30, 45]})
        seen = await booked(provider, outbound(event_type_id=8, minutes=45))
        assert seen.notice.ends_at - seen.notice.starts_at == timedelta(minutes=45)

    @pytest.mark.parametrize(("status", "attempt"), STATUSES)
    async def test_says_what_a_status_means(self, status: int, attempt: Attempt, provider: Calcom, simulator: Simulated) -> None:
        simulator[0].faults.plan({"kind": "status", "status": status})
        answer = await provider.book(outbound())
        assert (answer.attempt, answer.code, simulator[0].record.lines) == (attempt, f"provider_status_{status}", [])

    async def test_keeps_away_for_a_minute_when_it_asked_too_often(self, provider: Calcom, simulator: Simulated) -> None:
        simulator[0].faults.plan({"kind": "status", "status": 429})
        assert (await provider.book(outbound())).retry_after_seconds == 60.0

    @pytest.mark.parametrize(
        ("fields", "code"),
        [
            ({"starts_at": datetime(2020, 1, 7, 9, 0, tzinfo=UTC)}, "provider_status_400"),
            ({"attendee": AttendeeDetails("Jonas", "nobody")}, "provider_status_400"),
            ({"attendee": AttendeeDetails("", "jonas@berg.example")}, "provider_status_400"),
            ({"time_zone": "Mars/Olympus"}, "provider_status_400"),
            ({"api_key": "of-somebody-else"}, "provider_status_401"),
            ({"event_type_id": 404}, "provider_status_404"),
        ],
    )
    async def test_is_refused_for_what_the_real_one_refuses(
        self, fields: dict[str, Any], code: str, provider: Calcom, simulator: Simulated
    ) -> None:
        simulator[0]._set("event_types", "404", {"gone": True})
        answer = await provider.book(outbound(**fields))
        assert (answer.attempt, answer.code, simulator[0].record.lines) == (Attempt.REFUSED, code, [])

    async def test_is_refused_for_a_key_that_was_taken_back(self, provider: Calcom, simulator: Simulated) -> None:
        simulator[0]._set("revoked", KEY, {})
        assert (await provider.book(outbound())).code == "provider_status_401"

    async def test_is_lost_when_the_answer_is(self, provider: Calcom, simulator: Simulated) -> None:
        simulator[0].faults.plan({"kind": "lose"})
        answer = await provider.book(outbound())
        assert (answer.attempt, answer.code, len(simulator[0].record.lines)) == (Attempt.LOST, "provider_answer_lost", 1)

    async def test_is_lost_when_no_answer_comes(self, simulator: Simulated, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(connections, "TIMEOUT", httpx.Timeout(0.2, connect=5.0))
        simulator[0].faults.plan({"kind": "delay", "seconds": 2})
        patient = Calcom(simulator[1])
        await patient.open()
        assert (await patient.book(outbound())).attempt is Attempt.LOST
        await patient.close()

    async def test_is_lost_when_the_answer_cannot_be_read(self, provider: Calcom, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(Calcom, "headers", {"cal-api-version": "2024-04-15"})
        answer = await provider.book(outbound())
        assert (answer.attempt, answer.code) == (Attempt.REFUSED, "provider_status_400")
        monkeypatch.setattr("libs.testing.simulators.calcom.API_VERSION", "2024-04-15")
        monkeypatch.setattr("libs.testing.simulators.calcom.view_of", lambda booking: {"uid": booking["uid"]})
        answer = await provider.book(outbound())
        assert (answer.attempt, answer.code) == (Attempt.LOST, "provider_answer_unreadable")

    async def test_happens_to_nobody_when_nobody_is_there(self) -> None:
        nobody = Calcom("http://127.0.0.1:1")
        await nobody.open()
        answers = [await nobody.book(outbound()), await nobody.cancel(cancelling("u"))]
        await nobody.close()
        assert [(answer.attempt, answer.code) for answer in answers] == [(Attempt.NOT_SENT, "provider_unreachable")] * 2

    def test_hides_the_attendee_the_key_and_the_reason_from_whoever_prints_it(self) -> None:
        text = repr(outbound()) + repr(cancelling("u"))
        assert not [secret for secret in (KEY, "Jonas", "jonas@berg.example", "moved away") if secret in text]


class TestFind:
    async def test_finds_the_booking_whose_answer_was_lost(self, provider: Calcom, simulator: Simulated) -> None:
        booking = outbound()
        simulator[0].faults.plan({"kind": "lose"})
        await provider.book(booking)
        seen = await provider.find(booking)
        assert seen is not None
        assert seen.notice.uid == simulator[0].record.lines[0]["uid"]

    async def test_finds_nothing_that_was_never_asked_for(self, provider: Calcom) -> None:
        await booked(provider)
        assert await provider.find(outbound()) is None

    async def test_does_not_look_among_other_attendees_nor_before_it_asked(self, provider: Calcom) -> None:
        booking = outbound()
        await booked(provider, booking)
        assert await provider.find(dataclasses.replace(booking, attendee=AttendeeDetails("Mira", "mira@holm.example"))) is None
        assert await provider.find(dataclasses.replace(booking, asked_at=booking.asked_at + timedelta(hours=2))) is None

    async def test_looks_through_all_pages(self, provider: Calcom, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(adapter, "PAGE", 2)
        bookings = [outbound(starts_at=NINE + timedelta(hours=n)) for n in range(5)]
        for booking in bookings:
            await booked(provider, booking)
        assert await provider.find(bookings[4]) is not None
        assert await provider.find(outbound()) is None
        monkeypatch.setattr(adapter, "PAGES", 2)
        with pytest.raises(httpx.DecodingError):
            await provider.find(bookings[4])

    async def test_finds_the_one_that_was_asked_for_when_it_was_moved(self, provider: Calcom, simulator: Simulated) -> None:
        booking = outbound()
        made = await booked(provider, booking)
        async with httpx.AsyncClient(headers={"authorization": f"Bearer {KEY}", "cal-api-version": adapter.API_VERSION}) as client:
            await client.post(f"{simulator[1]}/v2/bookings/{made.notice.uid}/reschedule", json={"start": "2030-01-08T09:00:00Z"})
        seen = await provider.find(booking)
        assert seen is not None
        assert (seen.notice.uid, seen.state, seen.moved) == (made.notice.uid, BookingState.CANCELLED, True)

    @pytest.mark.parametrize("status", [401, 429, 500])
    async def test_does_not_take_a_refusal_for_an_answer(self, status: int, provider: Calcom, simulator: Simulated) -> None:
        for ask in (provider.find(outbound()), provider.show(KEY, "u", JONAS)):
            simulator[0].faults.plan({"kind": "status", "status": status})
            with pytest.raises(httpx.HTTPError):
                await ask

    async def test_does_not_take_the_older_shape_for_an_answer(self, provider: Calcom, monkeypatch: pytest.MonkeyPatch) -> None:
        made = await booked(provider)
        monkeypatch.setattr(Calcom, "headers", {"cal-api-version": "2024-04-15"})
        for ask in (provider.find(outbound()), provider.show(KEY, made.notice.uid, JONAS)):
            with pytest.raises(httpx.DecodingError):
                await ask


class TestCancel:
    async def test_cancels_and_says_why(self, provider: Calcom, simulator: Simulated) -> None:
        uid = (await booked(provider)).notice.uid
        assert (await provider.cancel(cancelling(uid))).attempt is Attempt.ACCEPTED
        (line,) = simulator[0].record.lines
        assert (line["status"], line["reason"]) == ("cancelled", "moved away")
        seen = await provider.show(KEY, uid, JONAS)
        assert seen is not None
        assert (seen.state, seen.moved) == (BookingState.CANCELLED, False)

    async def test_of_a_cancelled_one_and_of_one_nobody_knows_is_refused(self, provider: Calcom) -> None:
        uid = (await booked(provider)).notice.uid
        await provider.cancel(cancelling(uid))
        answers = [await provider.cancel(cancelling(name)) for name in (uid, "../me", "a/b?c=d#e")]
        assert [answer.attempt for answer in answers] == [Attempt.REFUSED] * 3
        assert [answer.code for answer in answers] == ["provider_status_400", "provider_status_404", "provider_status_404"]

    @pytest.mark.parametrize("name", ["none", "../bookings", "a/b?c=d#e", " "])
    async def test_shows_none_of_what_nobody_knows(self, provider: Calcom, name: str) -> None:
        assert await provider.show(KEY, name, JONAS) is None

    @pytest.mark.parametrize(("status", "attempt"), STATUSES)
    async def test_says_what_a_status_means(self, status: int, attempt: Attempt, provider: Calcom, simulator: Simulated) -> None:
        uid = (await booked(provider)).notice.uid
        simulator[0].faults.plan({"kind": "status", "status": status})
        answer = await provider.cancel(cancelling(uid))
        assert (answer.attempt, answer.code) == (attempt, f"provider_status_{status}")
        assert simulator[0].record.lines[0]["status"] == "accepted"

    async def test_is_lost_when_the_answer_is(self, provider: Calcom, simulator: Simulated) -> None:
        uid = (await booked(provider)).notice.uid
        simulator[0].faults.plan({"kind": "lose"})
        assert (await provider.cancel(cancelling(uid))).attempt is Attempt.LOST
        assert simulator[0].record.lines[0]["status"] == "cancelled"


BOOKING = {"uid": "u", "status": "accepted", "start": "2030-01-07T09:00:00.000Z", "end": "2030-01-07T09:30:00.000Z", "eventTypeId": 7}


class TestRead:
    def test_takes_the_event_type_where_no_host_is_named(self) -> None:
        seen = read_booking(BOOKING, JONAS)
        assert seen is not None
        assert (seen.notice.resource, seen.notice.time_zone, seen.notice.effect_key) == ("calcom/event-type/7", "UTC", None)

    @pytest.mark.parametrize(
        "changes",
        [{"uid": None}, {"status": "ACCEPTED"}, {"status": {}}, {"start": "2030-01-07T09:00:00"}, {"end": "2030-01-07T09:00:00Z"}],
    )
    def test_takes_for_no_booking_what_is_none(self, changes: dict[str, Any]) -> None:
        assert read_booking({**BOOKING, **changes}, JONAS) is None

    @given(
        st.dictionaries(
            st.sampled_from(["uid", "status", "start", "end", "hosts", "attendees", "metadata", "eventType", "title", "rescheduledToUid"]),
            st.recursive(
                st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(), lambda v: st.lists(v, max_size=2)
            ),
        )
    )
    def test_reads_any_booking_without_stumbling(self, changes: dict[str, Any]) -> None:
        read_booking({**BOOKING, **changes}, JONAS)
