"""Cal.com's word on who did not come: a state, once or often, in any order, about the right guest."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx
import orjson
import pytest

from libs.common.auth import Principal
from libs.common.work import Work
from libs.contracts.envelope import Message
from libs.contracts.scheduling import AppointmentMarkedNoShow, AppointmentReopened, AppointmentRescheduled, AppointmentStatus
from libs.testing.simulators.calcom import CalcomSimulator
from services.scheduling.rules.no_shows import Turn, turn_of
from services.scheduling.tests.cal import SECRET, cancelled, created, moved, no_show, signature

Outbox = Callable[[UUID], Awaitable[list[Message]]]
Tell = Callable[..., Awaitable[None]]
PAST = {"startTime": "2025-03-04T09:00:00Z", "endTime": "2025-03-04T09:30:00Z"}
NINE = datetime(2025, 3, 4, 9, 0, tzinfo=UTC)
HOUR = timedelta(hours=1)


@pytest.fixture
async def tell(client: httpx.AsyncClient, practice: UUID, as_admin: dict[str, str]) -> Tell:
    """Send bodies as Cal.com does, one after another."""
    await client.put("/v1/calcom-settings", json={"webhook_secret": SECRET}, headers=as_admin)

    async def post(*bodies: dict[str, Any]) -> None:
        for body in bodies:
            raw = orjson.dumps(body)
            answer = await client.post(f"/webhooks/calcom/{practice}", content=raw, headers={"x-cal-signature-256": signature(raw)})
            assert answer.status_code == 204

    return post


async def statuses(work: Work, practice: UUID) -> dict[str, str]:
    """By the guest's name before the ``@``."""
    async with work(Principal.system("test", practice)) as tx:
        rows = await tx.rows("SELECT attendee_email, status FROM appointment WHERE practice_id = $1", practice)
    return {row["attendee_email"].partition("@")[0]: row["status"] for row in rows}


async def left_over(work: Work, practice: UUID) -> list[tuple[str, str]]:
    async with work(Principal.system("test", practice)) as tx:
        rows = await tx.rows("SELECT trigger, reason FROM set_aside_notice WHERE practice_id = $1", practice)
    return [tuple(row) for row in rows]


def said(messages: list[Message]) -> list[type[Message]]:
    return [type(message) for message in messages if isinstance(message, (AppointmentMarkedNoShow, AppointmentReopened))]


class TestTurn:
    @pytest.mark.parametrize(
        ("status", "missing", "turn"),
        [
            (AppointmentStatus.BOOKED, True, Turn.MISS),
            (AppointmentStatus.CONFIRMED, True, Turn.MISS),
            (AppointmentStatus.COMPLETED, True, Turn.MISS),
            (AppointmentStatus.NO_SHOW, True, Turn.NONE),
            (AppointmentStatus.NO_SHOW, False, Turn.REOPEN),
            (AppointmentStatus.BOOKED, False, Turn.NONE),
            (AppointmentStatus.COMPLETED, False, Turn.NONE),
            (AppointmentStatus.CANCELLED, True, Turn.NONE),
            (AppointmentStatus.CANCELLED, False, Turn.NONE),
        ],
    )
    def test_by_status(self, status: AppointmentStatus, missing: bool, turn: Turn) -> None:
        assert turn_of(status, NINE, None, missing=missing, said_at=NINE + HOUR, now=NINE + 2 * HOUR) is turn

    def test_of_what_is_out_of_date_is_none(self) -> None:
        for marked_at, turn in ((NINE, Turn.MISS), (NINE + HOUR, Turn.MISS), (NINE + 2 * HOUR, Turn.NONE)):
            assert turn_of(AppointmentStatus.BOOKED, NINE, marked_at, missing=True, said_at=NINE + HOUR, now=NINE + 3 * HOUR) is turn

    def test_before_the_start_is_too_early(self) -> None:
        early = turn_of(AppointmentStatus.BOOKED, NINE, None, missing=True, said_at=NINE - HOUR, now=NINE - HOUR)
        assert early is Turn.TOO_EARLY


