"""Cal.com's API v2: book, find a booking whose answer was lost, show one, cancel one.

``metadata`` carries the effect key: opaque, never personal. Cal.com knows no idempotency key, so a lost answer is looked
up by attendee, time of booking and metadata. Without the version header it would answer in an older shape.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any
from urllib.parse import quote

import httpx

from libs.common.actions.outcomes import Attempt, attempt_of
from services.scheduling.adapters.calcom_answers import not_accepted, read_booking
from services.scheduling.adapters.calcom_words import EFFECT, effect_of, fields
from services.scheduling.adapters.connections import Provider, Unanswered, body_of
from services.scheduling.rules.attendees import AttendeeDetails
from services.scheduling.rules.bookings import BookingAnswer, BookingSeen, OutboundBooking, OutboundCancellation

API_VERSION = "2024-08-13"
PAGE = 100
PAGES = 10
CLOCKS_APART = timedelta(hours=1)
"""So far Cal.com's clock may be behind ours, and a booking is still found by when it was made."""


def requestbody_of(booking: OutboundBooking) -> dict[str, Any]:
    """The body of ``POST /v2/bookings``. A length is named only when the step does: an event type with one length refuses any."""
    length = {} if booking.minutes is None else {"lengthInMinutes": booking.minutes}
    return {
        "start": _utc(booking.starts_at),
        "eventTypeId": booking.event_type_id,
        "attendee": {"name": booking.attendee.name, "email": booking.email, "timeZone": booking.time_zone},
        "metadata": {EFFECT: str(booking.effect_key)},
        **length,
    }


class Calcom(Provider):
    """The provider, one per process."""

    headers = {"cal-api-version": API_VERSION}  # noqa: RUF012 - never changed

    async def book(self, booking: OutboundBooking) -> BookingAnswer:
        """One attempt. Never raises for what the network or the provider does; says whether a booking may exist."""
        answer = await self._attempt("/v2/bookings", "/v2/bookings", booking, requestbody_of(booking))
        if isinstance(answer, Unanswered):
            return BookingAnswer(answer.attempt, code=answer.code)
        if attempt_of(answer.status_code) is not Attempt.ACCEPTED:
            return not_accepted(answer)
        seen = read_booking(fields(body_of(answer).get("data")), booking.attendee)
        # Accepted, and nobody knows as what: its records do.
        return BookingAnswer(Attempt.ACCEPTED, seen) if seen else BookingAnswer(Attempt.LOST, code="provider_answer_unreadable")

    async def cancel(self, cancellation: OutboundCancellation) -> BookingAnswer:
        """One attempt, as ``book``. One that is cancelled already is refused."""
        path = f"/v2/bookings/{quote(cancellation.uid, safe='')}/cancel"
        reason = {"cancellationReason": cancellation.reason} if cancellation.reason else {}
        answer = await self._attempt("/v2/bookings/{uid}/cancel", path, cancellation, reason)
        if isinstance(answer, Unanswered):
            return BookingAnswer(answer.attempt, code=answer.code)
        return BookingAnswer(Attempt.ACCEPTED) if attempt_of(answer.status_code) is Attempt.ACCEPTED else not_accepted(answer)

    async def find(self, booking: OutboundBooking) -> BookingSeen | None:
        """The booking with this effect key, None when there is none. Raises ``httpx.HTTPError``."""
        since = _utc(booking.asked_at - CLOCKS_APART)
        asked = {"attendeeEmail": booking.email, "afterCreatedAt": since, "sortCreated": "asc", "take": str(PAGE)}
        for page in range(PAGES):
            answer = await self._request("GET", "/v2/bookings", booking.api_key, params={**asked, "skip": str(page * PAGE)})
            body = body_of(answer.raise_for_status())
            found = body.get("data")
            if not isinstance(found, list):
                message = "a list of bookings without bookings"
                raise httpx.DecodingError(message)
            # One that was moved carries our mark on, but is not the one we asked for.
            ours = [one for one in map(fields, found) if effect_of(one) == booking.effect_key and not one.get("rescheduledFromUid")]
            if ours:
                return _readable(read_booking(ours[0], booking.attendee))
            if not fields(body.get("pagination")).get("hasNextPage"):
                return None
        message = "more bookings than anybody looks through"
        raise httpx.DecodingError(message)

    async def show(self, api_key: str, uid: str, attendee: AttendeeDetails) -> BookingSeen | None:
        """One booking, None for one the provider does not know. Raises ``httpx.HTTPError``."""
        answer = await self._request("GET", f"/v2/bookings/{quote(uid, safe='')}", api_key)
        if answer.status_code == httpx.codes.NOT_FOUND:
            return None
        return _readable(read_booking(fields(body_of(answer.raise_for_status()).get("data")), attendee))


def _readable(seen: BookingSeen | None) -> BookingSeen:
    if seen is None:
        message = "a booking that cannot be read"
        raise httpx.DecodingError(message)
    return seen


def _utc(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")
