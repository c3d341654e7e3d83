"""Timers at scale: not run by default, and nothing for a small machine in a hurry. Name the file to run it:

``pytest -s services/workflows/tests/bench_timers.py``. Real Postgres, workers that are processes of their own, one of them killed.
"""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import signal
import time
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest

from libs.common.db import TenancySigner, make_engine
from libs.common.duties import Duty
from libs.common.work import Work
from libs.testing.fixtures import POOLED
from libs.testing.postgres import TENANCY_KEY, TestDatabase
from libs.testing.probe import until_async
from services.workflows.commands.published import PublishedWorkflows
from services.workflows.commands.timers import SYSTEM
from services.workflows.tests.engine.builtin import BuiltinDriver
from services.workflows.tests.engine.world import Visit, definition, send, wait
from services.workflows.timers import fire_timers

PRACTICES = int(os.environ.get("BENCH_PRACTICES", "100"))
PENDING = int(os.environ.get("BENCH_PENDING", "100000"))
WORKERS = 3
RATE = 50
SECONDS = int(os.environ.get("BENCH_SECONDS", "60"))

_COPY_RUNS = """
INSERT INTO run SELECT r.practice_id, gen_random_uuid(), r.workflow_id, r.workflow_name, r.version, gen_random_uuid(), r.trigger_type, r.event, r.patient_id,
  r.appointment_id, r.status, r.cursor, r.waiting, r.error_code, r.correlation_id, r.traceparent, r.started_at, r.finished_at, r.depth, r.memory, r.paused,
  r.anchored, r.rerun, r.failed_step FROM run r, generate_series(1, $2) WHERE r.practice_id = $1
"""
_STEPS = """
INSERT INTO step (practice_id, run_id, step_id, kind, status, due_at, started_at)
SELECT r.practice_id, r.id, 'pause', 'wait', 'waiting', $2, r.started_at FROM run r WHERE r.practice_id = $1 ON CONFLICT DO NOTHING
"""
_TIMERS = "INSERT INTO timer SELECT practice_id, id, 'pause', $2 FROM run WHERE practice_id = $1 ON CONFLICT DO NOTHING"
_SPREAD = """
UPDATE timer t SET due_at = $1::timestamptz + n.place * interval '1 second' / $2::float
FROM (SELECT practice_id, run_id, row_number() OVER (ORDER BY run_id) AS place FROM timer WHERE practice_id = ANY($4::uuid[]) ORDER BY run_id LIMIT $3) n
WHERE t.practice_id = n.practice_id AND t.run_id = n.run_id
"""


def worker(url: str, ready: Any) -> None:
    """One process of the service, as far as timers go."""

    async def main() -> None:
        work = Work("workflows", make_engine(url, application="timers", pooled=POOLED), TenancySigner(TENANCY_KEY))
        published = PublishedWorkflows()
        await fire_timers(work, published)
        ready.release()
        await Duty("timers", 0.5, lambda: fire_timers(work, published)).forever()

    asyncio.run(main())


def say(text: str) -> None:
    print(text)  # noqa: T201


