"""What Cal.com's bookings look like: in its API v2, in the API before, in webhooks; and which requests it would not take."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Any
from zoneinfo import available_timezones

from starlette.datastructures import QueryParams

_PERSON = ("name", "email", "timeZone")
_EMAIL = re.compile(r"[^\s@]+@[^\s@]+\.[^\s@]+")


def problem(body: dict[str, Any], event_type: dict[str, Any] | None) -> str | None:
    """What the real API would say about a request to book; None when it would take it, or does not know the event type."""
    attendee, metadata = body.get("attendee"), body.get("metadata", {})
    if not isinstance(attendee, dict) or not all(isinstance(attendee.get(name), str) and attendee[name] for name in _PERSON):
        return "attendee.name, attendee.email and attendee.timeZone are needed"
    if not _EMAIL.fullmatch(attendee["email"]):
        return "attendee.email must be an email"
    if attendee["timeZone"] not in available_timezones():
        return "attendee.timeZone must be a valid IANA time zone"
    start = read_time(body.get("start"))
    if start is None or not str(body["start"]).endswith("Z"):
        return "start must be a valid ISO 8601 datestring in UTC"
    if event_type is None:
        return None
    if event_type["id"] is None:
        return "eventTypeId must be a number"
    if "lengthInMinutes" in body and (len(event_type["lengths"]) < 2 or body["lengthInMinutes"] not in event_type["lengths"]):
        return "Can't specify 'lengthInMinutes' because event type does not have multiple possible lengths"
    if not isinstance(metadata, dict) or len(metadata) > 50:
        return "metadata must be an object of at most 50 keys"
    if any(len(key) > 40 or not isinstance(value, str) or len(value) > 500 for key, value in metadata.items()):
        return "metadata keys have at most 40 characters, values are strings of at most 500"
    return "Attempting to book a meeting in the past." if start < datetime.now(UTC) else None


def is_asked_for(booking: dict[str, Any], asked: QueryParams) -> bool:
    """The filters of the list that we use."""
    by_time = (("afterUpdatedAt", "updatedAt"), ("afterCreatedAt", "createdAt"))
    statuses = asked["status"].split(",") if "status" in asked else None
    return (
        all(name not in asked or _later(booking[field], asked[name]) for name, field in by_time)
        and asked.get("attendeeEmail", booking["attendee"]["email"]).lower() == booking["attendee"]["email"].lower()
        and (statuses is None or _listed_as(booking) in statuses)
    )


def _later(moment: str, than: str) -> bool:
    limit, at = read_time(than), read_time(moment)
    return limit is not None and at is not None and at >= limit


def _listed_as(booking: dict[str, Any]) -> str:
    if booking["status"] != "accepted":
        return {"pending": "unconfirmed"}.get(booking["status"], "cancelled")
    return "past" if booking["end"] < utc_text(datetime.now(UTC)) else "upcoming"


def older_view_of(booking: dict[str, Any]) -> dict[str, Any]:
    """What is said without the header of the version, or with another: the shape before."""
    return {
        "id": booking["id"], "uid": booking["uid"], "startTime": booking["start"], "endTime": booking["end"],
        "status": booking["status"].upper(), "eventTypeId": booking["eventTypeId"], "attendees": [booking["attendee"]],
    }  # fmt: skip


def view_of(booking: dict[str, Any]) -> dict[str, Any]:
    """What the API shows of a booking."""
    attendee = booking["attendee"]
    person = {**attendee, "displayEmail": attendee["email"], "absent": booking.get("no_show", False)}
    if booking["seats"]:
        person["seatUid"] = f"seat-{booking['uid']}"
    shown = {
        "id": booking["id"], "uid": booking["uid"], "title": f"First consult between Dr Ada Kim and {attendee['name']}", "description": "",
        "hosts": [{"id": booking["host"], "name": "Dr Ada Kim", "email": "ada@practice.example", "timeZone": "Europe/Berlin"}],
        "status": booking["status"], "start": _milliseconds(booking["start"]), "end": _milliseconds(booking["end"]),
        "duration": booking["length"], "eventTypeId": booking["eventTypeId"],
        "eventType": {"id": booking["eventTypeId"], "slug": "first-consult-30"}, "attendees": [person], "metadata": booking["metadata"],
        "absentHost": False, "icsUid": booking["icalUid"], "createdAt": booking["createdAt"], "updatedAt": booking["updatedAt"],
        "guests": [], "bookingFieldsResponses": {},
    }  # fmt: skip
    optional = {"rescheduledFromUid": booking["previous"], "rescheduledToUid": booking.get("movedTo")}
    if booking["status"] == "cancelled":
        optional["cancellationReason"] = booking.get("reason", "")
    return shown | {name: value for name, value in optional.items() if value is not None}


def payload_of(booking: dict[str, Any], previous: dict[str, Any] | None) -> dict[str, Any]:
    """What a webhook tells of a booking; ``previous`` is the one it took the place of."""
    attendee = booking["attendee"]
    payload: dict[str, Any] = {
        "bookerUrl": "https://app.cal.com", "type": "first-consult-30", "title": f"First consult with {attendee['name']}",
        "startTime": booking["start"], "endTime": booking["end"], "length": booking["length"], "eventTypeId": booking["eventTypeId"],
        "organizer": {
            "id": booking["host"], "name": "Dr Ada Kim", "email": "ada@practice.example",
            "timeZone": "Europe/Berlin", "language": {"locale": "en"}, "timeFormat": "h:mma", "utcOffset": 60,
        },
        "attendees": [{**attendee, "language": {"locale": "de"}, "firstName": "", "lastName": "", "utcOffset": 60}],
        "responses": {"name": {"label": "your_name", "value": attendee["name"], "isHidden": False}},
        "uid": booking["uid"], "bookingId": booking["id"], "iCalUID": booking["icalUid"], "iCalSequence": booking["sequence"],
        "seatsPerTimeSlot": booking["seats"], "metadata": booking["metadata"], "status": booking["status"].upper(),
    }  # fmt: skip
    if previous is not None:
        payload |= {
            "rescheduleUid": previous["uid"], "rescheduleId": previous["id"], "rescheduleStartTime": previous["start"],
            "rescheduleEndTime": previous["end"],
        }  # fmt: skip
    if booking["status"] == "cancelled":
        payload |= {"cancellationReason": booking.get("reason", ""), "requestReschedule": False}
    return payload


def no_show_payload_of(booking: dict[str, Any]) -> dict[str, Any]:
    """What a webhook tells of a guest who is marked as no-show, or no more."""
    email, marked = booking["attendee"]["email"], booking["no_show"]
    message = f"{email} {'marked' if marked else 'unmarked'} as no-show"
    return {
        "message": message, "attendees": [{"email": email, "noShow": marked}], "bookingUid": booking["uid"], "bookingId": booking["id"],
    }  # fmt: skip


def read_time(text: Any) -> datetime | None:
    try:
        moment = datetime.fromisoformat(text)
    except (TypeError, ValueError):
        return None
    return moment.astimezone(UTC) if moment.tzinfo else None


def utc_text(moment: datetime) -> str:
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _milliseconds(text: str) -> str:
    return text.removesuffix("Z") + ".000Z"


def now_text() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
