"""Follow the patients' contact details, and match appointments whose attendee was unknown until now."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any
from uuid import UUID

import asyncpg

from libs.common.auth import Principal
from libs.common.messaging import Received
from libs.common.work import Tx, Work
from libs.contracts.patients import PatientDetails
from libs.contracts.scheduling import AppointmentMatched
from services.scheduling.queries import appointment_from, is_contact, lock, lock_keys
from services.scheduling.rules.attendees import AttendeeDetails, Candidate, match, normal_name, shown_name

_FOLLOW = """
INSERT INTO contact (practice_id, patient_id, version, name, email, phone, shown_name, time_zone)
SELECT DISTINCT ON (practice_id, patient_id) *
FROM unnest($1::uuid[], $2::uuid[], $3::int[], $4::text[], $5::text[], $6::text[], $7::text[], $8::text[])
  AS t (practice_id, patient_id, version, name, email, phone, shown_name, time_zone)
ORDER BY practice_id, patient_id, version DESC
ON CONFLICT (practice_id, patient_id) DO UPDATE
SET version = excluded.version, name = excluded.name, email = excluded.email, phone = excluded.phone, shown_name = excluded.shown_name,
    time_zone = excluded.time_zone
WHERE contact.version < excluded.version
"""
_WAITING = """
SELECT a.practice_id, a.id, a.attendee_name, a.attendee_email, a.attendee_phone
FROM unnest($1::uuid[], $2::text[]) AS t (practice_id, email)
JOIN appointment a ON a.practice_id = t.practice_id AND a.patient_id IS NULL AND a.attendee_email = t.email AND a.status <> 'cancelled'
UNION
SELECT a.practice_id, a.id, a.attendee_name, a.attendee_email, a.attendee_phone
FROM unnest($1::uuid[], $3::text[]) AS t (practice_id, phone)
JOIN appointment a ON a.practice_id = t.practice_id AND a.patient_id IS NULL AND a.attendee_phone = t.phone AND a.status <> 'cancelled'
"""
_CANDIDATES = """
SELECT c.practice_id, c.patient_id, c.name, c.email, c.phone
FROM unnest($1::uuid[], $2::text[]) AS t (practice_id, email) JOIN contact c ON c.practice_id = t.practice_id AND c.email = t.email
UNION
SELECT c.practice_id, c.patient_id, c.name, c.email, c.phone
FROM unnest($1::uuid[], $3::text[]) AS t (practice_id, phone) JOIN contact c ON c.practice_id = t.practice_id AND c.phone = t.phone
"""
_MATCH = """
UPDATE appointment a SET patient_id = t.patient_id, version = a.version + 1, updated_at = $4
FROM unnest($1::uuid[], $2::uuid[], $3::uuid[]) AS t (practice_id, id, patient_id)
WHERE a.practice_id = t.practice_id AND a.id = t.id AND a.patient_id IS NULL AND a.status <> 'cancelled' RETURNING a.*
"""

LOOKS = 10
LOOK_AGAIN_SECONDS = 0.1


async def await_contact(patient_id: UUID, practice_id: UUID, work: Work) -> None:
    """Give a patient registered a moment ago time to arrive here: returns when they have, or after a second."""
    for _ in range(LOOKS):
        async with work(Principal.system("scheduling", practice_id)) as tx:
            if await is_contact(patient_id, tx):
                return
        await asyncio.sleep(LOOK_AGAIN_SECONDS)


async def follow_patients(events: Sequence[Received[Any]], tx: Tx) -> None:
    """Keep the newest details of each patient, then match what waited for them."""
    people: list[PatientDetails] = [event.data.details for event in events]
    await lock(_locks(events), tx)
    await tx.execute(
        _FOLLOW,
        [event.practice_id for event in events],
        [event.data.patient_id for event in events],
        [event.data.version for event in events],
        [normal_name(f"{person.given_name} {person.family_name}") for person in people],
        [person.email for person in people],
        [person.phone for person in people],
        [shown_name(f"{person.given_name} {person.family_name}") for person in people],
        [person.time_zone for person in people],
    )
    practices = [event.practice_id for event in events]
    waiting = await tx.rows(_WAITING, practices, [person.email for person in people], [person.phone for person in people])
    if waiting:
        await _match(waiting, events, tx)


def _locks(events: Sequence[Received[Any]]) -> list[int]:
    """Against a booking that is written at this moment and cannot see the contact, nor be seen."""
    keys: set[int] = set()
    for event in events:
        details: PatientDetails = event.data.details
        keys.update(lock_keys(event.practice_id, contacts=(details.email, details.phone)))
    return sorted(keys)


async def _match(waiting: list[asyncpg.Record], events: Sequence[Received[Any]], tx: Tx) -> None:
    candidates = await tx.rows(
        _CANDIDATES,
        [row["practice_id"] for row in waiting],
        [row["attendee_email"] for row in waiting],
        [row["attendee_phone"] for row in waiting],
    )
    found = []
    for row in waiting:
        attendee = AttendeeDetails(row["attendee_name"], row["attendee_email"], row["attendee_phone"])
        known = [
            Candidate(c["patient_id"], c["name"], c["email"], c["phone"]) for c in candidates if c["practice_id"] == row["practice_id"]
        ]
        patient_id = match(attendee, known)
        if patient_id is not None:
            found.append((row["practice_id"], row["id"], patient_id))
    if not found:
        return
    cause = {event.practice_id: event for event in events} | {(event.practice_id, event.data.patient_id): event for event in events}
    for row in await tx.rows(_MATCH, [f[0] for f in found], [f[1] for f in found], [f[2] for f in found], tx.now):
        because = cause.get((row["practice_id"], row["patient_id"])) or cause[row["practice_id"]]
        tx.emit(AppointmentMatched(**appointment_from(row).state()), because=because)