async def pending_runs(work: Work) -> list[UUID]:
    """So many runs that wait for a day, spread over practices."""
    practices: list[UUID] = []
    for _ in range(PRACTICES):
        engine = BuiltinDriver(work.engine)
        await engine.publish(definition(wait("P1D"), send()))
        visit = Visit()
        await engine.deliver(visit.registered(), visit.booked())
        later = datetime.now(UTC) + timedelta(days=1)
        async with engine.work(engine.admin) as tx:
            await tx.execute(_COPY_RUNS, engine.practice, PENDING // PRACTICES - 1)
            await tx.execute(_STEPS, engine.practice, later)
            await tx.execute(_TIMERS, engine.practice, later)
        practices.append(engine.practice)
    return practices


async def count(work: Work, sql: str, *args: Any) -> int:
    async with work.batch([], SYSTEM) as tx:
        return int(await tx.value(sql, *args) or 0)


async def totals(work: Work, practices: list[UUID], sql: str, *args: Any) -> Any:
    """Of tenant tables, which only a transaction of theirs may read."""
    async with work.batch(practices, SYSTEM) as tx:
        return await tx.row(sql, practices, *args)


@pytest.mark.bench
@pytest.mark.timeout(3600)
async def test_a_hundred_thousand_timers(work: Work, database: TestDatabase) -> None:
    engine = BuiltinDriver(work.engine)
    await engine.learn_catalogue()
    practices = await pending_runs(work)
    url = database.app("workflows")
    spawn = multiprocessing.get_context("spawn")
    ready = spawn.Semaphore(0)
    workers = [spawn.Process(target=worker, args=(url, ready), daemon=True) for _ in range(WORKERS)]
    for process in workers:
        process.start()
    for _ in workers:
        assert ready.acquire(timeout=120)
    begin = datetime.now(UTC) + timedelta(seconds=5)
    on_time = RATE * SECONDS
    async with work.batch([], SYSTEM) as tx:
        await tx.execute(_SPREAD, begin, RATE, on_time, practices)
    say(f"\n{PENDING} pending in {PRACTICES} practices, {WORKERS} workers, {RATE}/s for {SECONDS} s, one killed in the middle")
    await _until(begin + timedelta(seconds=SECONDS / 2))
    assert workers[0].pid is not None
    os.kill(workers[0].pid, signal.SIGKILL)
    await _until(begin + timedelta(seconds=SECONDS + 2))
    fired = PENDING - await count(work, _PENDING, practices)
    late = await totals(work, practices, _LATE, begin, RATE)
    say(f"fired {fired} of {on_time}; late p50/p99/p99.9/max: {[round(float(ms)) for ms in late['ms']]} ms")
    assert fired == on_time

    async def left() -> int:
        return await count(work, _PENDING, practices)

    behind = PENDING - on_time
    async with work.batch([], SYSTEM) as tx:
        await tx.execute(
            "UPDATE timer SET due_at = $2 WHERE practice_id = ANY($1::uuid[])", practices, datetime.now(UTC) - timedelta(hours=1)
        )
    began = time.perf_counter()
    await until_async(left, lambda found: found < behind / 2, within=1800)
    workers[1].kill()
    await until_async(left, lambda found: found == 0, within=1800)
    say(f"catching up on {behind} timers an hour late, one more worker killed: {behind / (time.perf_counter() - began):.0f}/s")
    asked = await totals(work, practices, _ASKED)
    say(f"asked for {asked['asked']} effects, {asked['different']} different, {asked['steps']} waits ended")
    for process in workers:
        process.kill()
        process.join()
    assert asked["asked"] == asked["different"] == asked["steps"] == PENDING


_PENDING = "SELECT count(*) FROM timer WHERE practice_id = ANY($1::uuid[])"
_LATE = """
SELECT percentile_disc(ARRAY[0.5, 0.99, 0.999, 1.0]) WITHIN GROUP (ORDER BY late) AS ms FROM (
  SELECT extract(epoch FROM finished_at - ($2::timestamptz + row_number() OVER (ORDER BY run_id) * interval '1 second' / $3::float)) * 1000 AS late
  FROM step WHERE practice_id = ANY($1::uuid[]) AND step_id = 'pause' AND status = 'succeeded') fired
"""
_ASKED = """
SELECT (SELECT count(*) FROM outbox WHERE practice_id = ANY($1::uuid[]) AND type LIKE '%perform-action%') AS asked,
  (SELECT count(DISTINCT payload ->> 'effect_key') FROM outbox WHERE practice_id = ANY($1::uuid[]) AND type LIKE '%perform-action%') AS different,
  (SELECT count(*) FROM step WHERE practice_id = ANY($1::uuid[]) AND step_id = 'pause' AND status = 'succeeded') AS steps
"""


async def _until(moment: datetime) -> None:
    async def now() -> datetime:
        return datetime.now(UTC)

    await until_async(now, lambda found: found >= moment, within=3600)
