"""Named selects that find runs which neither get on, nor wait for something that can come, nor have ended."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

import asyncpg

from libs.common.work import Tx

_SETTLED = """
s.practice_id = $1 AND r.practice_id = s.practice_id AND r.id = s.run_id AND (r.status <> 'running' OR CASE s.code
  WHEN 'engine_silent' THEN
    NOT EXISTS (SELECT FROM run_call c WHERE c.practice_id = s.practice_id AND c.run_id = s.run_id AND c.called_at < $2)
    AND NOT EXISTS (SELECT FROM durable_timer m WHERE m.practice_id = s.practice_id AND m.run_id = s.run_id AND m.due_at < $2 AND NOT m.held)
  WHEN 'keeps_failing' THEN (r.waiting OR r.paused) AND NOT (r.held
      AND EXISTS (SELECT FROM workflow w WHERE w.practice_id = r.practice_id AND w.id = r.workflow_id AND NOT w.paused))
    AND NOT EXISTS (SELECT FROM timer m WHERE m.practice_id = s.practice_id AND m.run_id = s.run_id AND m.postponed > 0)
    AND (r.engine <> 'builtin' OR NOT EXISTS (SELECT FROM run_input i WHERE i.practice_id = s.practice_id AND i.run_id = s.run_id))
  ELSE NOT EXISTS (SELECT FROM step t WHERE t.practice_id = s.practice_id AND t.run_id = s.run_id AND t.step_id = s.step_id
      AND t.status IN ('requested', 'unknown'))
    AND (s.code <> 'nothing_to_wait_for' OR EXISTS (SELECT FROM timer m WHERE m.practice_id = s.practice_id AND m.run_id = s.run_id)
      OR EXISTS (SELECT FROM durable_timer m WHERE m.practice_id = s.practice_id AND m.run_id = s.run_id))
  END)
"""
SETTLED = f"DELETE FROM stuck s USING run r WHERE {_SETTLED}"
"""What is stuck no more."""

_SETTLED_SCHEDULES = """
k.practice_id = $1 AND NOT EXISTS (
  SELECT FROM schedule s WHERE s.practice_id = k.practice_id AND s.workflow_id = k.workflow_id AND s.postponed > 0)
"""
SETTLED_SCHEDULES = f"DELETE FROM stuck_schedule k WHERE {_SETTLED_SCHEDULES}"
_SETTLES = f"""
SELECT EXISTS (SELECT FROM stuck s, run r WHERE {_SETTLED}) OR EXISTS (SELECT FROM stuck_schedule k WHERE {_SETTLED_SCHEDULES})
  OR EXISTS (SELECT FROM job j WHERE j.practice_id = $1 AND j.status = 'running' AND NOT EXISTS (
    SELECT FROM job_due d WHERE d.practice_id = j.practice_id AND d.job_id = j.id))
