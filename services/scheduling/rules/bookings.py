"""What a notice from an outside calendar means for what we know, in whatever order notices arrive.

Cal.com promises neither order nor single delivery. An appointment's identity over a chain of moves is its iCalendar
UID, else the chain of booking uids; what is newer is told by the iCalendar sequence, else by the time of sending. A
cancelled appointment never comes back by a late notice.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum


class Trigger(StrEnum):
    CREATED = "created"
    RESCHEDULED = "rescheduled"
    CANCELLED = "cancelled"


@dataclass(frozen=True)
class BookingNotice:
    """What an outside calendar told, in our words. Times are aware UTC."""

    trigger: Trigger
    uid: str
    sent_at: datetime
    starts_at: datetime
    ends_at: datetime
    resource: str
    title: str
    time_zone: str
    attendee_name: str
    attendee_email: str | None
    attendee_phone: str | None
    previous_uid: str | None = None
    chain: str | None = None
    sequence: int | None = None
    reason: str | None = None

    @property
    def external_id(self) -> str:
        """The identity of the appointment over moves."""
        return self.chain or self.previous_uid or self.uid

    @property
    def delivery_key(self) -> str:
        """The same notice sent again, also through a second subscription, has the same key."""
        return "|".join((self.trigger, self.uid, self.starts_at.isoformat(), self.attendee_email or ""))


@dataclass(frozen=True)
class Known:
    """The part of an appointment that decides what a notice means."""

    uid: str | None
    sequence: int | None
    sent_at: datetime | None
    cancelled: bool
    starts_at: datetime
    ends_at: datetime


class Meaning(StrEnum):
    NEW = "new"
    NEW_CANCELLED = "new_cancelled"
    MOVED = "moved"
    CANCELLED = "cancelled"
    STALE = "stale"


def meaning_of(notice: BookingNotice, known: Known | None) -> Meaning:
    """What to do about a notice. Total: every combination has an answer."""
    if known is None:
        return Meaning.NEW_CANCELLED if notice.trigger is Trigger.CANCELLED else Meaning.NEW
    if notice.trigger is Trigger.CREATED:
        return Meaning.STALE
    newer = _is_newer(notice, known)
    if notice.trigger is Trigger.CANCELLED:
        return Meaning.CANCELLED if not known.cancelled and (newer or notice.uid == known.uid) else Meaning.STALE
    unchanged = (notice.starts_at, notice.ends_at) == (known.starts_at, known.ends_at) and not known.cancelled
    return Meaning.MOVED if newer and not unchanged else Meaning.STALE


def _is_newer(notice: BookingNotice, known: Known) -> bool:
    if notice.sequence is not None and known.sequence is not None and notice.sequence != known.sequence:
        return notice.sequence > known.sequence
    return known.sent_at is None or notice.sent_at > known.sent_at


def normal_email(text: str | None) -> str | None:
    """Lower-cased, as the patient's record holds it."""
    return text.strip().lower() or None if text else None


def normal_phone(text: str | None) -> str | None:
    """E.164, or None for what is not an international number."""
    digits = re.sub(r"[\s().\-/]", "", text or "")
    return digits if re.fullmatch(r"\+[1-9][0-9]{6,14}", digits) else None


def matched_patient(by_email: list[str], by_phone: list[str]) -> str | None:
    """The one patient an attendee is; None when nobody or more than one fits."""
    if len(by_email) == 1:
        return by_email[0]
    if not by_email and len(by_phone) == 1:
        return by_phone[0]
    both = [patient for patient in by_email if patient in by_phone]
    return both[0] if len(both) == 1 else None
