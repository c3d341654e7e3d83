"""What Cal.com's API answers, in our words: a booking, or why there is none. Field names differ from those of its webhooks."""

from __future__ import annotations

from typing import Any

import httpx

from libs.common.actions.outcomes import attempt_of
from services.scheduling.adapters.calcom_words import LONGEST_ID, Lacking, effect_of, fields, resource, text, time, zone
from services.scheduling.adapters.connections import body_of, pause_asked
from services.scheduling.rules.attendees import AttendeeDetails, shown_name
from services.scheduling.rules.bookings import LIMIT_PAUSE_SECONDS, SLOT_TAKEN, BookingAnswer, BookingSeen, BookingState
from services.scheduling.rules.notices import BookingNotice, NoticeKind, booking_key, delivery_key

_TAKEN = ("already has booking", "not available", "no_available_users", "already booked", "booking_seats_full")


def read_booking(data: dict[str, Any], attendee: AttendeeDetails) -> BookingSeen | None:
    """A booking of the API in our words, None for what is none. Whom it is for is said by whoever asks."""
    uid, state = text(data.get("uid"), LONGEST_ID), text(data.get("status"), 20)
    if uid is None or state not in set(BookingState):
        return None
    try:
        starts_at, ends_at = time(data.get("start"), "start"), time(data.get("end"), "end")
    except Lacking:
        return None
    if ends_at <= starts_at:
        return None
    host = next(iter(_all(data.get("hosts"))), {})
    seated = "seatUid" in data or any("seatUid" in one for one in _all(data.get("attendees")))
    email = attendee.email or ""
    notice = BookingNotice(
        kind=NoticeKind.CREATED,
        uid=uid,
        key=booking_key(uid, email, seated=seated),
        delivery_key=delivery_key(NoticeKind.CREATED, uid, starts_at, email),
        starts_at=starts_at,
        ends_at=ends_at,
        time_zone=zone(host),
        resource=resource(host.get("id"), data.get("eventTypeId")),
        title=shown_name(fields(data.get("eventType")).get("slug")) or shown_name(data.get("title")),
        attendee=attendee,
        sequence=0,
        exclusive=not seated,
        effect_key=effect_of(data),
    )
    return BookingSeen(BookingState(state), notice, moved=bool(data.get("rescheduledToUid")))


def not_accepted(answer: httpx.Response) -> BookingAnswer:
    """Why a request was not accepted. Only its text tells a taken time from other bad requests."""
    status, attempt = answer.status_code, attempt_of(answer.status_code)
    told = fields(body_of(answer).get("error")).get("message")
    if status == httpx.codes.CONFLICT or (status == httpx.codes.BAD_REQUEST and any(sign in str(told).lower() for sign in _TAKEN)):
        return BookingAnswer(attempt, code=SLOT_TAKEN)
    pause = pause_asked(answer)
    if pause is None and status == httpx.codes.TOO_MANY_REQUESTS:
        pause = LIMIT_PAUSE_SECONDS
    return BookingAnswer(attempt, code=f"provider_status_{status}", retry_after_seconds=pause)


def _all(value: Any) -> list[dict[str, Any]]:
    return [fields(one) for one in value] if isinstance(value, list) else []
