"""Bodies as Cal.com sends them (webhook version 2021-10-20), and its signature."""

from __future__ import annotations

import hashlib
import hmac
from typing import Any

SECRET = "a shared secret of 32 characters"


def signature(raw: bytes, secret: str = SECRET) -> str:
    return hmac.new(secret.encode(), raw, hashlib.sha256).hexdigest()


def created(uid: str, *, sent_at: str = "2026-12-01T08:15:30.512Z", **fields: Any) -> dict[str, Any]:
    payload = {
        "type": "first-consult-30", "title": "First consult between Dr Ada Kim and Jonas Berg", "eventTitle": "First consult",
        "startTime": "2026-12-10T09:00:00Z", "endTime": "2026-12-10T09:30:00Z", "length": 30,
        "organizer": {"id": 5, "name": "Dr Ada Kim", "email": "ada@clinic.example", "timeZone": "Europe/Berlin", "timeFormat": "h:mma"},
        "attendees": [
            {"email": "Jonas@Berg.example", "name": "Jonas Berg", "firstName": "Jonas", "lastName": "", "timeZone": "Europe/Berlin",
             "phoneNumber": "+491701234567"}
        ],
        "responses": {
            "name": {"label": "your_name", "value": "Jonas Berg"},
            "email": {"label": "email_address", "value": "jonas@berg.example"},
            "attendeePhoneNumber": {"label": "phone_number", "value": "+491701234567"},
            "location": {"label": "location", "value": {"optionValue": "", "value": "integrations:daily"}},
        },
        "destinationCalendar": None, "eventTypeId": 7, "seatsPerTimeSlot": None, "uid": uid, "iCalUID": f"{uid}@Cal.com",
        "iCalSequence": 0, "bookingId": 91, "metadata": {}, "status": "ACCEPTED", **fields,
    }  # fmt: skip
    return {"triggerEvent": "BOOKING_CREATED", "createdAt": sent_at, "payload": payload}


def moved(uid: str, *, previous: str, root: str | None = None, sequence: int = 1, **fields: Any) -> dict[str, Any]:
    """A reschedule: a new booking that names the old one, and in ``iCalUID`` the first one of the chain."""
    told = {
        "rescheduleUid": previous, "rescheduleId": 91, "rescheduleStartTime": "2026-12-10T09:00:00Z", "rescheduledBy": "jonas@berg.example",
        "iCalUID": f"{root or previous}@Cal.com", "iCalSequence": sequence, **fields,
    }  # fmt: skip
    return {**created(uid, **told), "triggerEvent": "BOOKING_RESCHEDULED"}


def no_show(uid: str, *, marked: bool = True, sent_at: str | None = "2026-03-12T13:20:00.000Z", **guests: bool) -> dict[str, Any]:
    """A host's mark of the usual guest, or of guests by the name before ``@berg.example``."""
    told = [{"email": f"{name}@berg.example", "noShow": said} for name, said in (guests or {"jonas": marked}).items()]
    message = f"{told[0]['email']} {'marked' if told[0]['noShow'] else 'unmarked'} as no-show"
    payload = {"message": message, "attendees": told, "bookingUid": uid, "bookingId": 91}
    return {"triggerEvent": "BOOKING_NO_SHOW_UPDATED", "createdAt": sent_at, "payload": payload}


def cancelled(uid: str, **fields: Any) -> dict[str, Any]:
    told = {"status": "CANCELLED", "cancellationReason": "Feeling better", "requestReschedule": False, "customInputs": None, **fields}
    return {**created(uid, **told), "triggerEvent": "BOOKING_CANCELLED"}
