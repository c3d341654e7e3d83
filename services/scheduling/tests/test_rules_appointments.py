"""What may happen to an appointment."""

from __future__ import annotations

import itertools
from contextlib import suppress
from datetime import UTC, datetime, timedelta

import pytest

from libs.common.errors import Conflict, Refused, Trouble
from libs.contracts.scheduling import AppointmentStatus
from services.scheduling.rules.appointments import (
    AlreadyCancelled,
    AlreadyCompleted,
    AlreadyConfirmed,
    AlreadyNoShow,
    AppointmentIsCancelled,
    AppointmentIsOver,
    AppointmentTooLong,
    EndsBeforeStart,
    NotBegunYet,
    NotMarked,
    TimeZoneUnknown,
    Verb,
    check_begun,
    check_time_zone,
    check_times,
    status_after,
)

NINE = datetime(2026, 12, 1, 9, 0, tzinfo=UTC)
BOOKED, CONFIRMED, CANCELLED = AppointmentStatus.BOOKED, AppointmentStatus.CONFIRMED, AppointmentStatus.CANCELLED
COMPLETED, NO_SHOW = AppointmentStatus.COMPLETED, AppointmentStatus.NO_SHOW


class TestStatusAfter:
    @pytest.mark.parametrize(
        ("status", "verb", "after"),
        [
            (BOOKED, Verb.CONFIRM, CONFIRMED),
            (BOOKED, Verb.RESCHEDULE, BOOKED),
            (BOOKED, Verb.CANCEL, CANCELLED),
            (CONFIRMED, Verb.RESCHEDULE, BOOKED),
            (CONFIRMED, Verb.CANCEL, CANCELLED),
            *[(status, Verb.COMPLETE, COMPLETED) for status in (BOOKED, CONFIRMED, NO_SHOW)],
            *[(status, Verb.MISS, NO_SHOW) for status in (BOOKED, CONFIRMED, COMPLETED)],
            *[(status, Verb.REOPEN, BOOKED) for status in (COMPLETED, NO_SHOW)],
        ],
    )
    def test_leads_to_the_next_status(self, status: AppointmentStatus, verb: Verb, after: AppointmentStatus) -> None:
        assert status_after(status, verb) is after

    @pytest.mark.parametrize(
        ("status", "verb", "refusal"),
        [
            (CONFIRMED, Verb.CONFIRM, AlreadyConfirmed),
            (CANCELLED, Verb.CONFIRM, AppointmentIsCancelled),
            (CANCELLED, Verb.RESCHEDULE, AppointmentIsCancelled),
            (CANCELLED, Verb.CANCEL, AlreadyCancelled),
            (COMPLETED, Verb.COMPLETE, AlreadyCompleted),
            (NO_SHOW, Verb.MISS, AlreadyNoShow),
            (BOOKED, Verb.REOPEN, NotMarked),
            (CONFIRMED, Verb.REOPEN, NotMarked),
            *[(CANCELLED, verb, AppointmentIsCancelled) for verb in (Verb.COMPLETE, Verb.MISS, Verb.REOPEN)],
            *[(mark, verb, AppointmentIsOver) for mark in (COMPLETED, NO_SHOW) for verb in (Verb.CONFIRM, Verb.RESCHEDULE, Verb.CANCEL)],
        ],
    )
    def test_refuses_what_cannot_happen_any_more(self, status: AppointmentStatus, verb: Verb, refusal: type[Trouble]) -> None:
        with pytest.raises(refusal):
            status_after(status, verb)

    def test_knows_what_becomes_of_every_status_by_every_verb(self) -> None:
        for status, verb in itertools.product(AppointmentStatus, Verb):
            with suppress(Conflict, Refused):
                assert status_after(status, verb) in AppointmentStatus


class TestCheckBegun:
    def test_from_the_start_on(self) -> None:
        check_begun(NINE, NINE)
        with pytest.raises(NotBegunYet):
            check_begun(NINE, NINE - timedelta(microseconds=1))


class TestCheckTimes:
    def test_takes_half_an_hour(self) -> None:
        check_times(NINE, NINE + timedelta(minutes=30))

    @pytest.mark.parametrize("minutes", [0, -30])
    def test_refuses_an_end_that_is_not_after_the_start(self, minutes: int) -> None:
        with pytest.raises(EndsBeforeStart) as caught:
            check_times(NINE, NINE + timedelta(minutes=minutes))
        assert caught.value.pointer == "/ends_at"

    def test_refuses_more_than_a_day(self) -> None:
        with pytest.raises(AppointmentTooLong):
            check_times(NINE, NINE + timedelta(hours=24, seconds=1))


class TestCheckTimeZone:
    def test_takes_an_iana_name(self) -> None:
        check_time_zone("Europe/Berlin")

    @pytest.mark.parametrize("name", ["", "Mars/Base", "../etc/passwd", "europe/berlin"])
    def test_refuses_anything_else(self, name: str) -> None:
        with pytest.raises(TimeZoneUnknown):
            check_time_zone(name)
