"""Cal.com's webhook bodies in our words. Vendor vocabulary stops here; nothing is stored and nothing is verified here.

Tolerant on purpose: only what a booking cannot do without is required, everything else may be missing, null or of another
type. Field names and their traps: Cal.com's webhook builders of version 2021-10-20.
"""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime
from typing import Any

import orjson

from services.scheduling.rules.appointments import CALCOM_PREFIX, known_time_zone
from services.scheduling.rules.attendees import AttendeeDetails, normal_email, normal_phone, shown_name
from services.scheduling.rules.notices import BookingNotice, NoticeKind, SetAside

SIGNATURE_HEADER = "x-cal-signature-256"
PING = "ping"
"""Cal.com's "send a test" button: signed, about nothing."""
_KINDS = {"BOOKING_CREATED": NoticeKind.CREATED, "BOOKING_RESCHEDULED": NoticeKind.MOVED, "BOOKING_CANCELLED": NoticeKind.CANCELLED}
_ROOT_SUFFIX = "@Cal.com"
_LONGEST_ID = 200
_LONGEST_REASON = 2000


def read_notice(raw: bytes) -> BookingNotice | SetAside:
    """Total: whatever the bytes are, the answer says what they are. The signature must have been checked before."""
    try:
        body = orjson.loads(raw)
    except orjson.JSONDecodeError:
        return _aside("not_json", "", raw)
    if not isinstance(body, dict):
        return _aside("not_an_object", "", raw)
    trigger = _text(body.get("triggerEvent"), 100) or ""
    if not trigger:
        return _aside("trigger_missing", "", raw)
    kind = _KINDS.get(trigger)
    if kind is None:
        return _aside(PING if trigger == "PING" else "trigger_not_handled", trigger, raw)
    payload = body.get("payload", body)
    if not isinstance(payload, dict):
        return _aside("payload_not_an_object", trigger, raw)
    try:
        return _notice(kind, trigger, payload)
    except _Lacking as lacking:
        return _aside(lacking.code, trigger, raw)


class _Lacking(Exception):
    """Something a booking cannot do without is missing or unreadable."""

    def __init__(self, field: str) -> None:
        super().__init__(field)
        self.code = f"{field}_unreadable"


def _notice(kind: NoticeKind, trigger: str, payload: dict[str, Any]) -> BookingNotice:
    uid = _text(payload.get("uid"), _LONGEST_ID)
    if uid is None:
        raise _Lacking("uid")
    starts_at, ends_at = _time(payload.get("startTime"), "start_time"), _time(payload.get("endTime"), "end_time")
    if ends_at <= starts_at:
        raise _Lacking("end_time")
    first = _first_attendee(payload)
    attendee = _attendee(first, payload)
    if attendee.email is None:
        raise _Lacking("attendee_email")
    seated = isinstance(payload.get("seatsPerTimeSlot"), int) and not isinstance(payload.get("seatsPerTimeSlot"), bool)
    seat = f"#{hashlib.sha256(attendee.email.encode()).hexdigest()[:16]}" if seated else ""
    previous = _text(payload.get("rescheduleUid"), _LONGEST_ID)
    root = _root_uid(payload) if previous is not None and kind is not NoticeKind.CANCELLED else None
    organizer = _object(payload.get("organizer"))
    return BookingNotice(
        kind=kind,
        uid=uid,
        key=uid + seat,
        delivery_key=f"{trigger}|{uid}|{starts_at.isoformat()}|{attendee.email}",
        starts_at=starts_at,
        ends_at=ends_at,
        time_zone=_zone(organizer, first),
        resource=_resource(organizer, payload),
        title=shown_name(payload.get("eventTitle")) or shown_name(payload.get("type")),
        attendee=attendee,
        previous_key=previous + seat if previous is not None and previous != uid else None,
        root_key=root + seat if root is not None and root != uid else None,
        sequence=_whole_number(payload.get("iCalSequence")),
        reason=_reason(payload.get("cancellationReason")) if kind is NoticeKind.CANCELLED else None,
        exclusive=not seated,
    )


def _aside(reason: str, trigger: str, raw: bytes) -> SetAside:
    return SetAside(reason, trigger, "raw|" + hashlib.sha256(raw).hexdigest())


def _root_uid(payload: dict[str, Any]) -> str | None:
    """The first booking of a reschedule chain: Cal.com keeps its uid in ``iCalUID``. A series may share one, so not there."""
    ical = _text(payload.get("iCalUID"), _LONGEST_ID)
    if ical is None or not ical.endswith(_ROOT_SUFFIX) or payload.get("recurringEvent"):
        return None
    return ical.removesuffix(_ROOT_SUFFIX) or None


def _first_attendee(payload: dict[str, Any]) -> dict[str, Any]:
    attendees = payload.get("attendees")
    return _object(attendees[0]) if isinstance(attendees, list) and attendees else {}


def _attendee(first: dict[str, Any], payload: dict[str, Any]) -> AttendeeDetails:
    responses = _object(payload.get("responses"))
    phones = (
        first.get("phoneNumber"),
        _answer(responses, "attendeePhoneNumber"),
        _object(_answer(responses, "location")).get("optionValue"),
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


def _resource(organizer: dict[str, Any], payload: dict[str, Any]) -> str:
    """Whose time is taken: the host's when Cal.com names one, else the event type's."""
    for kind, value in (("host", organizer.get("id")), ("event-type", payload.get("eventTypeId"))):
        number = _whole_number(value)
        if number is not None:
            return f"{CALCOM_PREFIX}{kind}/{number}"
    return f"{CALCOM_PREFIX}unknown"


def _zone(*people: dict[str, Any]) -> str:
    """Where the appointment is: the host's zone, else the attendee's, else UTC."""
    for person in people:
        name = person.get("timeZone")
        if isinstance(name, str) and known_time_zone(name):
            return name
    return "UTC"


def _time(value: Any, field: str) -> datetime:
    try:
        at = datetime.fromisoformat(value)
    except (TypeError, ValueError):
        raise _Lacking(field) from None
    if at.tzinfo is None:
        raise _Lacking(field)
    try:
        return at.astimezone(UTC)
    except OverflowError:
        raise _Lacking(field) from None


def _text(value: Any, longest: int) -> str | None:
    if not isinstance(value, str) or not 0 < len(value) <= longest or not value.isprintable():
        return None
    return value


def _reason(value: Any) -> str | None:
    return shown_name(value[:_LONGEST_REASON]) or None if isinstance(value, str) else None


def _whole_number(value: Any) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**31 else None


def _object(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}