class TestAHostsMark:
    async def test_is_taken_and_taken_back(self, tell: Tell, work: Work, practice: UUID, outbox: Outbox) -> None:
        await tell(created("u", **PAST), no_show("u"))
        assert await statuses(work, practice) == {"jonas": "no_show"}
        await tell(no_show("u", marked=False, sent_at="2026-03-12T13:21:00.000Z"))
        assert await statuses(work, practice) == {"jonas": "booked"}
        messages = await outbox(practice)
        assert said(messages) == [AppointmentMarkedNoShow, AppointmentReopened]
        marked = messages[1]
        assert isinstance(marked, AppointmentMarkedNoShow)
        assert (marked.external_id, marked.status, marked.version) == ("u", "no_show", 2)

    async def test_counts_once_however_often_it_is_told(self, tell: Tell, practice: UUID, outbox: Outbox) -> None:
        await tell(created("u", **PAST))
        await asyncio.gather(*(tell(no_show("u")) for _ in range(5)))
        await tell(no_show("u", sent_at="2026-03-12T13:20:00.001Z"))
        assert said(await outbox(practice)) == [AppointmentMarkedNoShow]

    @pytest.mark.parametrize("order", list(itertools.permutations(range(3))))
    async def test_said_last_counts_whatever_comes_first(self, tell: Tell, work: Work, practice: UUID, order: tuple[int, ...]) -> None:
        said_in_turn = [no_show("u", marked=number != 1, sent_at=f"2026-03-12T13:2{number}:00.000Z") for number in range(3)]
        await tell(created("u", **PAST), *(said_in_turn[number] for number in order))
        assert await statuses(work, practice) == {"jonas": "no_show"}

    async def test_taken_back_before_it_is_heard_marks_nobody(self, tell: Tell, work: Work, practice: UUID, outbox: Outbox) -> None:
        await tell(created("u", **PAST), no_show("u", marked=False, sent_at="2026-03-12T13:21:00.000Z"), no_show("u"))
        assert await statuses(work, practice) == {"jonas": "booked"}
        assert said(await outbox(practice)) == []

    async def test_older_than_what_was_said_here_is_out_of_date(
        self, tell: Tell, client: httpx.AsyncClient, as_user: dict[str, str], work: Work, practice: UUID
    ) -> None:
        await tell(created("u", **PAST))
        (view,) = (await client.get("/v1/appointments", headers=as_user)).json()["items"]
        await client.post(f"/v1/appointments/{view['id']}/complete", headers=as_user)
        await tell(no_show("u", sent_at="2025-03-04T09:20:00Z"))
        assert await statuses(work, practice) == {"jonas": "completed"}
        await tell(no_show("u", sent_at=None))
        assert await statuses(work, practice) == {"jonas": "no_show"}

    async def test_is_about_the_seat_of_that_guest(self, tell: Tell, work: Work, practice: UUID) -> None:
        for name in ("jonas", "mia", "ole"):
            await tell(created("g", seatsPerTimeSlot=5, attendees=[{"email": f"{name}@berg.example", "name": name}], **PAST))
        await tell(no_show("g", mia=True, ole=False))
        assert await statuses(work, practice) == {"jonas": "booked", "mia": "no_show", "ole": "booked"}

    async def test_does_not_outlive_a_move_or_a_cancellation(self, tell: Tell, work: Work, practice: UUID, outbox: Outbox) -> None:
        await tell(created("u", **PAST), no_show("u"), moved("v", previous="u"))
        assert await statuses(work, practice) == {"jonas": "booked"}
        assert isinstance((await outbox(practice))[-1], AppointmentRescheduled)
        await tell(created("w", organizer={"id": 6}, attendees=[{"email": "mia@berg.example"}], **PAST), no_show("w", mia=True))
        await tell(cancelled("w", organizer={"id": 6}, attendees=[{"email": "mia@berg.example"}], **PAST))
        assert await statuses(work, practice) == {"jonas": "booked", "mia": "cancelled"}


class TestSetAside:
    @pytest.mark.parametrize(
        ("bodies", "reason"),
        [
            ([no_show("u")], "booking_unknown"),
            ([created("u", **PAST), no_show("u", guest=True)], "attendee_unknown"),
            ([created("u", **PAST), moved("v", previous="u"), no_show("u")], "booking_unknown"),
            ([created("u", startTime="2100-01-01T09:00:00Z", endTime="2100-01-01T09:30:00Z"), no_show("u")], "appointment_not_begun"),
        ],
    )
    async def test_is_what_is_about_nobody_known_or_comes_too_early(
        self, tell: Tell, work: Work, practice: UUID, outbox: Outbox, bodies: list[dict[str, Any]], reason: str
    ) -> None:
        await tell(*bodies, bodies[-1])
        assert await left_over(work, practice) == [("BOOKING_NO_SHOW_UPDATED", reason)]
        assert said(await outbox(practice)) == []

    async def test_is_a_meetings_end_which_says_nothing_of_who_came(self, tell: Tell, work: Work, practice: UUID) -> None:
        guests = [{"email": "jonas@berg.example", "noShow": False}]
        await tell(created("u", **PAST), {"triggerEvent": "MEETING_ENDED", "uid": "u", "status": "ACCEPTED", "attendees": guests, **PAST})
        assert await statuses(work, practice) == {"jonas": "booked"}
        assert await left_over(work, practice) == [("MEETING_ENDED", "trigger_not_handled")]


class TestAgainstTheSimulator:
    async def test_follows_the_hosts_mark(
        self, tell: Tell, client: httpx.AsyncClient, work: Work, practice: UUID, outbox: Outbox, tmp_path: Path
    ) -> None:
        simulator = CalcomSimulator(tmp_path)
        simulator._client = client
        async with httpx.AsyncClient(transport=httpx.ASGITransport(simulator.app()), base_url="http://cal.test") as cal:
            hook = {"url": f"http://vantage.test/webhooks/calcom/{practice}", "secret": SECRET}
            await cal.post("/_control/webhook", json=hook)
            told = {"name": "Jo Berg", "email": "jo@berg.example", "start": "2025-03-04T09:00:00Z"}
            uid = (await cal.post("/_control/book", json=told)).json()["uid"]
            for marked, status in ((True, "no_show"), (False, "booked")):
                answer = await cal.post("/_control/no_show", json={"uid": uid, "no_show": marked})
                assert answer.json() == {"webhook": 204}
                assert await statuses(work, practice) == {"jo": status}
        assert said(await outbox(practice)) == [AppointmentMarkedNoShow, AppointmentReopened]
