"""Named selects over appointments, contacts and webhook deliveries."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

import asyncpg
from sqlalchemy import select, tuple_

from libs.common.work import Tx
from services.scheduling.model import Appointment, ExternalBooking
from services.scheduling.rules.bookings import BookingNotice, matched_patient

_CONTACTS = """
SELECT patient_id::text AS patient_id, email = $2 AS by_email, phone = $3 AS by_phone FROM contact
WHERE practice_id = $1 AND (email = $2 OR phone = $3) LIMIT 20
"""


async def appointment_by_id(appointment_id: UUID, tx: Tx, *, for_update: bool = False) -> Appointment | None:
    query = select(Appointment).where(Appointment.practice_id == tx.practice_id, Appointment.id == appointment_id)
    return (await tx.session.execute(query.with_for_update() if for_update else query)).scalar_one_or_none()


async def appointments_between(
    tx: Tx, *, since: datetime | None, until: datetime | None, patient_id: UUID | None, after: tuple[str, ...] | None, limit: int
) -> list[Appointment]:
    """By start; one more than ``limit`` when there is more."""
    query = select(Appointment).where(Appointment.practice_id == tx.practice_id)
    if since is not None:
        query = query.where(Appointment.starts_at >= since)
    if until is not None:
        query = query.where(Appointment.starts_at < until)
    if patient_id is not None:
        query = query.where(Appointment.patient_id == patient_id)
    if after is not None:
        query = query.where(tuple_(Appointment.starts_at, Appointment.id) > (datetime.fromisoformat(after[0]), UUID(after[1])))
    query = query.order_by(Appointment.starts_at, Appointment.id).limit(limit + 1)
    return list((await tx.session.execute(query)).scalars())


async def appointment_of_notice(notice: BookingNotice, tx: Tx) -> Appointment | None:
    """The appointment a notice is about, by its chain or any booking uid of it; locked for the change."""
    aliases = [uid for uid in (notice.uid, notice.previous_uid) if uid]
    alias = select(ExternalBooking.appointment_id).where(ExternalBooking.practice_id == tx.practice_id, ExternalBooking.uid.in_(aliases))
    same = (Appointment.external_id == notice.external_id) | Appointment.id.in_(alias)
    query = select(Appointment).where(Appointment.practice_id == tx.practice_id, same).with_for_update()
    return (await tx.session.execute(query)).scalars().first()


async def patient_of(email: str | None, phone: str | None, tx: Tx) -> UUID | None:
    """The one patient with this address or number; None when nobody or several."""
    rows = await tx.rows(_CONTACTS, tx.practice_id, email, phone)
    found = matched_patient([r["patient_id"] for r in rows if r["by_email"]], [r["patient_id"] for r in rows if r["by_phone"]])
    return UUID(found) if found else None


async def calcom_secret(tx: Tx) -> bytes | None:
    """The sealed webhook secret of the transaction's practice."""
    sealed: bytes | None = await tx.value("SELECT webhook_secret FROM calcom_settings WHERE practice_id = $1", tx.practice_id)
    return sealed


async def endpoint(tx: Tx) -> asyncpg.Record | None:
    return await tx.row("SELECT url, secret, event_types, created_at, updated_at FROM webhook_endpoint WHERE practice_id = $1", tx.practice_id)


async def deliveries(tx: Tx, *, after: tuple[str, ...] | None, limit: int) -> list[asyncpg.Record]:
    """Newest first, each with its attempts; one more than ``limit`` when there is more."""
    return await tx.rows(
        """
        SELECT d.id, d.event_id, d.event_type, d.state, d.attempts, d.last_status, d.created_at, d.finished_at,
               coalesce((SELECT jsonb_agg(jsonb_build_object('number', a.number, 'at', a.at, 'status', a.status, 'error', a.error,
                                                             'milliseconds', a.milliseconds) ORDER BY a.number)
                         FROM webhook_attempt a WHERE a.practice_id = d.practice_id AND a.delivery_id = d.id), '[]') AS log
        FROM webhook_delivery d WHERE d.practice_id = $1 AND ($2::uuid IS NULL OR d.id < $2) ORDER BY d.id DESC LIMIT $3
        """,
        tx.practice_id, UUID(after[0]) if after else None, limit + 1,
    )  # fmt: skip
