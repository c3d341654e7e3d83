"""Named selects that find runs which neither get on, nor wait for something that can come, nor have ended."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

import asyncpg

from libs.common.work import Tx

SETTLED = """
DELETE FROM stuck s USING run r WHERE s.practice_id = $1 AND r.practice_id = s.practice_id AND r.id = s.run_id AND (
  r.status <> 'running' OR NOT EXISTS (
    SELECT FROM step t WHERE t.practice_id = s.practice_id AND t.run_id = s.run_id AND t.step_id = s.step_id AND t.status IN ('requested', 'unknown')
  ) AND (s.code <> 'nothing_to_wait_for' OR EXISTS (
    SELECT FROM timer m WHERE m.practice_id = s.practice_id AND m.run_id = s.run_id) OR EXISTS (
    SELECT FROM durable_timer m WHERE m.practice_id = s.practice_id AND m.run_id = s.run_id)))
"""
"""What is stuck no more."""


async def anything(tx: Tx) -> bool:
    """Whether the practice has something that could stand still."""
    found: bool = await tx.value(
        """
        SELECT EXISTS (SELECT FROM run WHERE practice_id = $1 AND status = 'running') OR EXISTS (SELECT FROM stuck WHERE practice_id = $1)
          OR EXISTS (SELECT FROM job WHERE practice_id = $1 AND status = 'running')
          OR EXISTS (SELECT FROM workflow WHERE practice_id = $1 AND published_version IS NOT NULL)
        """,
        tx.practice_id,
    )
    return found


async def unscheduled(tx: Tx) -> list[asyncpg.Record]:
    """Published workflows that run by the clock and have no time to run at."""
    return await tx.rows(
        """
        SELECT w.id, v.definition -> 'trigger' AS trigger FROM workflow w
        JOIN workflow_version v ON v.practice_id = w.practice_id AND v.workflow_id = w.id AND v.version = w.published_version
        WHERE w.practice_id = $1 AND v.definition -> 'trigger' ->> 'kind' = 'schedule' AND NOT EXISTS (
          SELECT FROM schedule s WHERE s.practice_id = w.practice_id AND s.workflow_id = w.id)
        """,
        tx.practice_id,
    )


async def escaped(tx: Tx) -> list[UUID]:
    """Paused workflows with a run that is not held."""
    rows = await tx.rows(
        """
        SELECT w.id FROM workflow w WHERE w.practice_id = $1 AND w.paused AND EXISTS (
          SELECT FROM run r WHERE r.practice_id = w.practice_id AND r.workflow_id = w.id AND r.status = 'running' AND NOT r.paused)
        """,
        tx.practice_id,
    )
    return [row["id"] for row in rows]


async def forgotten(tx: Tx) -> list[UUID]:
    """Workflows that are not paused, with runs held and no job that lets go of them."""
    rows = await tx.rows(
        """
        SELECT DISTINCT r.workflow_id FROM run r JOIN workflow w ON w.practice_id = r.practice_id AND w.id = r.workflow_id
        WHERE r.practice_id = $1 AND r.status = 'running' AND r.held AND NOT w.paused AND NOT EXISTS (
          SELECT FROM job j WHERE j.practice_id = r.practice_id AND j.kind = 'release' AND j.workflow_id = r.workflow_id AND j.status = 'running')
        """,
        tx.practice_id,
    )
    return [row["workflow_id"] for row in rows]


async def standing(since: datetime, limit: int, tx: Tx) -> list[asyncpg.Record]:
    """Runs that are not paused and wait for nothing: they stopped between two steps."""
    return await tx.rows(
        """
        SELECT id, engine FROM run WHERE practice_id = $1 AND status = 'running' AND NOT waiting AND NOT paused AND started_at < $2
        ORDER BY id LIMIT $3
        """,
        tx.practice_id, since, limit,
    )  # fmt: skip


async def waiting_for_nothing(since: datetime, limit: int, tx: Tx) -> list[asyncpg.Record]:
    """Runs that wait, without a timer and without an action whose answer is open. Every wait has a timer, also one for an event."""
    return await tx.rows(
        """
        SELECT r.* FROM run r WHERE r.practice_id = $1 AND r.status = 'running' AND r.waiting AND r.started_at < $2
          AND NOT EXISTS (SELECT FROM timer t WHERE t.practice_id = r.practice_id AND t.run_id = r.id)
          AND NOT EXISTS (SELECT FROM durable_timer t WHERE t.practice_id = r.practice_id AND t.run_id = r.id)
          AND NOT EXISTS (SELECT FROM run_call c WHERE c.practice_id = r.practice_id AND c.run_id = r.id)
          AND NOT EXISTS (
            SELECT FROM step s WHERE s.practice_id = r.practice_id AND s.run_id = r.id AND s.status IN ('requested', 'unknown'))
        ORDER BY r.id LIMIT $3
        """,
        tx.practice_id, since, limit,
    )  # fmt: skip


async def unanswered(asked: datetime, unknown: datetime, limit: int, tx: Tx) -> list[asyncpg.Record]:
    """Runs whose action was asked for before ``asked`` and has no answer, or whose outcome is unknown since before ``unknown``."""
    return await tx.rows(
        """
        SELECT r.id, r.workflow_id, r.workflow_name, r.version, s.step_id, s.status AS step_status, s.started_at AS since
        FROM step s JOIN run r ON r.practice_id = s.practice_id AND r.id = s.run_id
        WHERE s.practice_id = $1 AND s.status IN ('requested', 'unknown') AND r.status = 'running'
          AND s.started_at < CASE s.status WHEN 'requested' THEN $2::timestamptz ELSE $3::timestamptz END
          AND NOT EXISTS (
            SELECT FROM stuck k WHERE k.practice_id = s.practice_id AND k.run_id = s.run_id AND k.step_id = s.step_id
              AND k.code = CASE s.status WHEN 'requested' THEN 'no_answer' ELSE 'unknown_outcome' END)
        ORDER BY s.started_at LIMIT $4
        """,
        tx.practice_id, asked, unknown, limit,
    )  # fmt: skip


async def practices_after(after: UUID | None, limit: int, tx: Tx) -> list[UUID]:
    """Practices that are not suspended, in the order of their ids."""
    rows = await tx.rows(
        "SELECT practice_id FROM access_practice WHERE NOT suspended AND ($1::uuid IS NULL OR practice_id > $1) ORDER BY practice_id LIMIT $2",
        after, limit,
    )  # fmt: skip
    return [row["practice_id"] for row in rows]
