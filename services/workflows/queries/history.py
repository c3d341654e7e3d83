"""Named selects over what happened and what was decided about it."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import asyncpg

from libs.common.work import Tx
from services.workflows.queries.decided import with_decisions

_ABOUT = """
SELECT * FROM event_log WHERE practice_id = $1 AND recorded_at >= $2 AND recorded_at < $3
  AND ($4::uuid IS NULL OR event_id = $4)
  AND ($5::uuid IS NULL OR patient_id = $5 OR appointment_id IN (
    SELECT appointment_id FROM event_log WHERE practice_id = $1 AND patient_id = $5 AND appointment_id IS NOT NULL))
  AND ($6::timestamptz IS NULL OR (recorded_at, event_id) < ($6, $7::uuid))
ORDER BY recorded_at DESC, event_id DESC LIMIT $8
"""
_TRIGGERS = """
SELECT w.id, w.name, w.created_at, w.published_version, w.paused, w.draft -> 'trigger' AS draft_trigger,
  coalesce((SELECT jsonb_agg(jsonb_build_array(v.version, v.published_at, v.definition -> 'trigger') ORDER BY v.published_at)
    FROM workflow_version v WHERE v.practice_id = w.practice_id AND v.workflow_id = w.id), '[]') AS versions
FROM workflow w WHERE w.practice_id = $1 ORDER BY w.name, w.id
"""
_PAGE = """
SELECT event_id, type, data, seen, at, recorded_at FROM event_log WHERE practice_id = $1 AND type = ANY($2::text[])
  AND recorded_at >= $3 AND recorded_at < $4 AND (recorded_at, at, event_id) > ($5, $6, $7) ORDER BY recorded_at, at, event_id LIMIT $8
"""
_OF_RUN = """
SELECT * FROM event_log WHERE practice_id = $1 AND (event_id = $2 OR (type = ANY($3::text[]) AND (patient_id = $4 OR appointment_id = $5)
    AND recorded_at >= $6 AND ($7::timestamptz IS NULL OR recorded_at <= $7)))
  AND recorded_at >= $8 AND recorded_at < $9 AND ($10::timestamptz IS NULL OR (recorded_at, event_id) < ($10, $11::uuid))
