"""Take Cal.com's booking notices: each once, in any order, and never lose one because two of theirs collide.

The hot path of the house: raw statements, one round trip each. If we die before the commit nothing happened and Cal.com
saw no answer; after it the notice's mark makes a repetition harmless.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, TypeVar
from uuid import UUID

import asyncpg

from libs.common.ids import derived_id
from libs.common.logging import get_logger
from libs.common.work import Tx
from libs.contracts.scheduling import AppointmentBooked, AppointmentCancelled, AppointmentRescheduled, AppointmentSource, AppointmentStatus
from services.scheduling.model import Appointment
from services.scheduling.queries import appointment_from, lock_keys
from services.scheduling.rules.attendees import Candidate, match
from services.scheduling.rules.notices import BookingNotice, Decision, Known, SetAside, Verdict, classify

log = get_logger()

T = TypeVar("T")
TRIES = 4
SUPERSEDED = "superseded by another booking"

# The locks first: whoever held them has committed, and the statement after this one sees what they wrote.
_LOCK_AND_MARK = """
WITH locked AS MATERIALIZED (SELECT pg_advisory_xact_lock(key) FROM unnest($1::bigint[]) AS key)
INSERT INTO inbox (event_id) SELECT $2 FROM (SELECT count(*) FROM locked) AS all_held ON CONFLICT DO NOTHING RETURNING true
"""
_READ = """
SELECT b.uid, b.appointment_id AS id, b.uid <> a.external_key AS superseded, a.status, a.starts_at, a.ends_at, a.external_sequence AS sequence,
       NULL::text AS name, NULL::text AS email, NULL::text AS phone
FROM external_booking b JOIN appointment a ON a.practice_id = b.practice_id AND a.id = b.appointment_id
WHERE b.practice_id = $1 AND b.uid = ANY($2::text[])
UNION ALL
SELECT NULL, c.patient_id, NULL, NULL, NULL, NULL, NULL, c.name, c.email, c.phone
FROM (SELECT patient_id, name, email, phone FROM contact WHERE practice_id = $1 AND email = $3
      UNION SELECT patient_id, name, email, phone FROM contact WHERE practice_id = $1 AND phone = $4 LIMIT 50) c
"""
_INSERT = """
WITH booked AS (
  INSERT INTO appointment (practice_id, id, version, status, source, resource, title, starts_at, ends_at, time_zone, patient_id,
                           attendee_name, attendee_email, attendee_phone, external_id, external_key, external_sequence, exclusive,
                           double_booked, created_at, updated_at)
  VALUES ($1, $2, 1, $3, 'calcom', $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $18)
  ON CONFLICT DO NOTHING RETURNING id
), linked AS (
  INSERT INTO external_booking (practice_id, uid, appointment_id) SELECT $1, l.uid, booked.id FROM booked, unnest($19::text[]) AS l (uid)
)
SELECT true FROM booked
"""
_LINK = """
INSERT INTO external_booking (practice_id, uid, appointment_id) SELECT $1, l.uid, $2 FROM unnest($3::text[]) AS l (uid)
ON CONFLICT (practice_id, uid) DO UPDATE SET appointment_id = excluded.appointment_id
"""
_MOVE = """
UPDATE appointment SET version = version + 1, status = 'booked', resource = $3, title = $4, starts_at = $5, ends_at = $6, time_zone = $7,
                       external_id = $8, external_key = $9, external_sequence = coalesce($10, external_sequence), exclusive = $11,
                       double_booked = $12, unmarked_status = NULL, updated_at = $13
WHERE practice_id = $1 AND id = $2 RETURNING *
"""
_CANCEL = """
UPDATE appointment SET version = version + 1, status = 'cancelled', external_id = coalesce($3, external_id),
                       external_key = coalesce($4, external_key), unmarked_status = NULL, updated_at = $5
WHERE practice_id = $1 AND id = $2 AND status <> 'cancelled' RETURNING *
"""
_SET_ASIDE = """
INSERT INTO set_aside_notice (practice_id, id, received_at, source, trigger, reason, body) VALUES ($1, $2, $3, $4, $5, $6, $7)
ON CONFLICT DO NOTHING
"""


async def again_when_aborted(attempt: Callable[[], Awaitable[T]]) -> T:
    """Two moves that want each other's slot wait in a circle: the database aborts one, nothing of it happened, so it is repeated."""
    for _ in range(TRIES - 1):
        try:
            return await attempt()
        except (asyncpg.DeadlockDetectedError, asyncpg.SerializationError):
            log.info("calcom.again")
    return await attempt()


async def take_notice(notice: BookingNotice, tx: Tx) -> Verdict:
    """Apply one notice and say what changed; a repetition, a late or an overtaken one changes nothing."""
    keys = [key for key in (notice.key, notice.previous_key, notice.root_key) if key is not None]
    locks = lock_keys(tx.practice_id, bookings=keys, contacts=(notice.attendee.email, notice.attendee.phone))
    if await tx.value(_LOCK_AND_MARK, locks, derived_id("calcom", tx.practice_id, notice.delivery_key)) is None:
        return Verdict.DUPLICATE
    rows = await tx.rows(_READ, tx.practice_id, keys, notice.attendee.email, notice.attendee.phone)
    decision = classify(notice, {row["uid"]: _known(row) for row in rows if row["uid"] is not None})
    await _apply(decision, notice, rows, tx)
    return decision.verdict


