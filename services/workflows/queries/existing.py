"""Named selects over appointments that were booked before a workflow was published."""

from __future__ import annotations

from uuid import UUID

import asyncpg

from libs.common.work import Tx
from libs.contracts.scheduling import AppointmentRescheduled
from services.workflows.rules.definitions.program import ANCHOR

_TO_COME = """
FROM appointment a LEFT JOIN LATERAL (
  SELECT r.id FROM run r JOIN workflow_version v USING (practice_id, workflow_id, version)
  WHERE r.practice_id = a.practice_id AND r.appointment_id = a.id AND r.workflow_id = $2
    AND v.definition -> 'trigger' ->> 'kind' = 'anchored'
    AND (r.status = 'cancelled' AND r.cursor = 0 AND r.error_code = 'appointment_cancelled') IS NOT TRUE AND NOT EXISTS (
      SELECT FROM step s JOIN event_log e ON e.practice_id = s.practice_id AND e.appointment_id = a.id
      WHERE s.practice_id = r.practice_id AND s.run_id = r.id AND s.step_id = $4
        AND e.type = $5 AND e.recorded_at > s.finished_at)
  ORDER BY r.started_at DESC LIMIT 1
) covering ON true
WHERE a.practice_id = $1 AND a.status <> 'cancelled' AND a.starts_at > $3
"""
"""``covering``: the run of the workflow that was, or is, about the appointment at the time it has now."""

_COVERING = ANCHOR, AppointmentRescheduled.type


async def to_come(workflow_id: UUID, after: UUID | None, limit: int, tx: Tx) -> list[asyncpg.Record]:
    """Appointments that begin later and are not cancelled, with the run that covers each; in the order of their ids, from behind ``after``."""
    sql = f"SELECT a.*, covering.id AS covered_by {_TO_COME} AND ($6::uuid IS NULL OR a.id > $6) ORDER BY a.id LIMIT $7"
    return await tx.rows(sql, tx.practice_id, workflow_id, tx.now, *_COVERING, after, limit)


async def uncovered(workflow_id: UUID, tx: Tx) -> int:
    """How many of them no run of the workflow covers."""
    sql = f"SELECT count(*) {_TO_COME} AND covering.id IS NULL"
    found: int = await tx.value(sql, tx.practice_id, workflow_id, tx.now, *_COVERING)
    return found
