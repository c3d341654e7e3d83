"""Times people mean: before an appointment, at nine in the morning, when the practice is open, every Monday. Pure.

Local times that a clock change skips count as the moment after the change; those that come twice as the first.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta, tzinfo
from itertools import takewhile
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from cronsim import CronSim, CronSimError

from services.workflows.rules.definitions.steps import Anchor, LocalTime, PastDue

MAX_CATCH_UP = 100
LATE = timedelta(seconds=60)
"""A time that is missed by no more was met: work takes a moment."""

LOOK_AHEAD_DAYS = 400
_WEEKDAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")


@dataclass(frozen=True)
class Calendar:
    """When a practice is open, in its own zone. Without hours it is always open, but for holidays."""

    zone: tzinfo = UTC
    hours: Mapping[int, Sequence[tuple[time, time]]] = field(default_factory=dict)
    holidays: Sequence[tuple[date, date]] = ()

    def closed_on(self, day: date) -> bool:
        return any(first <= day <= last for first, last in self.holidays) or bool(self.hours and not self.hours.get(day.isoweekday()))

    def openings(self, day: date) -> list[tuple[datetime, datetime]]:
        """The spans of a day, aware UTC."""
        if self.closed_on(day):
            return []
        spans = sorted(self.hours.get(day.isoweekday(), [(time.min, time.max)])) if self.hours else [(time.min, time.max)]
        return [(moment(day, opens, self.zone), moment(day, closes, self.zone)) for opens, closes in spans]


def calendar_of(practice: Mapping[str, Any]) -> Calendar:
    """From what is known of a practice: ``time_zone``, ``opening_hours`` and ``holidays`` as its profile has them."""
    hours: dict[int, list[tuple[time, time]]] = {}
    for span in practice.get("opening_hours") or ():
        day = _WEEKDAYS.index(span["day"]) + 1
        hours.setdefault(day, []).append((time.fromisoformat(span["opens"]), time.fromisoformat(span["closes"])))
    holidays = [(date.fromisoformat(one["first"]), date.fromisoformat(one["last"])) for one in practice.get("holidays") or ()]
    return Calendar(zone_of(practice.get("time_zone")), hours, holidays)


def zone_of(name: str | None) -> tzinfo:
    """The zone of this IANA name; UTC for one nobody knows."""
    try:
        return ZoneInfo(name) if name else UTC
    except (ZoneInfoNotFoundError, ValueError, OSError):  # "Europe" is a directory
        return UTC


def is_zone(name: str) -> bool:
    """Whether there is a zone of this IANA name."""
    try:
        ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return False
    return True


def moment(day: date, at: time, zone: tzinfo) -> datetime:
    """That local time as aware UTC; one that the clocks skip is moved on by what they skipped."""
    return datetime.combine(day, at, tzinfo=zone).astimezone(UTC)


def anchored(anchor: Anchor, appointment: Mapping[str, Any]) -> tuple[datetime, datetime] | None:
    """When it is due, and the time it hangs on; None while the appointment is not known."""
    held = appointment.get(anchor.of.partition(".")[2])
    if held is None:
        return None
    if anchor.at is None:
        return (held + anchor.offset).astimezone(UTC), held
    zone = zone_of(appointment.get("time_zone"))
    day = (held.astimezone(zone).replace(tzinfo=None) + anchor.offset).date()
    return moment(day, anchor.at, zone), held


def goes_on(past_due: PastDue, held: datetime, now: datetime) -> bool:
    """Whether to go on although the time is over."""
    if past_due.policy == "proceed_if_left":
        assert past_due.left is not None
        return held - now >= past_due.left
    return past_due.policy == "proceed"


def next_local(wanted: LocalTime, calendar: Calendar, now: datetime, zone: tzinfo | None = None) -> datetime | None:
    """The first moment from ``now`` on that fits; None when there is none within 400 days.

    ``zone`` is whose clock counts, the practice's without. The practice opens by its own.
    """
    zone = zone or calendar.zone
    first = now.astimezone(zone).date()
    for day in (first + timedelta(days=ahead) for ahead in range(LOOK_AHEAD_DAYS)):
        if wanted.days and day.isoweekday() not in wanted.days:
            continue
        for begins, ends in _spans(wanted, calendar, day, zone):
            found = _after_quiet(max(begins, now), wanted, zone)
            if found < ends or (wanted.at is not None and found == begins >= now):
                return found
    return None


def may_be(wanted: LocalTime, calendar: Calendar, now: datetime, zone: tzinfo | None = None) -> bool:
    """Whether ``now``, later than it was wanted, is still a moment that fits: its day, its hours, though not the very minute."""
    if not (wanted.days or wanted.opening or wanted.not_between):
        return True
    return next_local(wanted.model_copy(update={"at": None}), calendar, now, zone) == now


def _spans(wanted: LocalTime, calendar: Calendar, day: date, zone: tzinfo) -> Iterator[tuple[datetime, datetime]]:
    """When on this day it may be: from the wanted time on, while the practice is open if that counts."""
    begins, ends = moment(day, time.min, zone), moment(day + timedelta(days=1), time.min, zone)
    open_spans = [(begins, ends)]
    if wanted.opening:
        near = [span for ahead in (-1, 0, 1) for span in calendar.openings(day + timedelta(days=ahead))]
        open_spans = [(max(opens, begins), min(closes, ends)) for opens, closes in near if opens < ends and closes > begins]
    for opens, closes in open_spans:
        if wanted.at is None:
            yield opens, closes
            continue
        at = moment(day, wanted.at, zone)
        if wanted.opening and at < closes:
            yield max(opens, at), closes
        elif not wanted.opening:
            yield at, at + timedelta(microseconds=1)


def _after_quiet(found: datetime, wanted: LocalTime, zone: tzinfo) -> datetime:
    """The end of the quiet hours if it falls into them."""
    if wanted.not_between is None:
        return found
    begin, end = wanted.not_between
    local = found.astimezone(zone)
    if not wanted.quiet(local.time()):
        return found
    day = local.date() + timedelta(days=1 if begin > end and local.time() >= begin else 0)
    return moment(day, end, zone)


class CronInvalid(ValueError):
    """Not a cron expression of five fields."""


def check_cron(text: str) -> None:
    """Raises ``CronInvalid`` for what is no cron expression, or one that never comes."""
    if len(text.split()) != 5:
        message = "a cron expression has five fields: minute, hour, day of month, month, day of week"
        raise CronInvalid(message)
    try:
        next(CronSim(text, datetime(2028, 1, 1, tzinfo=UTC)))
    except StopIteration:
        message = "this time never comes"
        raise CronInvalid(message) from None
    except CronSimError as error:
        raise CronInvalid(str(error)) from None


def next_cron(text: str, zone: tzinfo, after: datetime) -> datetime:
    """The first time after ``after``, aware UTC. Clock changes as Debian's cron: a skipped time comes right after, none comes twice."""
    return next(CronSim(text, after.astimezone(zone))).astimezone(UTC)


