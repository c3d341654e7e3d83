"""Named selects over appointments that were booked before a workflow was published."""

from __future__ import annotations

from uuid import UUID

import asyncpg

from libs.common.work import Tx
from libs.contracts.scheduling import AppointmentRescheduled
from services.workflows.rules.definitions.program import ANCHOR

PAGE = 500
MOST = 20_000
"""Appointments that are counted; nobody waits for more."""

_TO_COME = """
SELECT * FROM appointment WHERE practice_id = $1 AND status <> 'cancelled' AND starts_at > $2 AND ($3::uuid IS NULL OR id > $3) ORDER BY id LIMIT $4
"""
_ABOUT = """
SELECT r.id, r.appointment_id, s.finished_at AS came FROM run r
LEFT JOIN step s ON s.practice_id = r.practice_id AND s.run_id = r.id AND s.step_id = $4
WHERE r.practice_id = $1 AND r.workflow_id = $2 AND r.appointment_id = ANY($3::uuid[])
  AND r.version IN (SELECT version FROM workflow_version WHERE practice_id = $1 AND workflow_id = $2 AND definition -> 'trigger' ->> 'kind' = 'anchored')
  AND (r.status = 'cancelled' AND r.cursor = 0 AND r.error_code = 'appointment_cancelled') IS NOT TRUE
ORDER BY r.started_at
"""
_MOVED = """
SELECT appointment_id, max(recorded_at) AS at FROM event_log WHERE practice_id = $1 AND appointment_id = ANY($2::uuid[]) AND type = $3
GROUP BY appointment_id
"""


async def to_come(after: UUID | None, limit: int, tx: Tx) -> list[asyncpg.Record]:
    """Appointments that begin later and are not cancelled, in the order of their ids, from behind ``after``."""
    return await tx.rows(_TO_COME, tx.practice_id, tx.now, after, limit)


async def covering(workflow_id: UUID, appointment_ids: list[UUID], tx: Tx) -> dict[UUID, UUID]:
    """By appointment, the newest run of the workflow that is, or was, about it at the time it has now.

    A run whose time had come before the appointment moved was about another time; one that was cancelled with it, about none.
    """
    runs = await tx.rows(_ABOUT, tx.practice_id, workflow_id, appointment_ids, ANCHOR)
    if not runs:
        return {}
    about = list({run["appointment_id"] for run in runs})
    moved = {row["appointment_id"]: row["at"] for row in await tx.rows(_MOVED, tx.practice_id, about, AppointmentRescheduled.type)}
    return {
        run["appointment_id"]: run["id"]
        for run in runs
        if run["came"] is None or run["appointment_id"] not in moved or moved[run["appointment_id"]] <= run["came"]
    }


async def uncovered(workflow_id: UUID, tx: Tx) -> int:
    """How many appointments to come no run of the workflow covers, of the first ``MOST``."""
    found, after = 0, None
    for _ in range(MOST // PAGE):
        ids = [row["id"] for row in await to_come(after, PAGE, tx)]
        found += len(ids) - len(await covering(workflow_id, ids, tx)) if ids else 0
        if len(ids) < PAGE:
            break
        after = ids[-1]
    return found
