"""What a Cal.com notice means for what we know: new, moved, cancelled, stale or seen before. Pure.

Cal.com promises neither order nor a single delivery, and a reschedule is a *new* booking that points back to the old
one. So every booking key we ever heard of is remembered with the appointment it belongs to, and whether a later booking
took its place. Whatever the order of arrival, one chain of bookings ends as one appointment in its last state.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from uuid import UUID

from services.scheduling.rules.attendees import AttendeeDetails


class NoticeKind(StrEnum):
    CREATED = "created"
    MOVED = "moved"
    CANCELLED = "cancelled"


_EVENTS = {NoticeKind.CREATED: "BOOKING_CREATED", NoticeKind.MOVED: "BOOKING_RESCHEDULED", NoticeKind.CANCELLED: "BOOKING_CANCELLED"}


def delivery_key(kind: NoticeKind, uid: str, starts_at: datetime, email: str | None) -> str:
    """The same for every telling of one event, be it a webhook or what we heard when we asked."""
    return f"{_EVENTS[kind]}|{uid}|{starts_at.isoformat()}|{email}"


def booking_key(uid: str, email: str, *, seated: bool) -> str:
    """The booking's uid; a seat of a group booking shares that with the others and has a key of its own."""
    return f"{uid}#{hashlib.sha256(email.encode()).hexdigest()[:16]}" if seated else uid


@dataclass(frozen=True, slots=True)
class BookingNotice:
    """One booking event in our words. Times are aware UTC.

    ``key`` names the booking (a seat of a group booking has its own), ``previous_key`` the booking it replaces,
    ``root_key`` the first booking of its chain when the notice tells. ``delivery_key`` is the same for every delivery
    of the same event. ``exclusive`` is False for a seat: seats share their slot on purpose. ``effect_key`` is what the booking
    carries of ours when we may have asked for it; anybody can write it there, so it proves nothing. ``patient_id`` is known
    only when we asked.
    """

    kind: NoticeKind
    uid: str
    key: str
    delivery_key: str
    starts_at: datetime
    ends_at: datetime
    time_zone: str
    resource: str
    title: str
    attendee: AttendeeDetails
    previous_key: str | None = None
    root_key: str | None = None
    sequence: int | None = None
    reason: str | None = None
    exclusive: bool = True
    effect_key: UUID | None = None
    patient_id: UUID | None = None


@dataclass(frozen=True, slots=True)
class SetAside:
    """A body we cannot, or do not yet, act upon. ``reason`` is a stable code, ``trigger`` the sender's name for it when readable."""

    reason: str
    trigger: str
    delivery_key: str


@dataclass(frozen=True, slots=True)
class Known:
    """What is remembered of a booking key. ``superseded``: a later booking of the same chain took its place."""

    appointment_id: UUID
    superseded: bool
    cancelled: bool
    starts_at: datetime
    ends_at: datetime
    sequence: int | None = None


class Verdict(StrEnum):
    NEW = "new"
    MOVED = "moved"
    CANCELLED = "cancelled"
    GONE = "gone"
    """Cancelled before we heard of it: remembered as cancelled, never announced as booked."""
    STALE = "stale"
    DUPLICATE = "duplicate"


@dataclass(frozen=True, slots=True)
class Decision:
    """What to do. ``appointment_id`` is None for a new one.

    ``current`` becomes the appointment's booking key, ``older`` are remembered as replaced; ``absorb`` is another
    appointment that turned out to be an earlier state of this one, and is cancelled.
    """

    verdict: Verdict
    appointment_id: UUID | None = None
    current: str | None = None
    older: tuple[str, ...] = ()
    absorb: UUID | None = None


def classify(notice: BookingNotice, known: Mapping[str, Known]) -> Decision:
    """Decide about a notice; ``known`` holds what is remembered of its keys. Total: every notice has a verdict."""
    here = known.get(notice.key)
    before = _predecessor(notice, known)
    older = tuple(key for key in dict.fromkeys((notice.previous_key, notice.root_key)) if key and key != notice.key)
    if here is not None:
        return _about_known(notice, here, before, older)
    if notice.kind is NoticeKind.CANCELLED:
        return _cancelled_unheard_of(notice, before, older)
    if before is None or before.cancelled:
        # After a cancellation with "please pick another time" the guest's next booking is a new appointment.
        fresh = tuple(key for key in older if key not in known)
        return Decision(Verdict.NEW, None, notice.key, fresh)
    if not before.superseded:
        return Decision(Verdict.MOVED, before.appointment_id, notice.key, older)
    return _beside_a_later_one(notice, before, older)


def _predecessor(notice: BookingNotice, known: Mapping[str, Known]) -> Known | None:
    """What this booking replaces: the booking it names, else the first of its chain."""
    for key in (notice.previous_key, notice.root_key):
        if key is not None and key != notice.key and key in known:
            return known[key]
    return None


def _about_known(notice: BookingNotice, here: Known, before: Known | None, older: tuple[str, ...]) -> Decision:
    apart = before is not None and before.appointment_id != here.appointment_id and not before.cancelled
    absorb = before.appointment_id if before is not None and apart else None
    links = older if before is None or before.appointment_id == here.appointment_id or apart else ()
    if notice.kind is NoticeKind.CANCELLED and not here.superseded:
        verdict = Verdict.DUPLICATE if here.cancelled else Verdict.CANCELLED
        return Decision(verdict, here.appointment_id, None, links, absorb)
    if here.superseded or here.cancelled:
        return Decision(Verdict.STALE, here.appointment_id, None, links, absorb)
    if (notice.starts_at, notice.ends_at) == (here.starts_at, here.ends_at):
        return Decision(Verdict.DUPLICATE, here.appointment_id, None, links, absorb)
    verdict = Verdict.MOVED if _later(notice.sequence, here.sequence) else Verdict.STALE
    return Decision(verdict, here.appointment_id, notice.key if verdict is Verdict.MOVED else None, links, absorb)


def _cancelled_unheard_of(notice: BookingNotice, before: Known | None, older: tuple[str, ...]) -> Decision:
    if notice.previous_key is not None and before is not None and not before.cancelled and not before.superseded:
        return Decision(Verdict.CANCELLED, before.appointment_id, notice.key, older)
    return Decision(Verdict.GONE, None, notice.key)


def _beside_a_later_one(notice: BookingNotice, before: Known, older: tuple[str, ...]) -> Decision:
    """The booking it replaces was replaced already: only the sequence can tell which of the two is later."""
    if notice.sequence is None or before.sequence is None:
        return Decision(Verdict.NEW, None, notice.key)
    if notice.sequence > before.sequence:
        return Decision(Verdict.MOVED, before.appointment_id, notice.key, older)
    return Decision(Verdict.STALE, before.appointment_id, None, (*older, notice.key))


def _later(sequence: int | None, than: int | None) -> bool:
    return sequence is not None and than is not None and sequence > than
