"""Named selects about runs of the durable engine."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

import asyncpg

from libs.common.work import Tx
from services.workflows.queries.world import Key
from services.workflows.rules.runs.orchestration import Called


async def calls(unanswered_since: datetime, limit: int, ahead: int, tx: Tx) -> list[Called]:
    """Who was called and not yet told, or told before that time and not heard of since; of practices that are not suspended.

    Practices take turns, and in each those that began alone beside those that began as one of many. Of more than ``ahead`` calls
    only the oldest are looked at.
    """
    rows = await tx.rows(
        """
        SELECT practice_id, run_id, number, bulk FROM (
          SELECT *, row_number() OVER (PARTITION BY practice_id, bulk, asked_at IS NULL ORDER BY number) AS turn FROM (
            SELECT practice_id, run_id, number, bulk, asked_at FROM run_call WHERE (asked_at IS NULL OR asked_at < $1)
              AND practice_id <> ALL (ARRAY(SELECT practice_id FROM access_practice WHERE suspended))
            ORDER BY asked_at NULLS FIRST, number LIMIT $3
          ) oldest
        ) in_turn ORDER BY asked_at IS NOT NULL, turn, number LIMIT $2
        """,
        unanswered_since, limit, ahead,
    )  # fmt: skip
    return [Called(row["practice_id"], row["run_id"], row["number"], row["bulk"]) for row in rows]


async def inputs_for(key: Key, tx: Tx) -> list[asyncpg.Record]:
    """What was handed over to a run and not yet taken up, in order."""
    return await tx.rows("SELECT * FROM run_input WHERE practice_id = $1 AND run_id = $2 ORDER BY seq", *key)


async def event_by_id(practice_id: UUID, event_id: UUID, tx: Tx) -> asyncpg.Record | None:
    return await tx.row("SELECT event_id, type, data, at FROM event_log WHERE practice_id = $1 AND event_id = $2", practice_id, event_id)


async def is_suspended(practice_id: UUID, tx: Tx) -> bool:
    return bool(await tx.value("SELECT true FROM access_practice WHERE practice_id = $1 AND suspended", practice_id))


async def waits_until(key: Key, tx: Tx) -> datetime | None:
    """When the timer a run waits for rings; None without one, and while it is held."""
    due: datetime | None = await tx.value("SELECT due_at FROM durable_timer WHERE practice_id = $1 AND run_id = $2 AND NOT held", *key)
    return due
