"""Cal.com's API v2: book, find a booking whose answer was lost, show one, cancel one.

``metadata`` carries the effect key: opaque, never personal. Cal.com knows no idempotency key, so a lost answer is looked
up by attendee, time of booking and metadata. Without the version header it would answer in an older shape.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any
from urllib.parse import quote

import httpx
from httpx_aiohttp import AiohttpTransport
from opentelemetry.trace import SpanKind
from opentelemetry.util.types import AttributeValue

from libs.common.telemetry import context_of, failed, span
from services.scheduling.adapters.calcom_answers import body_of, not_accepted, read_booking
from services.scheduling.adapters.calcom_words import EFFECT, effect_of, fields
from services.scheduling.adapters.connections import never_connected
from services.scheduling.rules.attendees import AttendeeDetails
from services.scheduling.rules.bookings import Asked, BookingAnswer, BookingSeen, OutboundBooking, OutboundCancellation, fate_of

API_VERSION = "2024-08-13"
TIMEOUT = httpx.Timeout(15.0, connect=5.0)
CONNECTIONS = 20
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


class Calcom:
    """The provider, one pooled client per process."""

    def __init__(self, url: str) -> None:
        self._url = url.rstrip("/")
        self._client: httpx.AsyncClient | None = None

    async def open(self) -> None:
        limits = httpx.Limits(max_connections=CONNECTIONS, max_keepalive_connections=CONNECTIONS)
        self._client = httpx.AsyncClient(transport=AiohttpTransport(limits=limits, retries=0), timeout=TIMEOUT, trust_env=False)

    async def close(self) -> None:
        if self._client is not None:
            await self._client.aclose()
            self._client = None

    async def book(self, booking: OutboundBooking) -> BookingAnswer:
        """One attempt. Never raises for what the network or the provider does; says whether a booking may exist."""
        answer = await self._attempt("/v2/bookings", "/v2/bookings", booking, requestbody_of(booking))
        if isinstance(answer, BookingAnswer):
            return answer
        if fate_of(answer.status_code) is not Asked.ACCEPTED:
            return not_accepted(answer)
        seen = read_booking(fields(body_of(answer).get("data")), booking.attendee)
        # Accepted, and nobody knows as what: its records do.
        return BookingAnswer(Asked.ACCEPTED, seen) if seen else BookingAnswer(Asked.LOST, code="provider_answer_unreadable")

    async def cancel(self, cancellation: OutboundCancellation) -> BookingAnswer:
        """One attempt, as ``book``. One that is cancelled already is refused."""
        path = f"/v2/bookings/{quote(cancellation.uid, safe='')}/cancel"
        reason = {"cancellationReason": cancellation.reason} if cancellation.reason else {}
        answer = await self._attempt("/v2/bookings/{uid}/cancel", path, cancellation, reason)
        if isinstance(answer, BookingAnswer):
            return answer
        return BookingAnswer(Asked.ACCEPTED) if fate_of(answer.status_code) is Asked.ACCEPTED else not_accepted(answer)

    async def find(self, booking: OutboundBooking) -> BookingSeen | None:
        """The booking with this effect key, None when there is none. Raises ``httpx.HTTPError``."""
        since = _utc(booking.asked_at - CLOCKS_APART)
        asked = {"attendeeEmail": booking.email, "afterCreatedAt": since, "sortCreated": "asc", "take": str(PAGE)}
        for page in range(PAGES):
            answer = await self._get("/v2/bookings", booking.api_key, {**asked, "skip": str(page * PAGE)})
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
        answer = await self._get(f"/v2/bookings/{quote(uid, safe='')}", api_key)
        if answer.status_code == httpx.codes.NOT_FOUND:
            return None
        return _readable(read_booking(fields(body_of(answer.raise_for_status()).get("data")), attendee))

    async def _attempt(
        self, name: str, path: str, about: OutboundBooking | OutboundCancellation, body: dict[str, Any]
    ) -> httpx.Response | BookingAnswer:
        assert self._client is not None
        attributes: dict[str, AttributeValue] = {
            "server.address": self._url, "vantage.effect_key": str(about.effect_key), "vantage.practice_id": str(about.practice_id),
        }  # fmt: skip
        with span(f"POST {name}", kind=SpanKind.CLIENT, parent=context_of(about.traceparent), attributes=attributes) as current:
            try:
                answer = await self._client.post(self._url + path, json=body, headers=_headers(about.api_key))
            except httpx.HTTPError as error:
                failed(current, error)
                if never_connected(error):
                    return BookingAnswer(Asked.NOT_NOW, code="provider_unreachable")
                # The request was (perhaps) written and no answer came.
                return BookingAnswer(Asked.LOST, code="provider_answer_lost")
            current.set_attribute("http.response.status_code", answer.status_code)
            return answer

    async def _get(self, path: str, api_key: str, params: dict[str, str] | None = None) -> httpx.Response:
        assert self._client is not None
        return await self._client.get(self._url + path, params=params, headers=_headers(api_key))


def _readable(seen: BookingSeen | None) -> BookingSeen:
    if seen is None:
        message = "a booking that cannot be read"
        raise httpx.DecodingError(message)
    return seen


def _headers(api_key: str) -> dict[str, str]:
    return {"authorization": f"Bearer {api_key}", "cal-api-version": API_VERSION}


def _utc(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")
