"""What a run costs as history grows: not run by default. Name the file to run it:

``pytest -s services/workflows/tests/bench_history.py``. The same batches before and after a million finished runs of the same
practice and workflow, with their steps and the events that started them.
"""

from __future__ import annotations

import os
import time
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import asyncpg
import pytest

from libs.common.work import Work
from libs.contracts.notifications import ActionFinished
from libs.testing.postgres import TestDatabase
from services.workflows.commands.timers import SYSTEM, fire_due
from services.workflows.tests.engine.builtin import BuiltinDriver
from services.workflows.tests.engine.driver import Said
from services.workflows.tests.engine.world import CONFIRMED, Visit, definition, heard, practice_created, send, wait, wait_for

RUNS = int(os.environ.get("BENCH_RUNS", "1000000"))
CHUNK = 50_000
ROUND = 500
BATCH = 50

_RUNS = """
INSERT INTO run (practice_id, id, workflow_id, workflow_name, version, trigger_event_id, trigger_type, event, patient_id, appointment_id, status, cursor,
  waiting, correlation_id, traceparent, started_at, finished_at)
SELECT r.practice_id, md5('run' || n)::uuid, r.workflow_id, r.workflow_name, r.version, md5('event' || n)::uuid, r.trigger_type, r.event,
  md5('patient' || n % 20000)::uuid, md5('appointment' || n)::uuid, CASE WHEN n % 50 = 0 THEN 'failed' ELSE 'completed' END, 4, false, r.correlation_id,
  r.traceparent, r.started_at - n * interval '3 seconds', r.started_at - n * interval '3 seconds'
FROM (SELECT * FROM run WHERE practice_id = $1 LIMIT 1) r, generate_series($2::int, $3::int) n
"""
_STEPS = """
INSERT INTO step (practice_id, run_id, step_id, kind, status, action, effect_key, started_at, finished_at)
SELECT $1, md5('run' || n)::uuid, s, 'action', 'succeeded', 'send_email', md5(s || n)::uuid, now(), now()
FROM generate_series($2::int, $3::int) n, unnest(ARRAY['intake', 'remind']) s
"""
_EVENTS = """
INSERT INTO event_log (practice_id, event_id, type, patient_id, appointment_id, at, recorded_at, data, seen, decisions)
SELECT l.practice_id, md5('event' || n)::uuid, l.type, md5('patient' || n % 20000)::uuid, md5('appointment' || n)::uuid, l.at - n * interval '3 seconds',
  l.recorded_at - n * interval '3 seconds', l.data, '{}', '[]'
FROM (SELECT * FROM event_log WHERE practice_id = $1 AND type LIKE '%booked%' LIMIT 1) l, generate_series($2::int, $3::int) n
"""
_ENROLLED = """
INSERT INTO enrolment SELECT $1, (SELECT workflow_id FROM run WHERE practice_id = $1 LIMIT 1), md5('patient' || n)::uuid::text, md5('run' || n)::uuid, now()
FROM generate_series($2::int, $3::int) n
"""


def say(text: str) -> None:
    print(text)  # noqa: T201


async def timed(what: str, engine: BuiltinDriver, said: list[Said]) -> None:
    began = time.perf_counter()
    for start in range(0, len(said), BATCH):
        await engine.batches.handle([engine.record(one) for one in said[start : start + BATCH]])
    say(f"  {what:<44} {(time.perf_counter() - began) / len(said) * 1e3:6.2f} ms each")


async def rounds(engine: BuiltinDriver) -> None:
    """Bookings, answers, timers, and confirmations that are waited for, each of as many runs."""
    visits = [Visit() for _ in range(ROUND)]
    await engine.deliver(*(visit.registered() for visit in visits))
    asked_before = len(await engine.requests())
    await timed("a booking starts a run and asks", engine, [visit.booked() for visit in visits])
    requests = (await engine.requests())[asked_before:]
    assert len(requests) == ROUND
    answers = [
        ActionFinished(effect_key=r.effect_key, action=r.action, run_id=r.run_id, step_id=r.step_id, outcome="succeeded") for r in requests
    ]
    await timed("an answer sets a timer", engine, [Said(uuid4(), answer) for answer in answers])
    engine.now += timedelta(hours=2)
    began = time.perf_counter()
    while await fire_due(engine.work, engine.published):
        pass
    say(f"  {'a timer fires, looks back and waits':<44} {(time.perf_counter() - began) / ROUND * 1e3:6.2f} ms each")
    await timed("a confirmation is what a run waited for", engine, [visit.confirmed() for visit in visits])
    assert len(await engine.requests()) == asked_before + 2 * ROUND


async def grow(practice: UUID, database: TestDatabase) -> None:
    """As the owner of everything, without the checks of each row: history is only scenery here."""
    connection = await asyncpg.connect(database.url("postgres"), timeout=60)
    await connection.execute("SET search_path = workflows; SET session_replication_role = replica; SET statement_timeout = 0")
    for start in range(1, RUNS + 1, CHUNK):
        for sql in (_RUNS, _STEPS, _EVENTS, _ENROLLED):
            await connection.execute(sql, practice, start, min(RUNS, start + CHUNK - 1), timeout=3600)
    await connection.execute("ANALYZE run, step, event_log, enrolment", timeout=3600)
    await connection.close()


@pytest.mark.bench
@pytest.mark.timeout(3600)
async def test_the_cost_of_a_run_does_not_grow_with_history(work: Work, database: TestDatabase) -> None:
    engine = BuiltinDriver(work.engine)
    await engine.learn_catalogue()
    await engine.deliver(practice_created(engine.practice))
    steps = (send(), wait(), wait_for(heard(CONFIRMED), look_back="P7D"), send("remind"))
    await engine.publish(definition(*steps) | {"enrolment": {"policy": "once"}})
    for title in ("warming up", "no history"):
        say(f"\n{title}")
        await rounds(engine)
    began = time.perf_counter()
    await grow(engine.practice, database)
    say(f"\n{RUNS} finished runs, {2 * RUNS} steps and {RUNS} events more, in {time.perf_counter() - began:.0f} s")
    for title in ("the first batches with them", "with history"):
        say(title)
        await rounds(engine)
    async with work.batch([], SYSTEM) as tx:
        size: Any = await tx.value(
            "SELECT pg_size_pretty(pg_total_relation_size('run') + pg_total_relation_size('step') + pg_total_relation_size('event_log'))"
        )
    say(f"run, step and event_log take {size}")
