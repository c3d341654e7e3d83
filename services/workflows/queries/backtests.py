"""Named selects over backtests."""

from __future__ import annotations

from collections import defaultdict
from datetime import datetime
from typing import Any
from uuid import UUID

import asyncpg

from libs.common.work import Tx
from libs.contracts.scheduling import AppointmentBooked, AppointmentMatched
from services.workflows.rules.definitions.program import ANCHOR
from services.workflows.rules.simulation.running import Results

_WITHOUT_RESULT = """
SELECT id, workflow_id, version, compared_version, since, until, status, events_done, events_total, attempts, error_code, NULL AS result, created_by,
  created_at, finished_at FROM backtest WHERE practice_id = $1 AND workflow_id = $2
  AND ($3::timestamptz IS NULL OR (created_at, id) < ($3, $4::uuid)) ORDER BY created_at DESC, id DESC LIMIT $5
"""
_NEVER_CAME = "(r.status = 'cancelled' AND r.cursor = 0 AND r.error_code = 'appointment_cancelled') IS TRUE"
"""Whose appointment was cancelled before its time came has not been through."""
_ENROLLED = f"""
SELECT e.key, e.at, CASE WHEN {_NEVER_CAME} THEN r.finished_at END AS until FROM enrolment e
LEFT JOIN run r ON r.practice_id = e.practice_id AND r.id = e.run_id
WHERE e.practice_id = $1 AND e.workflow_id = $2 AND e.at < $3 AND e.key > $4 ORDER BY e.key LIMIT $5
"""
_AGAIN = f"""
WITH again AS MATERIALIZED (
  SELECT key FROM enrolment WHERE practice_id = $1 AND workflow_id = $2 AND at >= $3 AND key ~ '^[0-9a-f]{{8}}(-[0-9a-f]{{4}}){{3}}-[0-9a-f]{{12}}$'
)
SELECT a.key, max(r.started_at) AS at FROM again a
JOIN run r ON r.practice_id = $1 AND r.patient_id = a.key::uuid AND r.workflow_id = $2 AND r.started_at < $3
JOIN workflow_version v ON v.practice_id = $1 AND v.workflow_id = r.workflow_id AND v.version = r.version
WHERE v.definition -> 'enrolment' ->> 'policy' = 'once' AND NOT {_NEVER_CAME} GROUP BY a.key
"""
_ACTIVE = """
SELECT patient_id, CASE WHEN bool_and(finished_at IS NOT NULL) THEN max(finished_at) END AS until FROM run
WHERE practice_id = $1 AND workflow_id = $2 AND patient_id IS NOT NULL AND started_at < $3 AND (finished_at IS NULL OR finished_at > $3)
GROUP BY patient_id
"""
_WAITING = """
SELECT r.appointment_id, s.finished_at AS until FROM run r JOIN step s ON s.practice_id = r.practice_id AND s.run_id = r.id AND s.step_id = $4
WHERE r.practice_id = $1 AND r.workflow_id = $2 AND r.appointment_id IS NOT NULL AND r.started_at < $3
  AND (s.finished_at IS NULL OR s.finished_at > $3)
"""
_BOOKED = """
SELECT r.appointment_id, min(r.started_at) AS started_at FROM run r
WHERE r.practice_id = $1 AND r.workflow_id = $2 AND r.trigger_type = $5 AND r.started_at < $3 AND r.appointment_id IN (
  SELECT appointment_id FROM event_log WHERE practice_id = $1 AND type = $6 AND recorded_at >= $3 AND recorded_at < $4)
GROUP BY r.appointment_id
"""
_RESULTS = """
SELECT r.trigger_event_id, s.step_id, s.action, s.output FROM run r JOIN step s ON s.practice_id = r.practice_id AND s.run_id = r.id
WHERE r.practice_id = $1 AND r.trigger_event_id = ANY($3::uuid[]) AND r.workflow_id = $2 AND r.rerun = 0
  AND s.kind = 'action' AND s.status = 'succeeded' AND s.output IS NOT NULL
"""


async def backtest_by_id(backtest_id: UUID, tx: Tx) -> asyncpg.Record | None:
    return await tx.row("SELECT * FROM backtest WHERE practice_id = $1 AND id = $2", tx.practice_id, backtest_id)


async def backtests_of(workflow_id: UUID, tx: Tx, *, after: tuple[str, ...] | None, limit: int) -> list[asyncpg.Record]:
    """Newest first; one more than ``limit`` when there is more."""
    place = (datetime.fromisoformat(after[0]), UUID(after[1])) if after else (None, None)
    return await tx.rows(_WITHOUT_RESULT, tx.practice_id, workflow_id, *place, limit + 1)


async def suppressed_patients(practice_id: UUID, tx: Tx) -> frozenset[UUID]:
    """Who goes through nothing."""
    rows = await tx.rows("SELECT patient_id FROM suppression WHERE practice_id = $1", practice_id)
    return frozenset(row["patient_id"] for row in rows)


async def enrolled_before(practice_id: UUID, workflow_id: UUID, since: datetime, after: str, limit: int, tx: Tx) -> list[asyncpg.Record]:
    """Keys let in before that moment and not since: ``at``, and ``until`` when it counted no more. In the order of keys."""
    return await tx.rows(_ENROLLED, practice_id, workflow_id, since, after, limit)


async def enrolled_again(practice_id: UUID, workflow_id: UUID, since: datetime, tx: Tx) -> dict[str, tuple[datetime, datetime | None]]:
    """Patients let in since, when they had been through before: told by the runs of versions that let everybody in once."""
    return {row["key"]: (row["at"], None) for row in await tx.rows(_AGAIN, practice_id, workflow_id, since)}


async def active_at(practice_id: UUID, workflow_id: UUID, at: datetime, tx: Tx) -> dict[UUID, datetime | None]:
    """Patients with a run under way then, and until when."""
    return {row["patient_id"]: row["until"] for row in await tx.rows(_ACTIVE, practice_id, workflow_id, at)}


async def waiting_at(practice_id: UUID, workflow_id: UUID, at: datetime, tx: Tx) -> dict[UUID, datetime | None]:
    """Appointments whose time a run waited for then, and until when."""
    return {row["appointment_id"]: row["until"] for row in await tx.rows(_WAITING, practice_id, workflow_id, at, ANCHOR)}


async def booked_before(practice_id: UUID, workflow_id: UUID, span: tuple[datetime, datetime], tx: Tx) -> dict[UUID, datetime]:
    """Appointments matched to their patient within the span whose booking had started a run before it, and when."""
    rows = await tx.rows(_BOOKED, practice_id, workflow_id, *span, AppointmentBooked.type, AppointmentMatched.type)
    return {row["appointment_id"]: row["started_at"] for row in rows}


async def real_results(practice_id: UUID, workflow_id: UUID, event_ids: list[UUID], tx: Tx) -> dict[UUID, Results]:
    """What actions of the runs these events really started came to, by event, then by step and action."""
    found: defaultdict[UUID, dict[tuple[str, str], Any]] = defaultdict(dict)
    for row in await tx.rows(_RESULTS, practice_id, workflow_id, event_ids):
        found[row["trigger_event_id"]][row["step_id"], row["action"]] = row["output"]
    return dict(found)
