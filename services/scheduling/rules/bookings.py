"""A booking we ask Cal.com for or want cancelled, and what its answer says about whether that happened. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from uuid import UUID

from libs.common.actions.outcomes import Attempt
from libs.common.errors import Refused
from services.scheduling.rules.attendees import AttendeeDetails
from services.scheduling.rules.notices import BookingNotice

SLOT_TAKEN = "slot_taken"
BAD_REQUEST = "provider_status_400"
LIMIT_PAUSE_SECONDS = 60.0
"""So long Cal.com answers nothing to whoever asked too often; it does not reliably say so."""


class CalcomNotConfigured(Refused):
    """The practice has no API key of Cal.com here."""


class CalcomKeyUnreadable(Refused):
    """The practice's Cal.com key cannot be opened."""


class EventTypeMissing(Refused):
    """Neither the step nor the practice's settings name an event type of Cal.com."""


class StartIsPast(Refused):
    """Nobody can be booked for a time that is past."""


class PatientHasNoEmail(Refused):
    """Cal.com books for an e-mail address; the patient has none."""


class SeatKeptByCalcom(Refused):
    """A seat of a group booking is cancelled at Cal.com: which one it is there is not known here."""


class BookingState(StrEnum):
    """How a booking stands at Cal.com. A pending one waits for its host."""

    ACCEPTED = "accepted"
    PENDING = "pending"
    CANCELLED = "cancelled"
    REJECTED = "rejected"


@dataclass(frozen=True, slots=True)
class OutboundBooking:
    """One booking for one attendee, who has an e-mail address. Times are aware UTC; ``minutes`` None: the event type's own."""

    practice_id: UUID
    effect_key: UUID
    api_key: str = field(repr=False)
    event_type_id: int
    starts_at: datetime
    minutes: int | None
    attendee: AttendeeDetails = field(repr=False)
    time_zone: str
    asked_at: datetime
    traceparent: str = ""

    @property
    def email(self) -> str:
        assert self.attendee.email is not None
        return self.attendee.email


@dataclass(frozen=True, slots=True)
class OutboundCancellation:
    """One booking that is to be cancelled."""

    practice_id: UUID
    effect_key: UUID
    api_key: str = field(repr=False)
    uid: str
    reason: str | None = field(repr=False)
    traceparent: str = ""


@dataclass(frozen=True, slots=True)
class BookingSeen:
    """A booking as Cal.com shows it; ``notice`` is what a webhook would have told when it was made. ``moved``: a later one took its place."""

    state: BookingState
    notice: BookingNotice
    moved: bool = False


@dataclass(frozen=True, slots=True)
class BookingAnswer:
    """``seen`` is what was booked or cancelled, as far as it can be read; ``code`` why it was not."""

    attempt: Attempt
    seen: BookingSeen | None = None
    code: str = ""
    retry_after_seconds: float | None = None
