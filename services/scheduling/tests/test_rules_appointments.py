"""What may happen to an appointment."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from libs.common.errors import Trouble
from libs.contracts.scheduling import AppointmentStatus
from services.scheduling.rules.appointments import (
    AlreadyCancelled,
    AlreadyConfirmed,
    AppointmentIsCancelled,
    AppointmentTooLong,
    EndsBeforeStart,
    TimeZoneUnknown,
    Verb,
    check_time_zone,
    check_times,
    status_after,
)

NINE = datetime(2026, 12, 1, 9, 0, tzinfo=UTC)
BOOKED, CONFIRMED, CANCELLED = AppointmentStatus.BOOKED, AppointmentStatus.CONFIRMED, AppointmentStatus.CANCELLED


class TestStatusAfter:
    @pytest.mark.parametrize(
        ("status", "verb", "after"),
        [
            (BOOKED, Verb.CONFIRM, CONFIRMED),
            (BOOKED, Verb.RESCHEDULE, BOOKED),
            (BOOKED, Verb.CANCEL, CANCELLED),
            (CONFIRMED, Verb.RESCHEDULE, BOOKED),
            (CONFIRMED, Verb.CANCEL, CANCELLED),
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
        ],
    )
    def test_refuses_what_cannot_happen_any_more(self, status: AppointmentStatus, verb: Verb, refusal: type[Trouble]) -> None:
        with pytest.raises(refusal):
            status_after(status, verb)


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