ORDER BY recorded_at DESC, event_id DESC LIMIT $12
"""
_UNDER_WAY = """
SELECT * FROM run WHERE practice_id = $1 AND id IN (
  SELECT id FROM run WHERE practice_id = $1 AND patient_id = ANY($2::uuid[]) UNION SELECT id FROM run WHERE practice_id = $1 AND appointment_id = ANY($3::uuid[])
) AND started_at <= $5::timestamptz + $6::interval AND (finished_at IS NULL OR finished_at >= $4) ORDER BY started_at DESC, id LIMIT $7
"""
_KNOWN = """
SELECT p.seen -> 'patient' AS patient, a.seen -> 'appointment' AS appointment, c.seen -> 'practice' AS practice,
  (t.patient_id IS NULL OR p.seen IS NOT NULL OR a.seen #> '{appointment,patient_id}' = 'null')
  AND (t.appointment_id IS NULL OR a.seen IS NOT NULL) AND c.seen IS NOT NULL AS remembered
FROM unnest($2::uuid[], $3::uuid[], $4::timestamptz[]) WITH ORDINALITY AS t (patient_id, appointment_id, at, place)
LEFT JOIN LATERAL (SELECT seen FROM event_log WHERE practice_id = $1 AND patient_id = t.patient_id AND recorded_at <= t.at
  ORDER BY recorded_at DESC LIMIT 1) p ON true
LEFT JOIN LATERAL (SELECT seen FROM event_log WHERE practice_id = $1 AND appointment_id = t.appointment_id AND recorded_at <= t.at
  ORDER BY recorded_at DESC LIMIT 1) a ON true
LEFT JOIN LATERAL (SELECT seen FROM event_log WHERE practice_id = $1 AND recorded_at <= t.at ORDER BY recorded_at DESC LIMIT 1) c ON true
ORDER BY t.place
"""
Place = tuple[datetime, datetime, UUID]
"""Where a reader of the log stands: behind the event recorded and said then."""


async def events_about(
    tx: Tx, *, patient_id: UUID | None, event_id: UUID | None, since: datetime, until: datetime, after: tuple[str, ...] | None, limit: int
) -> list[dict[str, Any]]:
    """Events about a patient, or an appointment of theirs, or the one event; newest first, one more than ``limit`` when there is more."""
    place = (datetime.fromisoformat(after[0]), UUID(after[1])) if after else (None, None)
    return await with_decisions(await tx.rows(_ABOUT, tx.practice_id, since, until, event_id, patient_id, *place, limit + 1), tx)


async def events_of_run(
    run: asyncpg.Record,
    types: list[str],
    before: timedelta,
    span: tuple[datetime, datetime],
    after: tuple[str, ...] | None,
    limit: int,
    tx: Tx,
) -> list[dict[str, Any]]:
    """What started a run, and events of these types about its patient or appointment while it went on, or so long before it began."""
    place = (datetime.fromisoformat(after[0]), UUID(after[1])) if after else (None, None)
    went_on = run["started_at"] - before, run["finished_at"]
    about = run["trigger_event_id"], types, run["patient_id"], run["appointment_id"]
    return await with_decisions(await tx.rows(_OF_RUN, tx.practice_id, *about, *went_on, *span, *place, limit + 1), tx)


async def runs_under_way(
    subjects: tuple[list[UUID], list[UUID]], span: tuple[datetime, datetime], ahead: timedelta, most: int, tx: Tx
) -> list[asyncpg.Record]:
    """Runs about these patients or appointments that went on in a span, or began so long after it; the newest first."""
    return await tx.rows(_UNDER_WAY, tx.practice_id, *subjects, *span, ahead, most)


async def known_then(asked: list[tuple[UUID | None, UUID | None, datetime]], tx: Tx) -> list[asyncpg.Record]:
    """What was known of a patient, an appointment and the practice at a moment, for each. ``remembered``: whether it still is."""
    return await tx.rows(_KNOWN, tx.practice_id, [one[0] for one in asked], [one[1] for one in asked], [one[2] for one in asked])


async def logged_event(event_id: UUID, tx: Tx) -> asyncpg.Record | None:
    return await tx.row("SELECT * FROM event_log WHERE practice_id = $1 AND event_id = $2", tx.practice_id, event_id)


async def triggers(tx: Tx) -> list[asyncpg.Record]:
    """Every workflow with the trigger of its draft and of each version (``[version, published_at, trigger]``, oldest first)."""
    return await tx.rows(_TRIGGERS, tx.practice_id)


async def definitions_of(versions: list[tuple[UUID, int]], tx: Tx) -> dict[tuple[UUID, int], asyncpg.Record]:
    """Frozen definitions by workflow and version."""
    rows = await tx.rows(
        "SELECT workflow_id, version, name, definition FROM workflow_version v JOIN unnest($2::uuid[], $3::int[]) AS t (workflow_id, version)"
        " USING (workflow_id, version) WHERE v.practice_id = $1",
        tx.practice_id, [workflow_id for workflow_id, _ in versions], [version for _, version in versions],
    )  # fmt: skip
    return {(row["workflow_id"], row["version"]): row for row in rows}


async def runs_of_events(event_ids: list[UUID], run_ids: list[UUID], tx: Tx) -> list[asyncpg.Record]:
    """Runs these events started, and the runs named."""
    return await tx.rows(
        "SELECT * FROM run WHERE practice_id = $1 AND (trigger_event_id = ANY($2::uuid[]) OR id = ANY($3::uuid[])) ORDER BY started_at, id",
        tx.practice_id, event_ids, run_ids,
    )  # fmt: skip


async def steps_of_runs(run_ids: list[UUID], tx: Tx) -> list[asyncpg.Record]:
    """In the order they began."""
    return await tx.rows(
        "SELECT run_id, step_id, kind, status, detail, action, due_at, error_code, output, started_at, finished_at FROM step"
        " WHERE practice_id = $1 AND run_id = ANY($2::uuid[]) ORDER BY started_at, finished_at NULLS LAST, step_id",
        tx.practice_id, run_ids,
    )  # fmt: skip


async def event_page(
    practice_id: UUID, types: list[str], since: datetime, until: datetime, after: Place, limit: int, tx: Tx
) -> list[asyncpg.Record]:
    """The next events of these types, in the order they were handled."""
    return await tx.rows(_PAGE, practice_id, types, since, until, *after, limit)


async def events_of_types(practice_id: UUID, types: list[str], since: datetime, until: datetime, tx: Tx) -> int:
    """How many there are."""
    count: int = await tx.value(
        "SELECT count(*) FROM event_log WHERE practice_id = $1 AND type = ANY($2::text[]) AND recorded_at >= $3 AND recorded_at < $4",
        practice_id, types, since, until,
    )  # fmt: skip
    return count
