"""Follow what expressions may name: patients, appointments, practices; saved filters, and the actions services offer."""

from __future__ import annotations

from typing import Any

from libs.common.messaging import Received
from libs.common.work import Tx, json_text
from libs.contracts.actions import ActionDescribed
from libs.contracts.patients import PatientFilterRemoved, PatientFilterState, PatientTagged
from services.workflows.queries.world import Key

_PATIENTS = """
INSERT INTO patient (practice_id, id, version, given_name, family_name, email, phone, birth_date, time_zone)
SELECT DISTINCT ON (practice_id, id) * FROM unnest($1::uuid[], $2::uuid[], $3::int[], $4::text[], $5::text[], $6::text[], $7::text[], $8::date[],
  $9::text[]) AS t (practice_id, id, version, given_name, family_name, email, phone, birth_date, time_zone) ORDER BY practice_id, id, version DESC
ON CONFLICT (practice_id, id) DO UPDATE SET version = excluded.version, given_name = excluded.given_name, family_name = excluded.family_name,
  email = excluded.email, phone = excluded.phone, birth_date = excluded.birth_date, time_zone = excluded.time_zone
WHERE patient.version < excluded.version
"""
_TAGS = """
UPDATE patient p SET tags = ARRAY(
  SELECT DISTINCT tag FROM (SELECT unnest(p.tags) AS tag UNION ALL SELECT jsonb_array_elements_text(t.given)) AS had
  WHERE tag <> ALL (ARRAY(SELECT jsonb_array_elements_text(t.taken))) ORDER BY tag)
FROM unnest($1::uuid[], $2::uuid[], $3::jsonb[], $4::jsonb[]) AS t (practice_id, id, given, taken)
WHERE p.practice_id = t.practice_id AND p.id = t.id
"""
_APPOINTMENTS = """
INSERT INTO appointment (practice_id, id, version, status, title, source, starts_at, ends_at, time_zone, patient_id, resource, external_id)
SELECT DISTINCT ON (practice_id, id) * FROM unnest($1::uuid[], $2::uuid[], $3::int[], $4::text[], $5::text[], $6::text[], $7::timestamptz[],
  $8::timestamptz[], $9::text[], $10::uuid[], $11::text[], $12::text[])
  AS t (practice_id, id, version, status, title, source, starts_at, ends_at, time_zone, patient_id, resource, external_id)
  ORDER BY practice_id, id, version DESC
ON CONFLICT (practice_id, id) DO UPDATE SET version = excluded.version, status = excluded.status, title = excluded.title,
  starts_at = excluded.starts_at, ends_at = excluded.ends_at, time_zone = excluded.time_zone, patient_id = excluded.patient_id,
  resource = excluded.resource, external_id = excluded.external_id
WHERE appointment.version < excluded.version
"""
_PRACTICE = """
INSERT INTO practice (practice_id, name, time_zone, opening_hours, holidays) VALUES ($1, $2, $3, coalesce($4::jsonb, '[]'), coalesce($5::jsonb, '[]'))
ON CONFLICT (practice_id) DO UPDATE SET name = excluded.name, time_zone = excluded.time_zone,
  opening_hours = coalesce($4::jsonb, practice.opening_hours), holidays = coalesce($5::jsonb, practice.holidays)
"""
_FILTER = """
INSERT INTO patient_filter (practice_id, id, version, owned_by, visibility, name, condition) VALUES ($1, $2, $3, $4, $5, $6, $7)
ON CONFLICT (practice_id, id) DO UPDATE SET version = excluded.version, visibility = excluded.visibility, name = excluded.name,
  condition = excluded.condition
WHERE patient_filter.version < excluded.version AND NOT patient_filter.removed
"""
_NO_FILTER = """
UPDATE patient_filter SET removed = true, version = $3, name = '', condition = '{}' WHERE practice_id = $1 AND id = $2 AND NOT removed
"""
_ACTION = """
INSERT INTO action (name, description, updated_at) VALUES ($1, $2, $3)
ON CONFLICT (name) DO UPDATE SET description = excluded.description, updated_at = excluded.updated_at
"""


async def follow_patients(events: list[Received[Any]], tx: Tx) -> None:
    """Keep the newest details of each patient."""
    people = [event.data.details for event in events]
    await tx.execute(
        _PATIENTS, [e.practice_id for e in events], [e.data.patient_id for e in events], [e.data.version for e in events],
        [p.given_name for p in people], [p.family_name for p in people], [p.email for p in people], [p.phone for p in people],
        [p.birth_date for p in people], [p.time_zone for p in people],
    )  # fmt: skip


async def follow_tags(events: list[Received[Any]], tx: Tx) -> None:
    """Keep which tags each patient has. Of several events about one tag the last counts: they come in order."""
    latest: dict[Key, dict[str, bool]] = {}
    for event in events:
        latest.setdefault((event.practice_id, event.data.patient_id), {})[event.data.tag] = isinstance(event.data, PatientTagged)
    given, taken = ([json_text([tag for tag, has in tags.items() if has is which]) for tags in latest.values()] for which in (True, False))
    await tx.execute(_TAGS, [practice for practice, _ in latest], [patient for _, patient in latest], given, taken)


async def follow_appointments(events: list[Received[Any]], tx: Tx) -> None:
    """Keep the newest state of each appointment."""
    states = [event.data for event in events]
    await tx.execute(
        _APPOINTMENTS, [e.practice_id for e in events], [s.appointment_id for s in states], [s.version for s in states],
        [s.status for s in states], [s.title for s in states], [s.source for s in states], [s.starts_at for s in states],
        [s.ends_at for s in states], [s.time_zone for s in states], [s.patient_id for s in states], [s.resource for s in states],
        [s.external_id for s in states],
    )  # fmt: skip


async def follow_practice(event: Received[Any], tx: Tx) -> None:
    """Hours and holidays an event says nothing of stay as they are."""
    said = event.data.model_dump(mode="json")
    hours, holidays = (None if said[name] is None else json_text(said[name]) for name in ("opening_hours", "holidays"))
    await tx.execute(_PRACTICE, event.practice_id, event.data.name, event.data.time_zone, hours, holidays)


async def follow_filter(event: Received[Any], tx: Tx) -> None:
    """Keep the newest state of a saved filter; of a removed one only that it is gone."""
    said: PatientFilterState | PatientFilterRemoved = event.data
    if isinstance(said, PatientFilterRemoved):
        await tx.execute(_NO_FILTER, event.practice_id, said.filter_id, said.version)
        return
    condition = json_text(said.condition.model_dump(mode="json"))
    await tx.execute(_FILTER, event.practice_id, said.filter_id, said.version, said.owned_by, said.visibility, said.name, condition)


async def follow_catalogue(event: Received[ActionDescribed], tx: Tx) -> None:
    """Learn an action, or what changed about it."""
    await tx.execute(_ACTION, event.data.name, json_text(event.data.model_dump(mode="json")), tx.now)
