"""What may happen to an appointment, and when its times make sense. Pure."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from enum import StrEnum
from zoneinfo import ZoneInfo, available_timezones

from libs.common.errors import Conflict, Refused
from libs.contracts.scheduling import AppointmentStatus

LONGEST = timedelta(hours=24)
CALCOM_PREFIX = "calcom/"
"""Resources of Cal.com live in a namespace of their own: a local booking cannot name one."""

_ZONES = frozenset(available_timezones())


class AlreadyConfirmed(Conflict):
    """The appointment is confirmed already."""


class AlreadyCancelled(Conflict):
    """The appointment is cancelled already."""


class AlreadyAtThatTime(Conflict):
    """The appointment is at that time already."""


class AppointmentIsCancelled(Refused):
    """A cancelled appointment stays cancelled; book a new one."""


class AlreadyCompleted(Conflict):
    """The appointment is completed already."""


class AlreadyNoShow(Conflict):
    """The appointment is marked as no-show already."""


class NotMarked(Conflict):
    """The appointment is neither completed nor marked as no-show."""


class AppointmentIsOver(Refused):
    """The appointment is completed or marked as no-show: take that back, or book a new one."""


class NotBegunYet(Refused):
    """The appointment has not begun yet."""


class KeptByCalcom(Refused):
    """Cal.com keeps this appointment: move or cancel it there."""


class EndsBeforeStart(Refused):
    """An appointment ends after it starts."""


class AppointmentTooLong(Refused):
    """An appointment takes at most 24 hours."""


class TimeZoneUnknown(Refused):
    """A time zone is an IANA name, like Europe/Berlin."""


class StartUnreadable(Refused):
    """A start is a date and a time, like 2030-01-07T09:00:00."""


class Verb(StrEnum):
    CONFIRM = "confirm"
    RESCHEDULE = "reschedule"
    CANCEL = "cancel"
    COMPLETE = "complete"
    MISS = "miss"
    REOPEN = "reopen"


OVER = frozenset({AppointmentStatus.COMPLETED, AppointmentStatus.NO_SHOW})
"""What somebody says of an appointment afterwards: a mark, and it can be wrong."""

_AFTER: dict[tuple[AppointmentStatus, Verb], type[Conflict | Refused] | AppointmentStatus] = {
    (AppointmentStatus.BOOKED, Verb.CONFIRM): AppointmentStatus.CONFIRMED,
    (AppointmentStatus.BOOKED, Verb.RESCHEDULE): AppointmentStatus.BOOKED,
    (AppointmentStatus.BOOKED, Verb.CANCEL): AppointmentStatus.CANCELLED,
    (AppointmentStatus.CONFIRMED, Verb.CONFIRM): AlreadyConfirmed,
    # Whoever confirmed the old time has not confirmed the new one.
    (AppointmentStatus.CONFIRMED, Verb.RESCHEDULE): AppointmentStatus.BOOKED,
    (AppointmentStatus.CONFIRMED, Verb.CANCEL): AppointmentStatus.CANCELLED,
    (AppointmentStatus.CANCELLED, Verb.CONFIRM): AppointmentIsCancelled,
    (AppointmentStatus.CANCELLED, Verb.RESCHEDULE): AppointmentIsCancelled,
    (AppointmentStatus.CANCELLED, Verb.CANCEL): AlreadyCancelled,
    (AppointmentStatus.BOOKED, Verb.COMPLETE): AppointmentStatus.COMPLETED,
    (AppointmentStatus.BOOKED, Verb.MISS): AppointmentStatus.NO_SHOW,
    (AppointmentStatus.BOOKED, Verb.REOPEN): NotMarked,
    (AppointmentStatus.CONFIRMED, Verb.COMPLETE): AppointmentStatus.COMPLETED,
    (AppointmentStatus.CONFIRMED, Verb.MISS): AppointmentStatus.NO_SHOW,
    (AppointmentStatus.CONFIRMED, Verb.REOPEN): NotMarked,
    (AppointmentStatus.CANCELLED, Verb.COMPLETE): AppointmentIsCancelled,
    (AppointmentStatus.CANCELLED, Verb.MISS): AppointmentIsCancelled,
    (AppointmentStatus.CANCELLED, Verb.REOPEN): AppointmentIsCancelled,
    (AppointmentStatus.COMPLETED, Verb.CONFIRM): AppointmentIsOver,
    (AppointmentStatus.COMPLETED, Verb.RESCHEDULE): AppointmentIsOver,
    (AppointmentStatus.COMPLETED, Verb.CANCEL): AppointmentIsOver,
    (AppointmentStatus.COMPLETED, Verb.COMPLETE): AlreadyCompleted,
    (AppointmentStatus.COMPLETED, Verb.MISS): AppointmentStatus.NO_SHOW,
    (AppointmentStatus.COMPLETED, Verb.REOPEN): AppointmentStatus.BOOKED,
    (AppointmentStatus.NO_SHOW, Verb.CONFIRM): AppointmentIsOver,
    (AppointmentStatus.NO_SHOW, Verb.RESCHEDULE): AppointmentIsOver,
    (AppointmentStatus.NO_SHOW, Verb.CANCEL): AppointmentIsOver,
    # Whoever comes late after all was no no-show.
    (AppointmentStatus.NO_SHOW, Verb.COMPLETE): AppointmentStatus.COMPLETED,
    (AppointmentStatus.NO_SHOW, Verb.MISS): AlreadyNoShow,
    (AppointmentStatus.NO_SHOW, Verb.REOPEN): AppointmentStatus.BOOKED,
}


def status_after(status: AppointmentStatus, verb: Verb) -> AppointmentStatus:
    """The status a verb leads to. Raises what refuses the verb in that status: ``AppointmentIsCancelled``, ``AppointmentIsOver``,
    or that it is so already.
    """
    found = _AFTER[status, verb]
    if isinstance(found, AppointmentStatus):
        return found
    raise found


def check_times(starts_at: datetime, ends_at: datetime) -> None:
    """Raises ``EndsBeforeStart`` or ``AppointmentTooLong``."""
    if ends_at <= starts_at:
        raise EndsBeforeStart(pointer="/ends_at")
    if ends_at - starts_at > LONGEST:
        raise AppointmentTooLong(pointer="/ends_at")


def check_begun(starts_at: datetime, now: datetime) -> None:
    """Nobody can have come, or stayed away, before. Raises ``NotBegunYet``."""
    if now < starts_at:
        raise NotBegunYet


def check_time_zone(name: str) -> None:
    """Raises ``TimeZoneUnknown``."""
    if not known_time_zone(name):
        raise TimeZoneUnknown(pointer="/time_zone")


def start_of(text: str, zone: str) -> datetime:
    """The moment a text names, UTC; without an offset it is a time of day in ``zone``, the first where a clock shows it twice.

    Raises ``StartUnreadable``, ``TimeZoneUnknown``.
    """
    check_time_zone(zone)
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise StartUnreadable(pointer="/starts_at") from None
    if "T" not in text and " " not in text:
        raise StartUnreadable(pointer="/starts_at")
    local = moment if moment.tzinfo is not None else moment.replace(tzinfo=ZoneInfo(zone))
    try:
        return local.astimezone(UTC)
    except OverflowError:
        raise StartUnreadable(pointer="/starts_at") from None


def known_time_zone(name: str) -> bool:
    return name in _ZONES