async def set_aside(source: str, notice: SetAside, raw: bytes, tx: Tx) -> None:
    """Keep a signed body nobody acts upon yet, once: nothing a practice was told is thrown away."""
    log.info("notice.set_aside", source=source, reason=notice.reason, practice_id=str(tx.practice_id))
    kept_as = derived_id(source, tx.practice_id, notice.delivery_key)
    await tx.execute(_SET_ASIDE, tx.practice_id, kept_as, tx.now, source, notice.trigger, notice.reason, raw)


def _known(row: asyncpg.Record) -> Known:
    cancelled = row["status"] == AppointmentStatus.CANCELLED
    return Known(row["id"], row["superseded"], cancelled, row["starts_at"], row["ends_at"], row["sequence"])


async def _apply(decision: Decision, notice: BookingNotice, rows: list[asyncpg.Record], tx: Tx) -> None:
    appointment_id = decision.appointment_id
    match decision.verdict:
        case Verdict.NEW | Verdict.GONE:
            candidates = [Candidate(row["id"], row["name"], row["email"], row["phone"]) for row in rows if row["uid"] is None]
            await _new(decision, notice, notice.patient_id or match(notice.attendee, candidates), tx)
        case Verdict.MOVED:
            assert appointment_id is not None
            before = next(row for row in rows if row["uid"] is not None and row["id"] == appointment_id)
            await _link(decision, tx)
            await _move(appointment_id, notice, before, tx)
        case Verdict.CANCELLED:
            assert appointment_id is not None
            await _link(decision, tx)
            await _cancel(appointment_id, notice.reason, notice if decision.current else None, tx)
        case Verdict.STALE | Verdict.DUPLICATE:
            await _link(decision, tx)
    if decision.absorb is not None:
        await _cancel(decision.absorb, SUPERSEDED, None, tx)


async def _new(decision: Decision, notice: BookingNotice, patient_id: UUID | None, tx: Tx) -> None:
    gone = decision.verdict is Verdict.GONE
    appointment = Appointment(
        practice_id=tx.practice_id, id=tx.new_id(), version=1, source=AppointmentSource.CALCOM.value,
        status=(AppointmentStatus.CANCELLED if gone else AppointmentStatus.BOOKED).value, resource=notice.resource, title=notice.title,
        starts_at=notice.starts_at, ends_at=notice.ends_at, time_zone=notice.time_zone, patient_id=patient_id,
        attendee_name=notice.attendee.name, attendee_email=notice.attendee.email, attendee_phone=notice.attendee.phone,
        external_id=notice.uid, external_key=notice.key, external_sequence=notice.sequence, exclusive=notice.exclusive, double_booked=False,
        created_at=tx.now, updated_at=tx.now,
    )  # fmt: skip
    keys = [*decision.older, notice.key]
    if not await _insert(appointment, keys, tx):
        # Cal.com accepted both: what collides is kept and flagged, outside the exclusion.
        appointment.exclusive, appointment.double_booked = False, True
        await _insert(appointment, keys, tx)
    if gone:
        tx.emit(AppointmentCancelled(**appointment.state(), reason=notice.reason))
    else:
        tx.emit(AppointmentBooked(**appointment.state(), attendee=appointment.attendee, double_booked=appointment.double_booked))


async def _insert(a: Appointment, keys: list[str], tx: Tx) -> bool:
    """False when another appointment has the time on that resource."""
    inserted = await tx.value(
        _INSERT, a.practice_id, a.id, a.status, a.resource, a.title, a.starts_at, a.ends_at, a.time_zone, a.patient_id, a.attendee_name,
        a.attendee_email, a.attendee_phone, a.external_id, a.external_key, a.external_sequence, a.exclusive, a.double_booked, a.created_at,
        keys,
    )  # fmt: skip
    return inserted is True


async def _link(decision: Decision, tx: Tx) -> None:
    """Remember which keys lead to the appointment. The one that is not its own key is superseded."""
    keys = [key for key in (*decision.older, decision.current) if key is not None]
    if keys:
        await tx.execute(_LINK, tx.practice_id, decision.appointment_id, keys)


async def _move(appointment_id: UUID, notice: BookingNotice, before: asyncpg.Record, tx: Tx) -> None:
    def values(exclusive: bool, double_booked: bool) -> tuple[Any, ...]:
        return (
            tx.practice_id, appointment_id, notice.resource, notice.title, notice.starts_at, notice.ends_at, notice.time_zone, notice.uid,
            notice.key, notice.sequence, exclusive, double_booked, tx.now,
        )  # fmt: skip

    await tx.execute("SAVEPOINT move")
    try:
        row = await tx.row(_MOVE, *values(notice.exclusive, False))
    except asyncpg.ExclusionViolationError:
        await tx.execute("ROLLBACK TO SAVEPOINT move")
        row = await tx.row(_MOVE, *values(False, True))
    assert row is not None
    moved = appointment_from(row)
    tx.emit(AppointmentRescheduled(**moved.state(), previous_starts_at=before["starts_at"], previous_ends_at=before["ends_at"]))


async def _cancel(appointment_id: UUID, reason: str | None, by: BookingNotice | None, tx: Tx) -> None:
    """``by`` is the booking the appointment has become, when it is another one than before."""
    uid, key = (by.uid, by.key) if by is not None else (None, None)
    row = await tx.row(_CANCEL, tx.practice_id, appointment_id, uid, key, tx.now)
    if row is not None:
        tx.emit(AppointmentCancelled(**appointment_from(row).state(), reason=reason))