"""
_HELD_TIMERS = """
SELECT t.run_id FROM {table} t JOIN run r ON r.practice_id = t.practice_id AND r.id = t.run_id
WHERE t.practice_id = $1 AND t.held AND r.status = 'running' AND NOT r.paused LIMIT $2
"""
_ORPHANS = """
SELECT t.run_id FROM {table} t JOIN run r ON r.practice_id = t.practice_id AND r.id = t.run_id
WHERE t.practice_id = $1 AND t.due_at < $2 AND r.status <> 'running' LIMIT $3
"""


async def anything(tx: Tx) -> bool:
    """Whether the practice has something that could stand still."""
    found: bool = await tx.value(
        """
        SELECT EXISTS (SELECT FROM run WHERE practice_id = $1 AND status = 'running') OR EXISTS (SELECT FROM stuck WHERE practice_id = $1)
          OR EXISTS (SELECT FROM job WHERE practice_id = $1 AND status = 'running')
          OR EXISTS (SELECT FROM workflow WHERE practice_id = $1 AND published_version IS NOT NULL)
          OR EXISTS (SELECT FROM stuck_schedule WHERE practice_id = $1)
        """,
        tx.practice_id,
    )
    return found


async def settles(called: datetime, tx: Tx) -> bool:
    """Whether something is stuck no more, or a job is at work that nobody comes to."""
    return bool(await tx.value(_SETTLES, tx.practice_id, called))


async def held_timers(table: str, limit: int, tx: Tx) -> list[UUID]:
    """Runs that go on and are not paused, with a timer that is held."""
    return [row["run_id"] for row in await tx.rows(_HELD_TIMERS.format(table=table), tx.practice_id, limit)]


async def orphans(table: str, due: datetime, limit: int, tx: Tx) -> list[UUID]:
    """Runs that have ended, with a timer that was due before that moment."""
    return [row["run_id"] for row in await tx.rows(_ORPHANS.format(table=table), tx.practice_id, due, limit)]


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
    """Paused workflows with a run that is not held, and no job that holds them."""
    rows = await tx.rows(
        """
        SELECT w.id FROM workflow w WHERE w.practice_id = $1 AND w.paused AND EXISTS (
          SELECT FROM run r WHERE r.practice_id = w.practice_id AND r.workflow_id = w.id AND r.status = 'running' AND NOT r.paused)
          AND NOT EXISTS (
          SELECT FROM job j WHERE j.practice_id = w.practice_id AND j.kind = 'hold' AND j.workflow_id = w.id AND j.status = 'running')
        """,
        tx.practice_id,
    )
    return [row["id"] for row in rows]


async def forgotten(tx: Tx) -> list[UUID]:
    """Workflows that are not paused, with runs held and no job that lets go of them. Those that could not be let go are ``left_behind``."""
    rows = await tx.rows(
        """
        SELECT DISTINCT r.workflow_id FROM run r JOIN workflow w ON w.practice_id = r.practice_id AND w.id = r.workflow_id
        WHERE r.practice_id = $1 AND r.status = 'running' AND r.held AND NOT w.paused AND NOT EXISTS (
          SELECT FROM job j WHERE j.practice_id = r.practice_id AND j.kind = 'release' AND j.workflow_id = r.workflow_id AND j.status = 'running')
          AND NOT EXISTS (SELECT FROM stuck s WHERE s.practice_id = r.practice_id AND s.run_id = r.id AND s.code = 'keeps_failing')
        """,
        tx.practice_id,
    )
    return [row["workflow_id"] for row in rows]


async def left_behind(limit: int, tx: Tx) -> list[asyncpg.Record]:
    """Runs that are held though their workflow goes on, because they could not be let go."""
    return await tx.rows(
        """
        SELECT r.* FROM stuck s JOIN run r ON r.practice_id = s.practice_id AND r.id = s.run_id
        JOIN workflow w ON w.practice_id = r.practice_id AND w.id = r.workflow_id
        WHERE s.practice_id = $1 AND s.code = 'keeps_failing' AND r.status = 'running' AND r.held AND NOT w.paused ORDER BY r.id LIMIT $2
        """,
        tx.practice_id, limit,
    )  # fmt: skip


async def kept_back(limit: int, tx: Tx) -> list[asyncpg.Record]:
    """Runs of the built-in engine for which something is kept: it could not be taken up when it came."""
    return await tx.rows(
        """
        SELECT r.* FROM run r WHERE r.practice_id = $1 AND r.engine = 'builtin'
          AND r.id IN (SELECT run_id FROM run_input WHERE practice_id = $1) ORDER BY r.id LIMIT $2
        """,
        tx.practice_id, limit,
    )  # fmt: skip


async def standing(since: datetime, limit: int, tx: Tx, among: list[UUID] | None = None) -> list[asyncpg.Record]:
    """Runs that are not paused, nor their workflow, wait for nothing and are not called: they stopped between two steps.

    ``among``: of these only.
    """
    return await tx.rows(
        """
        SELECT * FROM run r WHERE practice_id = $1 AND status = 'running' AND NOT waiting AND NOT paused AND started_at < $2
          AND NOT EXISTS (SELECT FROM workflow w WHERE w.practice_id = r.practice_id AND w.id = r.workflow_id AND w.paused)
          AND NOT EXISTS (SELECT FROM run_call c WHERE c.practice_id = r.practice_id AND c.run_id = r.id)
          AND ($4::uuid[] IS NULL OR id = ANY($4))
        ORDER BY id LIMIT $3
        """,
        tx.practice_id, since, limit, among,
    )  # fmt: skip


async def waiting_for_nothing(since: datetime, limit: int, tx: Tx, among: list[UUID] | None = None) -> list[asyncpg.Record]:
    """Runs that wait, without a timer and without an action whose answer is open. Every wait has a timer, also one for an event.

    ``among``: of these only.
    """
    return await tx.rows(
        """
        SELECT r.* FROM run r WHERE r.practice_id = $1 AND r.status = 'running' AND r.waiting AND r.started_at < $2
          AND NOT EXISTS (SELECT FROM timer t WHERE t.practice_id = r.practice_id AND t.run_id = r.id)
          AND NOT EXISTS (SELECT FROM durable_timer t WHERE t.practice_id = r.practice_id AND t.run_id = r.id)
          AND NOT EXISTS (SELECT FROM run_call c WHERE c.practice_id = r.practice_id AND c.run_id = r.id)
          AND NOT EXISTS (
            SELECT FROM step s WHERE s.practice_id = r.practice_id AND s.run_id = r.id AND s.status IN ('requested', 'unknown'))
          AND ($4::uuid[] IS NULL OR r.id = ANY($4))
        ORDER BY r.id LIMIT $3
        """,
        tx.practice_id, since, limit, among,
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


async def unheard(called: datetime, limit: int, tx: Tx) -> list[asyncpg.Record]:
    """Runs of the durable engine that were called before that moment, or whose timer was due before it, and that nobody has brought on.

    Who waits its turn while others of the practice are brought on is not among them; who was told before that moment is.
    """
    return await tx.rows(
        """
        SELECT r.id, r.workflow_id, r.workflow_name, r.version, min(u.since) AS since FROM (
          SELECT run_id, called_at AS since, asked_first < $2 AS told FROM run_call WHERE practice_id = $1 AND called_at < $2
          UNION ALL SELECT run_id, due_at, false FROM durable_timer WHERE practice_id = $1 AND due_at < $2 AND NOT held
        ) u JOIN run r ON r.practice_id = $1 AND r.id = u.run_id
        WHERE r.status = 'running' AND (u.told OR NOT EXISTS (
          SELECT FROM durable_progress d WHERE d.practice_id = $1 AND d.answered_at >= $2)) AND NOT EXISTS (
          SELECT FROM stuck k WHERE k.practice_id = $1 AND k.run_id = u.run_id AND k.code = 'engine_silent')
        GROUP BY r.practice_id, r.id ORDER BY since LIMIT $3
        """,
        tx.practice_id, called, limit,
    )  # fmt: skip


async def failing_timers(times: int, limit: int, tx: Tx) -> list[asyncpg.Record]:
    """Runs whose timer was put off so often because it failed."""
    return await tx.rows(
        """
        SELECT r.id, r.workflow_id, r.workflow_name, r.version, t.step_id, t.failing_since AS since
        FROM timer t JOIN run r ON r.practice_id = t.practice_id AND r.id = t.run_id
        WHERE t.practice_id = $1 AND t.postponed > 0 AND t.postponed >= $2 AND r.status = 'running' AND NOT EXISTS (
          SELECT FROM stuck k WHERE k.practice_id = t.practice_id AND k.run_id = t.run_id AND k.code = 'keeps_failing')
        ORDER BY t.failing_since LIMIT $3
        """,
        tx.practice_id, times, limit,
    )  # fmt: skip


async def failing_schedules(times: int, tx: Tx) -> list[asyncpg.Record]:
    """Schedules that were put off so often because their turn failed, and are not shown yet."""
    return await tx.rows(
        """
        SELECT w.id, w.name, w.published_version AS version, s.failing_since AS since
        FROM schedule s JOIN workflow w ON w.practice_id = s.practice_id AND w.id = s.workflow_id
        WHERE s.practice_id = $1 AND s.postponed >= $2 AND w.published_version IS NOT NULL AND NOT EXISTS (
          SELECT FROM stuck_schedule k WHERE k.practice_id = s.practice_id AND k.workflow_id = s.workflow_id)
        """,
        tx.practice_id, times,
    )  # fmt: skip


async def everything_stuck(tx: Tx, *, after: tuple[str, ...] | None, limit: int) -> list[asyncpg.Record]:
    """Every cause somebody has to look at, of runs and of schedules (without a run), the oldest first; one more than ``limit`` when there is more."""
    return await tx.rows(
        """
        SELECT * FROM (
          SELECT s.run_id, r.workflow_id, r.workflow_name, r.version, s.step_id, s.code, s.since, s.raised_at,
            concat_ws('/', r.workflow_id, s.run_id, s.step_id, s.code) AS place
          FROM stuck s JOIN run r ON r.practice_id = s.practice_id AND r.id = s.run_id WHERE s.practice_id = $1
          UNION ALL
          SELECT NULL, workflow_id, workflow_name, version, NULL, code, since, raised_at, concat_ws('/', workflow_id, code)
          FROM stuck_schedule WHERE practice_id = $1
        ) AS all_of_it WHERE $2::timestamptz IS NULL OR (raised_at, place) > ($2, $3::text) ORDER BY raised_at, place LIMIT $4
        """,
        tx.practice_id, datetime.fromisoformat(after[0]) if after else None, after[1] if after else None, limit + 1,
    )  # fmt: skip


async def practices_after(after: UUID | None, limit: int, tx: Tx) -> list[UUID]:
    """Practices that are not suspended, in the order of their ids."""
    rows = await tx.rows(
        "SELECT practice_id FROM access_practice WHERE NOT suspended AND ($1::uuid IS NULL OR practice_id > $1) ORDER BY practice_id LIMIT $2",
        after, limit,
    )  # fmt: skip
    return [row["practice_id"] for row in rows]
