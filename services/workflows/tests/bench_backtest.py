"""How fast a backtest goes through the past, on a real Postgres. Not collected by default: name the file to run it.

``pytest -s services/workflows/tests/bench_backtest.py`` prints events per second of one process, and how long others had to wait.
"""

from __future__ import annotations

import asyncio
import resource
import time
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest

from libs.common.work import Work, json_text
from services.workflows.commands.backtesting import Backtests
from services.workflows.rules.expressions.cel_cpp import CelCpp
from services.workflows.tests.bench_handling import cpu
from services.workflows.tests.engine.builtin import BuiltinDriver
from services.workflows.tests.engine.world import Visit, definition, practice_created, send, wait
from services.workflows.tests.test_backtest import ask, row_of
from services.workflows.tests.test_dry_run import branch, wait_for

EVENTS = 100_000
RARE = "event.title == 'Check-up 7' && patient.email != null"
_FILL = """
INSERT INTO event_log
SELECT $1, gen_random_uuid(), 'vantage.scheduling.appointment-booked.v1', p, a, t, t,
  $2::jsonb || jsonb_build_object('patient_id', p, 'appointment_id', a, 'title', 'Check-up ' || n % 100),
  jsonb_set(jsonb_set($3::jsonb, '{patient,id}', to_jsonb(p)), '{appointment,id}', to_jsonb(a)), '[]'
FROM (SELECT n, gen_random_uuid() AS p, gen_random_uuid() AS a, $4::timestamptz + n * interval '20 seconds' AS t FROM generate_series(1, $5) n) events
"""
WORKFLOWS: dict[str, tuple[dict[str, Any], dict[str, Any] | None]] = {
    "a filter, one in a hundred matches, one action": (definition(send(text="Dear {{ patient.given_name }}"), condition=RARE), None),
    "the same, compared with a published version": (
        definition(send(text="Dear {{ patient.given_name }}"), condition=RARE), definition(send(text="Dear patient"), condition=RARE)
    ),
    "no filter, two actions and a wait each": (definition(send("first"), wait("PT2H"), send("second")), None),
    "no filter, an answer awaited, a branch": (
        definition(wait_for(timeout="PT5H"), branch("steps.reply.outcome == 'event'", [send("thanks")], [send("nudge")])), None
    ),
}  # fmt: skip


async def filled(work: Work) -> BuiltinDriver:
    """A practice with so many bookings behind it, with all that is remembered of each."""
    engine = BuiltinDriver(work.engine)
    await engine.learn_catalogue()
    await engine.deliver(practice_created(engine.practice))
    visit = Visit()
    await engine.deliver(visit.registered(), visit.booked())
    async with engine.work(engine.admin) as tx:
        row = await tx.row("SELECT data, seen FROM event_log WHERE appointment_id = $1", visit.appointment_id)
        assert row is not None
        begins = engine.now - timedelta(seconds=20 * (EVENTS + 1))
        await tx.execute(_FILL, engine.practice, json_text(row["data"]), json_text(row["seen"]), begins, EVENTS)
    return engine


async def waits_of_others(stop: asyncio.Event) -> list[float]:
    """How long this process works before somebody else of it has a turn, again and again: processor time, whatever else runs."""
    waits: list[float] = []
    while not stop.is_set():
        began = cpu()
        await asyncio.sleep(0)
        waits.append(cpu() - began)
        await asyncio.wait({asyncio.create_task(stop.wait())}, timeout=0.002)
    return waits


async def timed(what: str, engine: BuiltinDriver, workflow: UUID, **body: Any) -> float:
    backtest = await ask(engine, workflow, days=30, **body)
    jobs, stop = Backtests(engine.work, CelCpp), asyncio.Event()
    others = asyncio.create_task(waits_of_others(stop))
    began, used = time.perf_counter(), cpu()
    while await jobs.round() is not None:
        pass
    seconds, used = time.perf_counter() - began, cpu() - used
    stop.set()
    waits = sorted(await others)
    row = await row_of(engine, backtest)
    assert (row["status"], row["events_done"]) == ("done", EVENTS)
    p99 = waits[len(waits) * 99 // 100] * 1000
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    started = row["result"]["draft"]["verdicts"].get("started", 0)
    print(  # noqa: T201
        f"{what:<48} {EVENTS / seconds:7.0f} events/s ({seconds:4.1f} s), {used / EVENTS * 1e6:3.0f} us CPU each, {started:>6} runs; others wait p99 {p99:4.1f} ms,"
        f" at most {waits[-1] * 1000:4.1f} ms; {memory:4.0f} MiB"
    )
    return EVENTS / seconds


@pytest.mark.bench
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("what", WORKFLOWS)
async def test_backtests(work: Work, what: str) -> None:
    draft, published = WORKFLOWS[what]
    engine = await filled(work)
    workflow = await engine.publish(published or draft)
    if published is not None:
        await engine.edit(workflow, draft)
    print()  # noqa: T201
    await timed(what, engine, workflow, compare_with="published" if published is not None else None)
