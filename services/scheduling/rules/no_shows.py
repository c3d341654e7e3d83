"""What Cal.com says of who came: a host marks guests as no-show, and takes that back. Pure.

The notices carry a state, not a change, and come in any order: the one that was said last counts.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from libs.contracts.scheduling import AppointmentStatus
from services.scheduling.rules.notices import booking_key

UNKNOWN_BOOKING = "booking_unknown"
UNKNOWN_ATTENDEE = "attendee_unknown"
NOT_BEGUN = "appointment_not_begun"


@dataclass(frozen=True, slots=True)
class NoShowNotice:
    """``missing`` holds by e-mail address (in our spelling) whether that guest is marked. ``said_at`` is None when it does not say."""

    uid: str
    missing: Mapping[str, bool] = field(repr=False)
    said_at: datetime | None
    delivery_key: str

    @property
    def keys(self) -> list[str]:
        """Of the bookings it can mean: the whole one, and each guest's seat."""
        return [self.uid, *(booking_key(self.uid, email, seated=True) for email in self.missing)]


class Turn(StrEnum):
    """What a notice makes of an appointment."""

    MISS = "miss"
    REOPEN = "reopen"
    NONE = "none"
    TOO_EARLY = "too_early"
    """Nobody stays away from what has not begun."""


def turn_of(
    status: AppointmentStatus, starts_at: datetime, marked_at: datetime | None, *, missing: bool, said_at: datetime, now: datetime
) -> Turn:
    """``marked_at`` is when somebody last said whether the patient came, here or there: what was said before that is out of date."""
    if status is AppointmentStatus.CANCELLED or (marked_at is not None and said_at < marked_at):
        return Turn.NONE
    if not missing:
        return Turn.REOPEN if status is AppointmentStatus.NO_SHOW else Turn.NONE
    if status is AppointmentStatus.NO_SHOW:
        return Turn.NONE
    return Turn.MISS if starts_at <= now else Turn.TOO_EARLY
