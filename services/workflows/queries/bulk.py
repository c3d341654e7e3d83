"""Named selects over many runs: those that fit a filter, those that failed alike."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any
from uuid import UUID

import asyncpg

from libs.common.work import Tx
from services.workflows.rules.runs.states import NEVER_BEGAN

_FITTING = f"""
FROM run r WHERE r.practice_id = $1 AND r.started_at <= $2
  AND CASE $3 WHEN 'running' THEN r.status = 'running' WHEN 'unpaused' THEN r.status = 'running' AND NOT r.paused
    WHEN 'paused' THEN r.status = 'running' AND r.paused AND NOT r.held
    WHEN 'failed' THEN r.status = 'failed' AND (r.failed_step IS NOT NULL OR (r.cursor > 0 AND r.cursor < {NEVER_BEGAN}))
    ELSE r.status <> 'running' AND NOT EXISTS (
      SELECT FROM run n WHERE n.practice_id = r.practice_id AND n.workflow_id = r.workflow_id AND n.trigger_event_id = r.trigger_event_id
        AND n.rerun > r.rerun) END
  AND ($4::uuid IS NULL OR r.workflow_id = $4) AND ($5::uuid IS NULL OR r.patient_id = $5) AND ($6::text IS NULL OR r.status = $6)
  AND ($7::text IS NULL OR r.error_code = $7) AND (CASE WHEN $8 THEN r.failed_step IS NOT DISTINCT FROM $9 ELSE $9::text IS NULL OR r.failed_step = $9 END)
  AND ($10::text IS NULL OR r.trigger_type = $10) AND ($11::timestamptz IS NULL OR r.started_at >= $11)
  AND ($12::timestamptz IS NULL OR r.started_at < $12) AND ($13::uuid[] IS NULL OR r.id = ANY($13))
"""


def _arguments(fitting: str, wanted: Mapping[str, Any], until: datetime, tx: Tx) -> tuple[object, ...]:
    return (
        tx.practice_id, until, fitting, wanted.get("workflow_id"), wanted.get("patient_id"), wanted.get("status"), wanted.get("error_code"),
        bool(wanted.get("exact")), wanted.get("failed_step"), wanted.get("trigger"), wanted.get("started_since"),
        wanted.get("started_before"), wanted.get("run_ids"),
    )  # fmt: skip


async def matching(
    fitting: str, wanted: Mapping[str, Any], until: datetime, after: UUID | None, limit: int, tx: Tx
) -> list[asyncpg.Record]:
    """Runs started up to ``until`` that fit, in the order of their ids, from behind ``after``."""
    sql = f"SELECT r.* {_FITTING} AND ($14::uuid IS NULL OR r.id > $14) ORDER BY r.id LIMIT $15"
    return await tx.rows(sql, *_arguments(fitting, wanted, until, tx), after, limit)


async def count_matching(fitting: str, wanted: Mapping[str, Any], until: datetime, tx: Tx) -> int:
    found: int = await tx.value(f"SELECT count(*) {_FITTING}", *_arguments(fitting, wanted, until, tx))
    return found


async def failures(workflow_id: UUID | None, tx: Tx) -> list[asyncpg.Record]:
    """Failed runs that nobody has run again, in groups that failed alike: the largest first."""
    return await tx.rows(
        """
        SELECT r.workflow_id, max(r.workflow_name) AS workflow_name, r.failed_step, coalesce(r.error_code, '') AS error_code, count(*) AS count,
          min(r.finished_at) AS first_at, max(r.finished_at) AS last_at
        FROM run r WHERE r.practice_id = $1 AND r.status = 'failed' AND ($2::uuid IS NULL OR r.workflow_id = $2) AND NOT EXISTS (
          SELECT FROM run n WHERE n.practice_id = r.practice_id AND n.workflow_id = r.workflow_id AND n.trigger_event_id = r.trigger_event_id
            AND n.rerun > r.rerun)
        GROUP BY r.workflow_id, r.failed_step, r.error_code ORDER BY count(*) DESC, r.workflow_id, r.failed_step, r.error_code LIMIT 200
        """,
        tx.practice_id, workflow_id,
    )  # fmt: skip
