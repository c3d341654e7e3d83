"""What Cal.com's webhooks and its API have in common: how a time, a host, a zone and our own mark are written.

Field names differ between the two; these take values.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from services.scheduling.rules.appointments import CALCOM_PREFIX, known_time_zone

EFFECT = "vantage_effect"
"""What we put into a booking's metadata, and find again in every notice about it."""
LONGEST_ID = 200
LONGEST_REASON = 2000


class Lacking(Exception):
    """Something a booking cannot do without is missing or unreadable."""

    def __init__(self, field: str) -> None:
        super().__init__(field)
        self.code = f"{field}_unreadable"


def effect_of(booking: dict[str, Any]) -> UUID | None:
    """The effect key a booking's metadata carries, in a webhook or in the API."""
    value = fields(booking.get("metadata")).get(EFFECT)
    try:
        return UUID(value) if isinstance(value, str) else None
    except ValueError:
        return None


def resource(host: Any, event_type: Any) -> str:
    """Whose time is taken: the host's when Cal.com names one, else the event type's."""
    for kind, value in (("host", host), ("event-type", event_type)):
        number = whole_number(value)
        if number is not None:
            return f"{CALCOM_PREFIX}{kind}/{number}"
    return f"{CALCOM_PREFIX}unknown"


def zone(*people: dict[str, Any]) -> str:
    """Where the appointment is: the host's zone, else the attendee's, else UTC."""
    for person in people:
        name = person.get("timeZone")
        if isinstance(name, str) and known_time_zone(name):
            return name
    return "UTC"


def time(value: Any, field: str) -> datetime:
    """Raises ``Lacking`` for what names no moment."""
    try:
        at = datetime.fromisoformat(value)
    except (TypeError, ValueError):
        raise Lacking(field) from None
    if at.tzinfo is None:
        raise Lacking(field)
    try:
        return at.astimezone(UTC)
    except OverflowError:
        raise Lacking(field) from None


def text(value: Any, longest: int) -> str | None:
    if not isinstance(value, str) or not 0 < len(value) <= longest or not value.isprintable():
        return None
    return value


def whole_number(value: Any) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**31 else None


def fields(value: Any) -> dict[str, Any]:
    """An object's fields; none of what is no object."""
    return value if isinstance(value, dict) else {}
