"""Named selects over backtests."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

import asyncpg

from libs.common.work import Tx

_WITHOUT_RESULT = """
SELECT id, workflow_id, version, compared_version, since, until, status, events_done, events_total, error_code, NULL AS result, created_by,
  created_at, finished_at FROM backtest WHERE practice_id = $1 AND workflow_id = $2
  AND ($3::timestamptz IS NULL OR (created_at, id) < ($3, $4::uuid)) ORDER BY created_at DESC, id DESC LIMIT $5
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
