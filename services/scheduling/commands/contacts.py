"""Follow the patients' contact details, and match appointments whose attendee was unknown until now."""

from __future__ import annotations

from typing import Any

from sqlalchemy import select

from libs.common.messaging import Received
from libs.common.work import Tx
from libs.contracts.patients import PatientDetails
from libs.contracts.scheduling import AppointmentMatched, AppointmentStatus
from services.scheduling.model import Appointment
from services.scheduling.queries import patient_of

_FOLLOW = """
INSERT INTO contact (practice_id, patient_id, version, email, phone)
SELECT DISTINCT ON (practice_id, patient_id) * FROM unnest($1::uuid[], $2::uuid[], $3::int[], $4::text[], $5::text[])
  AS t (practice_id, patient_id, version, email, phone) ORDER BY practice_id, patient_id, version DESC
ON CONFLICT (practice_id, patient_id) DO UPDATE SET version = excluded.version, email = excluded.email, phone = excluded.phone
WHERE contact.version < excluded.version
"""
_UNMATCHED = """
SELECT DISTINCT a.practice_id, a.id FROM unnest($1::uuid[], $2::text[], $3::text[]) AS t (practice_id, email, phone)
JOIN appointment a ON a.practice_id = t.practice_id AND a.patient_id IS NULL AND (a.attendee_email = t.email OR a.attendee_phone = t.phone)
"""


async def follow_patients(events: list[Received[Any]], tx: Tx) -> None:
    """Keep the newest details of each patient, then match what waited for them."""
    details: list[PatientDetails] = [event.data.details for event in events]
    practices = [event.practice_id for event in events]
    await tx.execute(
        _FOLLOW,
        practices,
        [event.data.patient_id for event in events],
        [event.data.version for event in events],
        [person.email for person in details],
        [person.phone for person in details],
    )
    waiting = await tx.rows(_UNMATCHED, practices, [person.email for person in details], [person.phone for person in details])
    cause = {event.practice_id: event for event in events}
    for row in waiting:
        tx.serve(cause[row["practice_id"]])
        await _match(row["id"], tx)


async def _match(appointment_id: object, tx: Tx) -> None:
    query = select(Appointment).where(Appointment.practice_id == tx.practice_id, Appointment.id == appointment_id).with_for_update()
    appointment = (await tx.session.execute(query)).scalar_one()
    patient_id = await patient_of(appointment.attendee_email, appointment.attendee_phone, tx)
    if patient_id is None or appointment.patient_id is not None or appointment.status == AppointmentStatus.CANCELLED:
        return
    appointment.patient_id = patient_id
    appointment.version += 1
    appointment.updated_at = tx.now
    tx.emit(AppointmentMatched(**appointment.state()))
