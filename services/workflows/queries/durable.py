"""Named selects about runs of the durable engine."""

from __future__ import annotations

from datetime import datetime, timedelta
from uuid import UUID

import asyncpg

from libs.common.work import Tx
from services.workflows.queries.world import Key
from services.workflows.rules.runs.orchestration import PATIENCE, Bound, Called

_CALLS = """
WITH RECURSIVE practice AS (
  (SELECT practice_id FROM run_call ORDER BY practice_id LIMIT 1)
  UNION ALL
  SELECT n.practice_id FROM practice p, LATERAL (
    SELECT practice_id FROM run_call WHERE practice_id > p.practice_id ORDER BY practice_id LIMIT 1) n
), awake AS (
  SELECT practice_id, EXISTS (SELECT FROM durable_progress d WHERE d.practice_id = p.practice_id AND d.answered_at >= $2::timestamptz - $3::interval) AS gets_on
  FROM practice p WHERE practice_id <> ALL (ARRAY(SELECT practice_id FROM access_practice WHERE suspended))
), line AS MATERIALIZED (
  SELECT practice_id, gets_on, (SELECT count(*) FROM run_call c WHERE c.practice_id = a.practice_id AND c.bulk = $1
    AND c.asked_at > $2::timestamptz - $3::interval * CASE WHEN gets_on THEN $6::int ELSE 1 END) AS told FROM awake a
), next AS (
  SELECT c.*, told + row_number() OVER (PARTITION BY c.practice_id ORDER BY tell_at, number) AS place FROM line, LATERAL (
    SELECT practice_id, run_id, number, tell_at FROM run_call r WHERE r.practice_id = line.practice_id AND bulk = $1 AND tell_at <= $2::timestamptz
      AND (asked = 0 OR NOT gets_on OR asked_at + $6::int * (tell_at - asked_at) <= $2)
    ORDER BY tell_at, number LIMIT greatest($4 - told, 0)) c
), turn AS (SELECT *, row_number() OVER (ORDER BY place, tell_at, number) AS turn FROM next)
SELECT practice_id, run_id, number FROM turn WHERE place = 1 OR turn <= $5 - (SELECT coalesce(sum(told), 0) FROM line) ORDER BY turn
"""
"""``place``: how many of its practice and class are out before it, itself included. The same however many of one practice wait."""


async def calls(bulk: bool, bound: Bound, within: timedelta, tx: Tx) -> list[Called]:
    """Who is to be told now, in turns of the practices that are not suspended.

    Who was told is out until it answers, at most for ``within``, and ``PATIENCE`` times as long while others of its practice are answered.
    """
    rows = await tx.rows(_CALLS, bulk, tx.now, within, bound.of_one, bound.altogether, PATIENCE)
    return [Called(row["practice_id"], row["run_id"], row["number"], bulk) for row in rows]


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
