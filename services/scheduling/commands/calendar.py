"""What booking and cancelling at Cal.com need: somebody who asks it, and the practice's key."""

from __future__ import annotations

from typing import Protocol
from uuid import UUID

from libs.common.secrets import SealBroken, SecretBox
from services.scheduling.commands.calcom_settings import API_PURPOSE
from services.scheduling.rules.attendees import AttendeeDetails
from services.scheduling.rules.bookings import (
    BookingAnswer,
    BookingSeen,
    CalcomKeyUnreadable,
    CalcomNotConfigured,
    OutboundBooking,
    OutboundCancellation,
)


class Calendar(Protocol):
    """Asks for one booking or cancellation and says what came of it; looks up, raising when the provider cannot say."""

    async def book(self, booking: OutboundBooking) -> BookingAnswer: ...

    async def cancel(self, cancellation: OutboundCancellation) -> BookingAnswer: ...

    async def find(self, booking: OutboundBooking) -> BookingSeen | None: ...

    async def show(self, api_key: str, uid: str, attendee: AttendeeDetails) -> BookingSeen | None: ...


def opened(practice_id: UUID, api_key: bytes | None, box: SecretBox) -> str:
    """Raises ``CalcomNotConfigured``, ``CalcomKeyUnreadable``."""
    if api_key is None:
        raise CalcomNotConfigured
    try:
        return box.open(practice_id, API_PURPOSE, api_key)
    except SealBroken:
        raise CalcomKeyUnreadable from None
