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
}


def status_after(status: AppointmentStatus, verb: Verb) -> AppointmentStatus:
    """The status a verb leads to. Raises ``AlreadyConfirmed``, ``AlreadyCancelled`` or ``AppointmentIsCancelled``."""
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
