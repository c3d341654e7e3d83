"""Times people mean, by example: clock changes, opening hours, quiet hours, other people's zones."""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from services.workflows.rules.definitions.calendar import (
    MAX_CATCH_UP,
    Calendar,
    anchored,
    calendar_of,
    goes_on,
    may_be,
    missed,
    next_cron,
    next_local,
)
from services.workflows.rules.definitions.steps import Anchor, LocalTime, PastDue
from services.workflows.tests.engine.world import anchor

BERLIN, TOKYO, NEW_YORK = ZoneInfo("Europe/Berlin"), ZoneInfo("Asia/Tokyo"), ZoneInfo("America/New_York")
HOURS = {1: [(time(8), time(12)), (time(14), time(18))], 3: [(time(8), time(12))]}
PRACTICE = Calendar(BERLIN, HOURS, [(date(2030, 1, 7), date(2030, 1, 7))])


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


class TestAnchored:
    @pytest.mark.parametrize(
        ("when", "starts_at", "due"),
        [
            (anchor("-P1D"), "2030-03-31T08:00", "2030-03-30T08:00"),  # 24 hours, though the clocks changed between
            (anchor("-P1D", at="18:00"), "2030-03-31T08:00", "2030-03-30T17:00"),
            (anchor("-P1D", at="18:00"), "2030-04-01T08:00", "2030-03-31T16:00"),
            (anchor("PT0S", at="02:30"), "2030-03-31T08:00", "2030-03-31T01:30"),  # skipped: half past three
            (anchor("PT0S", at="02:30"), "2030-10-27T08:00", "2030-10-27T00:30"),  # twice: the first
            (anchor("-P1D", at="18:00"), "2030-01-09T23:30", "2030-01-09T17:00"),  # half past midnight there: the day before is the 9th
            (anchor("P7D", of="ends_at"), "2030-01-01T08:00", "2030-01-08T08:30"),
        ],
    )
    def test_is_before_or_after_the_appointment(self, when: dict[str, Any], starts_at: str, due: str) -> None:
        starts = utc(starts_at)
        found = anchored(
            Anchor.model_validate(when), {"starts_at": starts, "ends_at": starts.replace(minute=30), "time_zone": "Europe/Berlin"}
        )
        assert found is not None
        assert found[0] == utc(due)

    @pytest.mark.parametrize(
        ("policy", "now", "on"),
        [
            ({"policy": "proceed"}, "2030-01-03T00:00", True),
            ({"policy": "skip"}, "2030-01-01T00:00", False),
            ({"policy": "proceed_if_left", "left": "PT2H"}, "2030-01-01T06:00", True),
            ({"policy": "proceed_if_left", "left": "PT2H"}, "2030-01-01T06:01", False),
        ],
    )
    def test_what_is_over_goes_on_as_its_policy_says(self, policy: dict[str, Any], now: str, on: bool) -> None:
        assert goes_on(PastDue.model_validate(policy), utc("2030-01-01T08:00"), utc(now)) is on


class TestLocal:
    @pytest.mark.parametrize(
        ("wanted", "now", "zone", "due"),
        [
            ({"at": "09:00"}, "2030-01-02T07:00", None, "2030-01-02T08:00"),
            ({"at": "09:00"}, "2030-01-02T08:00", None, "2030-01-02T08:00"),
            ({"at": "09:00"}, "2030-01-02T08:01", None, "2030-01-03T08:00"),
            ({"at": "09:00"}, "2030-01-02T07:00", TOKYO, "2030-01-03T00:00"),
            ({"at": "09:00", "days": [1]}, "2030-01-02T07:00", None, "2030-01-07T08:00"),
            ({"at": "02:30"}, "2030-03-31T00:00", None, "2030-03-31T01:30"),
            ({"opening": True}, "2030-01-02T06:00", None, "2030-01-02T07:00"),
            ({"opening": True}, "2030-01-02T09:00", None, "2030-01-02T09:00"),
            ({"opening": True}, "2030-01-02T11:00", None, "2030-01-09T07:00"),  # Monday the 7th is a holiday
            ({"opening": True}, "2030-01-14T11:30", None, "2030-01-14T13:00"),
            ({"opening": True, "at": "10:00"}, "2030-01-14T07:30", None, "2030-01-14T09:00"),
            ({"opening": True, "at": "13:00"}, "2030-01-14T07:30", None, "2030-01-14T13:00"),
            ({"opening": True, "at": "04:00"}, "2030-01-14T07:00", NEW_YORK, "2030-01-14T09:00"),
            ({"opening": True, "not_between": ["00:00", "11:00"]}, "2030-01-14T07:30", None, "2030-01-14T10:00"),
            ({"not_between": ["21:00", "08:00"]}, "2030-01-02T20:00", None, "2030-01-03T07:00"),
            ({"not_between": ["21:00", "08:00"]}, "2030-01-02T06:59", None, "2030-01-02T07:00"),
            ({"not_between": ["21:00", "08:00"]}, "2030-01-02T12:00", None, "2030-01-02T12:00"),
        ],
    )
    def test_the_next_moment_that_fits(self, wanted: dict[str, Any], now: str, zone: ZoneInfo | None, due: str) -> None:
        assert next_local(LocalTime.model_validate(wanted), PRACTICE, utc(now), zone) == utc(due)

    def test_a_practice_that_never_opens_again_has_none(self) -> None:
        closed = Calendar(BERLIN, HOURS, [(date(2030, 1, 1), date(2033, 1, 1))])
        assert next_local(LocalTime(opening=True), closed, utc("2030-01-02T07:00")) is None

    def test_a_time_inside_the_quiet_hours_is_refused_when_it_is_saved(self) -> None:
        with pytest.raises(ValidationError, match="this time never comes"):
            LocalTime(at=time(23), not_between=(time(21), time(8)))

    @given(
        st.integers(0, 525_600).map(lambda minutes: utc("2030-01-01T00:00") + timedelta(minutes=minutes)),
        st.sampled_from([{"at": "09:00"}, {"opening": True}, {"not_between": ["20:00", "07:00"]}, {"at": "03:00", "days": [7]}]),
        st.sampled_from([BERLIN, TOKYO, NEW_YORK]),
    )
    def test_what_is_found_lies_ahead_and_may_be(self, now: datetime, wanted: dict[str, Any], zone: ZoneInfo) -> None:
        local = LocalTime.model_validate(wanted)
        found = next_local(local, PRACTICE, now, zone)
        assert found is not None
        assert found >= now
        assert may_be(local, PRACTICE, found, zone)
        assert next_local(local, PRACTICE, found, zone) == found

    @pytest.mark.parametrize(
        ("wanted", "now", "fits"),
        [
            ({"at": "09:00"}, "2030-01-02T22:00", True),
            ({"at": "09:00", "not_between": ["21:00", "08:00"]}, "2030-01-02T22:00", False),
            ({"at": "09:00", "not_between": ["21:00", "08:00"]}, "2030-01-02T12:00", True),
            ({"at": "09:00", "days": [3]}, "2030-01-02T12:00", True),
            ({"at": "09:00", "days": [3]}, "2030-01-03T12:00", False),
            ({"opening": True}, "2030-01-02T11:30", False),
        ],
    )
    def test_a_time_that_was_missed_may_still_be_or_not(self, wanted: dict[str, Any], now: str, fits: bool) -> None:
        assert may_be(LocalTime.model_validate(wanted), PRACTICE, utc(now)) is fits


