"""Named selects over appointments, contacts, settings and deliveries; and the locks that make some of them decisive."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from datetime import datetime
from typing import Any
from uuid import UUID

import asyncpg
from sqlalchemy import select, tuple_

from libs.common.telemetry import Cause
from libs.common.work import Tx
from services.scheduling.model import Appointment, Call
from services.scheduling.rules.attendees import AttendeeDetails, Candidate, match

_CANDIDATES = """
SELECT patient_id, name, email, phone FROM contact WHERE practice_id = $1 AND email = $2
UNION SELECT patient_id, name, email, phone FROM contact WHERE practice_id = $1 AND phone = $3 LIMIT 50
"""
_DELIVERIES = """
SELECT d.id, d.event_id, d.event_type, d.state, d.attempts, d.next_at, d.last_status, d.created_at, d.finished_at,
       coalesce((SELECT jsonb_agg(jsonb_build_object('number', a.number, 'at', a.at, 'status', a.status, 'error', a.error,
                                                     'milliseconds', a.milliseconds, 'answer', a.answer) ORDER BY a.number)
                 FROM webhook_attempt a WHERE a.practice_id = d.practice_id AND a.delivery_id = d.id), '[]') AS log
FROM webhook_delivery d
WHERE d.practice_id = $1 AND ($2::timestamptz IS NULL OR (d.created_at, d.id) < ($2, $3)) ORDER BY d.created_at DESC, d.id DESC LIMIT $4
"""

_BOOKING_REQUEST = """
SELECT r.*, s.api_key, e.correlation_id, e.causation_id, e.traceparent FROM booking_request r JOIN effect e USING (practice_id, effect_key)
LEFT JOIN calcom_settings s USING (practice_id) WHERE r.practice_id = $1 AND r.effect_key = $2
"""
_BOOKED_AS = """
SELECT a.* FROM external_booking b JOIN appointment a ON a.practice_id = b.practice_id AND a.id = b.appointment_id
WHERE b.practice_id = $1 AND b.uid = $2
"""

_CAUSE = "SELECT correlation_id, causation_id, traceparent FROM effect WHERE practice_id = $1 AND effect_key = $2"


async def appointment_by_id(appointment_id: UUID, tx: Tx, *, for_update: bool = False) -> Appointment | None:
    query = select(Appointment).where(Appointment.practice_id == tx.practice_id, Appointment.id == appointment_id)
    return (await tx.session.execute(query.with_for_update() if for_update else query)).scalar_one_or_none()


async def appointments_of_bookings(keys: list[str], tx: Tx) -> list[Appointment]:
    """The appointments that bookings of Cal.com are now, by the bookings' keys, held for a change. None of a booking that was replaced."""
    rows = await tx.rows(
        "SELECT appointment_id FROM external_booking WHERE practice_id = $1 AND uid = ANY($2::text[])", tx.practice_id, keys
    )
    ids = [row["appointment_id"] for row in rows]
    query = select(Appointment).where(
        Appointment.practice_id == tx.practice_id, Appointment.id.in_(ids), Appointment.external_key.in_(keys)
    )
    return list((await tx.session.execute(query.order_by(Appointment.id).with_for_update())).scalars())


async def appointments_between(
    tx: Tx,
    *,
    since: datetime | None,
    until: datetime | None,
    patient_id: UUID | None,
    status: str | None,
    after: tuple[str, ...] | None,
    limit: int,
) -> list[Appointment]:
    """By start; one more than ``limit`` when there is more."""
    query = select(Appointment).where(Appointment.practice_id == tx.practice_id)
    if since is not None:
        query = query.where(Appointment.starts_at >= since)
    if until is not None:
        query = query.where(Appointment.starts_at < until)
    if patient_id is not None:
        query = query.where(Appointment.patient_id == patient_id)
    if status is not None:
        query = query.where(Appointment.status == status)
    if after is not None:
        query = query.where(tuple_(Appointment.starts_at, Appointment.id) > (datetime.fromisoformat(after[0]), UUID(after[1])))
    query = query.order_by(Appointment.starts_at, Appointment.id).limit(limit + 1)
    return list((await tx.session.execute(query)).scalars())


async def patient_of(attendee: AttendeeDetails, tx: Tx) -> UUID | None:
    """The one patient an attendee is; None when nobody or several could be meant."""
    rows = await tx.rows(_CANDIDATES, tx.practice_id, attendee.email, attendee.phone)
    return match(attendee, [Candidate(*row) for row in rows])


async def is_contact(patient_id: UUID, tx: Tx) -> bool:
    """Whether the patient is known here. A patient registered a moment ago may not have arrived yet."""
    return await tx.value("SELECT true FROM contact WHERE practice_id = $1 AND patient_id = $2", tx.practice_id, patient_id) is True


