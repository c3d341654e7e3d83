"""Cal.com's webhook bodies in our words. Vendor vocabulary stops here; nothing is stored and nothing is verified here.

Tolerant on purpose: only what a booking cannot do without is required, everything else may be missing, null or of another
type. Field names and their traps: Cal.com's webhook builders of version 2021-10-20.
"""

from __future__ import annotations

import hashlib
from functools import partial
from typing import Any

import orjson

from services.scheduling.adapters.calcom_words import (
    LONGEST_ID,
    LONGEST_REASON,
    Lacking,
    effect_of,
    fields,
    resource,
    text,
    time,
    whole_number,
    zone,
)
from services.scheduling.rules.attendees import AttendeeDetails, normal_email, normal_phone, shown_name
from services.scheduling.rules.no_shows import NoShowNotice
from services.scheduling.rules.notices import BookingNotice, NoticeKind, SetAside, booking_key, delivery_key

SIGNATURE_HEADER = "x-cal-signature-256"
PING = "ping"
"""Cal.com's "send a test" button: signed, about nothing."""
_KINDS = {"BOOKING_CREATED": NoticeKind.CREATED, "BOOKING_RESCHEDULED": NoticeKind.MOVED, "BOOKING_CANCELLED": NoticeKind.CANCELLED}
NO_SHOW = "BOOKING_NO_SHOW_UPDATED"
"""A host marks guests, or takes that back. That a meeting's time is over (``MEETING_ENDED``) says nothing of who came."""
_ROOT_SUFFIX = "@Cal.com"
_MOST_GUESTS = 1000


def read_notice(raw: bytes) -> BookingNotice | NoShowNotice | SetAside:
    """Total: whatever the bytes are, the answer says what they are. The signature must have been checked before."""
    try:
        body = orjson.loads(raw)
    except orjson.JSONDecodeError:
        return _aside("not_json", "", raw)
    if not isinstance(body, dict):
        return _aside("not_an_object", "", raw)
    trigger = text(body.get("triggerEvent"), 100) or ""
    if not trigger:
        return _aside("trigger_missing", "", raw)
    kind = _KINDS.get(trigger)
    if kind is None and trigger != NO_SHOW:
        return _aside(PING if trigger == "PING" else "trigger_not_handled", trigger, raw)
    payload = body.get("payload", body)
    if not isinstance(payload, dict):
        return _aside("payload_not_an_object", trigger, raw)
    try:
        return _notice(kind, payload) if kind is not None else _no_show(payload, body.get("createdAt"), raw)
    except Lacking as lacking:
        return _aside(lacking.code, trigger, raw)


def _notice(kind: NoticeKind, payload: dict[str, Any]) -> BookingNotice:
    uid = text(payload.get("uid"), LONGEST_ID)
    if uid is None:
        raise Lacking("uid")
    starts_at, ends_at = time(payload.get("startTime"), "start_time"), time(payload.get("endTime"), "end_time")
    if ends_at <= starts_at:
        raise Lacking("end_time")
    first = _first_attendee(payload)
    attendee = _attendee(first, payload)
    if attendee.email is None:
        raise Lacking("attendee_email")
    seated = isinstance(payload.get("seatsPerTimeSlot"), int) and not isinstance(payload.get("seatsPerTimeSlot"), bool)
    key = partial(booking_key, email=attendee.email, seated=seated)
    previous = text(payload.get("rescheduleUid"), LONGEST_ID)
    root = _root_uid(payload) if previous is not None and kind is not NoticeKind.CANCELLED else None
    organizer = fields(payload.get("organizer"))
    return BookingNotice(
        kind=kind,
        uid=uid,
        key=key(uid),
        delivery_key=delivery_key(kind, uid, starts_at, attendee.email),
        starts_at=starts_at,
        ends_at=ends_at,
        time_zone=zone(organizer, first),
        resource=resource(organizer.get("id"), payload.get("eventTypeId")),
        title=shown_name(payload.get("eventTitle")) or shown_name(payload.get("type")),
        attendee=attendee,
        previous_key=key(previous) if previous is not None and previous != uid else None,
        root_key=key(root) if root is not None and root != uid else None,
        sequence=whole_number(payload.get("iCalSequence")),
        reason=_reason(payload.get("cancellationReason")) if kind is NoticeKind.CANCELLED else None,
        exclusive=not seated,
        effect_key=effect_of(payload),
    )


def _no_show(payload: dict[str, Any], said_at: Any, raw: bytes) -> NoShowNotice:
    uid = text(payload.get("bookingUid"), LONGEST_ID)
    if uid is None:
        raise Lacking("booking_uid")
    attendees = payload.get("attendees")
    guests = [fields(one) for one in attendees[:_MOST_GUESTS]] if isinstance(attendees, list) else []
    told = [(normal_email(guest.get("email")), guest.get("noShow")) for guest in guests]
    missing = {email: marked for email, marked in told if email is not None and isinstance(marked, bool)}
    if not missing:
        raise Lacking("attendees")
    return NoShowNotice(uid, missing, None if said_at is None else time(said_at, "created_at"), _raw_key(raw))


def _reason(value: Any) -> str | None:
    return shown_name(value[:LONGEST_REASON]) or None if isinstance(value, str) else None


def _aside(reason: str, trigger: str, raw: bytes) -> SetAside:
    return SetAside(reason, trigger, _raw_key(raw))


def _raw_key(raw: bytes) -> str:
    return "raw|" + hashlib.sha256(raw).hexdigest()


def _root_uid(payload: dict[str, Any]) -> str | None:
    """The first booking of a reschedule chain: Cal.com keeps its uid in ``iCalUID``. A series may share one, so not there."""
    ical = text(payload.get("iCalUID"), LONGEST_ID)
    if ical is None or not ical.endswith(_ROOT_SUFFIX) or payload.get("recurringEvent"):
        return None
    return ical.removesuffix(_ROOT_SUFFIX) or None


def _first_attendee(payload: dict[str, Any]) -> dict[str, Any]:
    attendees = payload.get("attendees")
    return fields(attendees[0]) if isinstance(attendees, list) and attendees else {}


def _attendee(first: dict[str, Any], payload: dict[str, Any]) -> AttendeeDetails:
    responses = fields(payload.get("responses"))
    phones = (
        first.get("phoneNumber"),
        _answer(responses, "attendeePhoneNumber"),
        fields(_answer(responses, "location")).get("optionValue"),
    )
    return AttendeeDetails(
        name=shown_name(first.get("name")) or shown_name(_answer(responses, "name")),
        email=normal_email(first.get("email")) or normal_email(_answer(responses, "email")),
        phone=next((number for number in map(normal_phone, phones) if number), None),
    )


def _answer(responses: dict[str, Any], field: str) -> Any:
    """The answer to a booking question, by the field's slug; labels vary between events."""
    answer = responses.get(field)
    return answer.get("value") if isinstance(answer, dict) else answer
