"""Take Cal.com's booking notices: once each, in any order, and never lose one because two of theirs overlap."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated
from uuid import UUID

from pydantic import BaseModel, SecretStr, StringConstraints

from libs.common.command import Command
from libs.common.errors import Unauthenticated
from libs.common.secrets import SecretBox
from libs.common.work import Tx
from libs.contracts.scheduling import AppointmentBooked, AppointmentCancelled, AppointmentRescheduled
from services.scheduling.model import Appointment
from services.scheduling.queries import appointment_of_notice, calcom_secret, patient_of
from services.scheduling.rules.bookings import BookingNotice, Meaning, meaning_of

PURPOSE = "calcom webhook secret"
_ALIAS = "INSERT INTO external_booking (practice_id, uid, appointment_id) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING"
_OVERLAPS = """
SELECT EXISTS (SELECT 1 FROM appointment WHERE practice_id = $1 AND resource = $2 AND id <> $3 AND status <> 'cancelled'
               AND NOT double_booked AND tstzrange(starts_at, ends_at) && tstzrange($4, $5))
"""
_LOCK_RESOURCE = "SELECT pg_advisory_xact_lock(hashtextextended($1, 1))"


class WebhookNotConfigured(Unauthenticated):
    """The webhook's signature is not valid here."""

    code = "webhook_refused"


class ConfigureCalcom(Command):
    webhook_secret: Annotated[SecretStr, StringConstraints(min_length=16, max_length=200)]


class CalcomSettings(BaseModel):
    """What is configured; never the secret."""

    configured: bool
    webhook_path: str


async def configure_calcom(cmd: ConfigureCalcom, box: SecretBox, tx: Tx) -> CalcomSettings:
    sealed = box.seal(tx.practice_id, PURPOSE, cmd.webhook_secret.get_secret_value())
    await tx.execute(
        """
        INSERT INTO calcom_settings (practice_id, webhook_secret, updated_at) VALUES ($1, $2, $3)
        ON CONFLICT (practice_id) DO UPDATE SET webhook_secret = excluded.webhook_secret, updated_at = excluded.updated_at
        """,
        tx.practice_id, sealed, tx.now,
    )  # fmt: skip
    return await show_calcom(tx)


async def show_calcom(tx: Tx) -> CalcomSettings:
    return CalcomSettings(configured=await calcom_secret(tx) is not None, webhook_path=f"/webhooks/calcom/{tx.practice_id}")


async def check_signature(verify: Callable[[str], None], box: SecretBox, tx: Tx) -> None:
    """Hand the practice's secret to ``verify``. An unknown practice answers as a wrong signature does."""
    sealed = await calcom_secret(tx)
    if sealed is None:
        raise WebhookNotConfigured
    verify(box.open(tx.practice_id, PURPOSE, sealed))


async def take_notice(notice: BookingNotice, tx: Tx) -> UUID | None:
    """Apply one notice; returns the appointment, or None when it was seen before."""
    if not await tx.once("calcom", notice.delivery_key):
        return None
    # Notices of one resource take turns: what overlaps is decided by one at a time, and no notice fails for it.
    await tx.execute(_LOCK_RESOURCE, f"{tx.practice_id}|{notice.resource}")
    appointment = await appointment_of_notice(notice, tx)
    match meaning_of(notice, appointment.known if appointment else None):
        case Meaning.NEW | Meaning.NEW_CANCELLED:
            appointment = await _new(notice, tx)
        case Meaning.MOVED:
            assert appointment is not None
            await _move(appointment, notice, tx)
        case Meaning.CANCELLED:
            assert appointment is not None
            appointment.follow(notice)
            appointment.cancel(tx.now)
            tx.emit(AppointmentCancelled(**appointment.state(), reason=notice.reason))
        case Meaning.STALE:
            pass
    assert appointment is not None
    await tx.session.flush()
    await tx.execute(_ALIAS, tx.practice_id, notice.uid, appointment.id)
    return appointment.id


async def _new(notice: BookingNotice, tx: Tx) -> Appointment:
    patient_id = await patient_of(notice.attendee_email, notice.attendee_phone, tx)
    appointment = Appointment.from_notice(
        notice, practice_id=tx.practice_id, appointment_id=tx.new_id(), patient_id=patient_id, now=tx.now
    )
    if appointment.known.cancelled:
        tx.emit(AppointmentCancelled(**appointment.state(), reason=notice.reason))
    else:
        appointment.double_booked = await _overlaps(appointment, tx)
        tx.emit(AppointmentBooked(**appointment.state(), attendee=appointment.attendee, double_booked=appointment.double_booked))
    tx.session.add(appointment)
    return appointment


async def _move(appointment: Appointment, notice: BookingNotice, tx: Tx) -> None:
    before = {"previous_starts_at": appointment.starts_at, "previous_ends_at": appointment.ends_at}
    appointment.follow(notice)
    appointment.move(notice.starts_at, notice.ends_at, tx.now, revive=True)
    appointment.resource = notice.resource
    appointment.double_booked = await _overlaps(appointment, tx)
    tx.emit(AppointmentRescheduled(**appointment.state(), **before))


async def _overlaps(appointment: Appointment, tx: Tx) -> bool:
    found: bool = await tx.value(
        _OVERLAPS, appointment.practice_id, appointment.resource, appointment.id, appointment.starts_at, appointment.ends_at
    )
    return found