async def contact(patient_id: UUID, tx: Tx) -> asyncpg.Record | None:
    """What is known here of a patient; None for one who may not have arrived yet."""
    return await tx.row("SELECT * FROM contact WHERE practice_id = $1 AND patient_id = $2", tx.practice_id, patient_id)


async def calcom_settings(tx: Tx) -> asyncpg.Record | None:
    """The settings of the transaction's practice, secrets and key sealed."""
    return await tx.row("SELECT * FROM calcom_settings WHERE practice_id = $1", tx.practice_id)


async def booking_request(effect_key: UUID, tx: Tx, *, hold: bool = False) -> asyncpg.Record | None:
    """A booking we asked Cal.com for, with why, and the practice's sealed key. ``hold``: nobody records its outcome meanwhile."""
    return await tx.row(_BOOKING_REQUEST + (" FOR UPDATE OF e" if hold else ""), tx.practice_id, effect_key)


async def booked_as(key: str, tx: Tx) -> asyncpg.Record | None:
    """The appointment that a booking of Cal.com is, by the booking's key."""
    return await tx.row(_BOOKED_AS, tx.practice_id, key)


async def cause_of_effect(effect_key: UUID, tx: Tx) -> Cause:
    """Why an effect is performed."""
    row = await tx.row(_CAUSE, tx.practice_id, effect_key)
    assert row is not None
    return Cause(row["correlation_id"], row["causation_id"], row["traceparent"], "")


async def retell_settings(tx: Tx) -> asyncpg.Record | None:
    """The settings of the transaction's practice, keys sealed."""
    return await tx.row("SELECT * FROM retell_settings WHERE practice_id = $1", tx.practice_id)


async def call_by_id(call_id: UUID, tx: Tx) -> Call | None:
    return (await tx.session.execute(select(Call).where(Call.practice_id == tx.practice_id, Call.id == call_id))).scalar_one_or_none()


async def call_reported(external_id: str, effect_key: UUID | None, tx: Tx) -> Call | None:
    """The call a report is about, for change: the one of that name, else the one we asked for under that key and know no name of."""
    named = Call.external_id == external_id
    asked = (Call.effect_key == effect_key) & Call.external_id.is_(None)
    query = select(Call).where(Call.practice_id == tx.practice_id, named | asked).order_by(Call.external_id.is_(None)).limit(1)
    return (await tx.session.execute(query.with_for_update())).scalar_one_or_none()


async def calls_newest_first(tx: Tx, *, patient_id: UUID | None, after: tuple[str, ...] | None, limit: int) -> list[Call]:
    """One more than ``limit`` when there is more."""
    query = select(Call).where(Call.practice_id == tx.practice_id)
    if patient_id is not None:
        query = query.where(Call.patient_id == patient_id)
    if after is not None:
        query = query.where(tuple_(Call.created_at, Call.id) < (datetime.fromisoformat(after[0]), UUID(after[1])))
    query = query.order_by(Call.created_at.desc(), Call.id.desc()).limit(limit + 1)
    return list((await tx.session.execute(query)).scalars())


async def endpoint(tx: Tx) -> asyncpg.Record | None:
    return await tx.row("SELECT * FROM webhook_endpoint WHERE practice_id = $1", tx.practice_id)


async def deliveries(tx: Tx, *, after: tuple[str, ...] | None, limit: int) -> list[asyncpg.Record]:
    """Newest first, each with its attempts; one more than ``limit`` when there is more."""
    at, delivery_id = (datetime.fromisoformat(after[0]), UUID(after[1])) if after else (None, None)
    return await tx.rows(_DELIVERIES, tx.practice_id, at, delivery_id, limit + 1)


def lock_keys(
    practice_id: UUID, *, bookings: Iterable[str | None] = (), contacts: Iterable[str | None] = (), calls: Iterable[str | None] = ()
) -> list[int]:
    """Advisory lock numbers in the one order everybody takes them, so that nobody waits in a circle.

    Whoever writes a booking or a call holds its keys; whoever matches attendees, or learns of a contact, holds the
    addresses. Two writers that could miss each other's rows therefore take turns.
    """
    kinds = {"booking": bookings, "contact": contacts, "call": calls}
    names = [f"{practice_id}|{kind}|{key}" for kind, keys in kinds.items() for key in keys if key]
    return sorted({int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "big", signed=True) for name in names})


async def lock(keys: list[int], tx: Tx) -> None:
    """Held until the transaction ends. What was committed by the holder before us is visible to our next statement."""
    await tx.execute("SELECT pg_advisory_xact_lock(key) FROM unnest($1::bigint[]) AS key", keys)


def appointment_from(row: asyncpg.Record | dict[str, Any]) -> Appointment:
    """A row of ``appointment`` as the model, outside any session."""
    return Appointment(**dict(row))