def missed(text: str, zone: tzinfo, first: datetime, now: datetime, catch_up: str) -> list[datetime]:
    """Of the times from ``first`` (due) to ``now``, those that count: at most ``MAX_CATCH_UP``, the newest ones."""
    times = _newest(text, zone, first, now)
    if catch_up == "all":
        return times
    return times[-1:] if catch_up == "latest" else [one for one in times if now - one <= LATE]


def _newest(text: str, zone: tzinfo, first: datetime, now: datetime) -> list[datetime]:
    """Looked for from ``now`` backwards, further each time: however long nobody was there, it takes a moment."""
    back = timedelta(hours=2)
    while (begin := _noon_before(now - back, zone)) > first:
        found = _between(text, zone, begin, now)
        if len(found) >= MAX_CATCH_UP:
            return found[-MAX_CATCH_UP:]
        back *= 4
    return [first, *_between(text, zone, first, now)][-MAX_CATCH_UP:]


def _noon_before(when: datetime, zone: tzinfo) -> datetime:
    """Where times can be counted from: no clock changes at noon."""
    return moment(when.astimezone(zone).date() - timedelta(days=1), time(12), zone)


def _between(text: str, zone: tzinfo, after: datetime, now: datetime) -> list[datetime]:
    times = (one.astimezone(UTC) for one in CronSim(text, after.astimezone(zone)))
    return list(takewhile(lambda one: one <= now, times))
