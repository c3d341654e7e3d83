"""Runs with one action per second, on both engines, without the backbone. Not collected by default: name the file to run it.

``pytest -s services/workflows/tests/bench_durable.py``: bookings and answers in batches of 50, a real Postgres, and for the second
engine the Temporal server of one process that keeps everything in a file.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from uuid import uuid4

import pytest

from deploy.native.state import ROOT, _free_ports
from deploy.native.temporal import server, server_command
from libs.common.duties import Duty
from libs.common.secrets import SecretBox
from libs.common.work import Work
from libs.contracts.notifications import ActionFinished
from libs.testing.fixtures import SECRETS_KEYS, incoming
from libs.testing.probe import until_async
from services.workflows.adapters.temporal import RunsOnTemporal, Temporal
from services.workflows.durable.activities import RunActivities
from services.workflows.durable.worker import RunWorkers
from services.workflows.rules.runs.orchestration import TEMPORAL, Orchestration
from services.workflows.tests.engine.builtin import BuiltinDriver
from services.workflows.tests.engine.world import Visit, definition
from services.workflows.timers import call_durable_runs

RUNS = 300
WARM_UP = 50
BATCH = 50


@asynccontextmanager
async def on_temporal(engine: BuiltinDriver, folder: Path) -> AsyncIterator[None]:
    """A server, the service's workers and its duty beside the driver."""
    (port,) = _free_ports(1)
    command = server_command(server(ROOT / ".vantage"), port=port, database=folder / "temporal.db")
    process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.DEVNULL)
    temporal = Temporal(f"127.0.0.1:{port}", "default", SecretBox.local(SECRETS_KEYS))
    duty = Duty("durable", 0.5, lambda: call_durable_runs(engine.work, RunsOnTemporal(temporal.connect)))
    engine.orchestration = Orchestration(TEMPORAL, duty.wake)
    engine._start()
    workers = RunWorkers(temporal.connect, RunActivities(engine.work, engine.published))
    await workers.start()
    calling = asyncio.create_task(duty.forever())
    try:
        yield
    finally:
        duty.stop()
        await calling
        await workers.stop()
        process.terminate()
        await process.wait()


async def count(engine: BuiltinDriver, table: str, status: str) -> int:
    async with engine.work(engine.admin) as tx:
        found: int = await tx.value(f"SELECT count(*) FROM {table} WHERE practice_id = $1 AND status = $2", engine.practice, status)
        return found


async def play(engine: BuiltinDriver, runs: int) -> float:
    """Seconds from the first booking to the last run completed."""
    visits = [Visit() for _ in range(runs)]
    await engine.batches.handle([incoming(visit.registered().message, engine.practice) for visit in visits])
    before = len(await engine.requests())
    began = time.perf_counter()
    for start in range(0, runs, BATCH):
        await engine.batches.handle([incoming(visit.booked().message, engine.practice) for visit in visits[start : start + BATCH]])
    await until_async(lambda: count(engine, "step", "requested"), lambda found: found == runs, within=300, what="all asked for")
    requests = (await engine.requests())[before:]
    answers = [
        ActionFinished(effect_key=r.effect_key, action=r.action, run_id=r.run_id, step_id=r.step_id, outcome="succeeded") for r in requests
    ]
    for start in range(0, runs, BATCH):
        await engine.batches.handle([incoming(answer, engine.practice, ce_id=str(uuid4())) for answer in answers[start : start + BATCH]])
    await until_async(lambda: count(engine, "run", "running"), lambda found: found == 0, within=300, what="all completed")
    return time.perf_counter() - began


async def measured(engine: BuiltinDriver) -> float:
    """Runs per second, once everything has been up for a while."""
    await engine.learn_catalogue()
    await engine.publish(definition())
    await play(engine, WARM_UP)
    return RUNS / await play(engine, RUNS)


@pytest.mark.bench
async def test_runs_per_second(work: Work, tmp_path: Path) -> None:
    builtin, durable = BuiltinDriver(work.engine), BuiltinDriver(work.engine)
    builtin.work = durable.work = work
    builtin._start()
    print(f"\nbuiltin:  {await measured(builtin):6.0f} runs/s")  # noqa: T201
    async with on_temporal(durable, tmp_path):
        print(f"temporal: {await measured(durable):6.0f} runs/s")  # noqa: T201