MAY = utc("2030-05-01T00:00")


class TestMissed:
    @pytest.mark.parametrize("days", [1, 69, 70, 400, 4000])
    def test_the_latest_time_is_the_latest_however_long_nobody_was_there(self, days: int) -> None:
        now = MAY + timedelta(seconds=30)
        assert missed("* * * * *", BERLIN, MAY - timedelta(days=days), now, "latest") == [MAY]
        assert missed("* * * * *", BERLIN, MAY - timedelta(days=days), now, "none") == [MAY]
        every = missed("* * * * *", BERLIN, MAY - timedelta(days=days), now, "all")
        assert every == [MAY - timedelta(minutes=ago) for ago in reversed(range(MAX_CATCH_UP))]

    @pytest.mark.parametrize(
        ("cron", "first", "times"),
        [
            ("0 9 * * *", "2030-04-28T07:00", ["2030-04-28T07:00", "2030-04-29T07:00", "2030-04-30T07:00"]),
            ("0 9 * * *", "2030-04-30T07:00", ["2030-04-30T07:00"]),
            ("0 9 1 1 *", "2028-01-01T08:00", ["2028-01-01T08:00", "2029-01-01T08:00", "2030-01-01T08:00"]),
            ("0 9 * * *", "2030-04-29T11:11", ["2030-04-29T11:11", "2030-04-30T07:00"]),  # due by a plan that has changed since
        ],
    )
    def test_the_time_that_is_due_is_the_first(self, cron: str, first: str, times: list[str]) -> None:
        assert missed(cron, BERLIN, utc(first), MAY, "all") == [utc(one) for one in times]

    @given(
        st.sampled_from(["*/7 * * * *", "30 2 * * *", "0 * * * *", "15 1-3 * * 0", "0 9 * * 1-5", "45 2 28-31 * *", "* 2 * * *"]),
        st.sampled_from([BERLIN, NEW_YORK, ZoneInfo("Australia/Lord_Howe")]),
        st.integers(0, 400 * 24 * 60),
        st.integers(0, 40 * 24 * 60),
    )
    def test_they_are_those_that_come_one_after_another(self, cron: str, zone: ZoneInfo, minutes: int, away: int) -> None:
        """Clock changes included."""
        first = next_cron(cron, zone, utc("2030-01-01T00:00") + timedelta(minutes=minutes))
        now = first + timedelta(minutes=away)
        times = [first]
        while (one := next_cron(cron, zone, times[-1])) <= now:
            times.append(one)
        assert missed(cron, zone, first, now, "all") == times[-MAX_CATCH_UP:]


class TestPractice:
    def test_is_read_from_its_profile(self) -> None:
        profile = {
            "time_zone": "Europe/Berlin",
            "opening_hours": [{"day": "monday", "opens": "08:00:00", "closes": "12:00:00"}],
            "holidays": [{"first": "2030-01-07", "last": "2030-01-08"}],
        }
        calendar = calendar_of(profile)
        assert calendar.closed_on(date(2030, 1, 7))
        assert calendar.closed_on(date(2030, 1, 15))
        assert calendar.openings(date(2030, 1, 14)) == [(utc("2030-01-14T07:00"), utc("2030-01-14T11:00"))]

    def test_of_which_nothing_is_known_is_always_open_in_utc(self) -> None:
        assert next_local(LocalTime(opening=True), calendar_of({}), utc("2030-01-05T03:00")) == utc("2030-01-05T03:00")
        assert calendar_of({"time_zone": "Moon/Base"}).zone is UTC
