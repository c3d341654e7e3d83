"""How long a run on Temporal waits while another practice floods. Not collected by default: name the file to run it.

``pytest -s services/workflows/tests/bench_calls.py``: 1,000 runs of one practice are called, then one run of another, again and again;
the Temporal server of one process that keeps everything in a file. Prints what docs/decisions/0019 states.
"""

from __future__ import annotations

import time
from pathlib import Path
from statistics import median

import pytest

from libs.common.work import Work
from libs.testing.fixtures import incoming
from libs.testing.probe import until_async
from services.workflows.tests.bench_durable import count, on_temporal
from services.workflows.tests.engine.builtin import BuiltinDriver
from services.workflows.tests.engine.world import Visit, definition, send, wait

FLOOD = 1000
BATCH = 50
ONE_AFTER_THE_OTHER = 10


async def a_practice(work: Work, *steps: dict[str, object]) -> BuiltinDriver:
    engine = BuiltinDriver(work.engine)
    engine.work = work
    engine._start()
    await engine.learn_catalogue()
    await engine.publish(definition(*steps))
    return engine


async def steps(engine: BuiltinDriver) -> int:
    return await count(engine, "step", "requested")


async def to_first_step(engine: BuiltinDriver, loud: BuiltinDriver) -> tuple[float, int]:
    """Seconds from the booking to the first step, and how many steps of the other practice came between the call and it."""
    visit, before = Visit(), await steps(engine)
    await engine.batches.handle([incoming(visit.registered().message, engine.practice)])
    began = time.perf_counter()
    await engine.batches.handle([incoming(visit.booked().message, engine.practice)])
    ahead = await steps(loud)
    await until_async(lambda: steps(engine), lambda found: found > before, within=300, what="the first step")
    return time.perf_counter() - began, await steps(loud) - ahead


async def flood(engine: BuiltinDriver) -> None:
    for start in range(0, FLOOD, BATCH):
        visits = [Visit() for _ in range(min(BATCH, FLOOD - start))]
        await engine.batches.handle([incoming(visit.registered().message, engine.practice) for visit in visits])
        await engine.batches.handle([incoming(visit.booked().message, engine.practice) for visit in visits])


async def beside(loud: BuiltinDriver, quiet: BuiltinDriver, what: str) -> None:
    began = time.perf_counter()
    waits, ahead = zip(*[await to_first_step(quiet, loud) for _ in range(ONE_AFTER_THE_OTHER)], strict=True)
    done = await steps(loud)
    await until_async(lambda: steps(loud), lambda found: found == FLOOD, within=600, what="the flood")
    print(  # noqa: T201
        f"\n{what}: first {waits[0]:.2f} s, median {median(waits):.2f} s, longest {max(waits):.2f} s; steps of the flood meanwhile: first {ahead[0]}, "
        f"median {median(ahead):.0f}, most {max(ahead)}; of it {done} done by then, all after {time.perf_counter() - began:.0f} s"
    )


@pytest.mark.bench
async def test_calls(work: Work, tmp_path: Path) -> None:
    loud, quiet = await a_practice(work, send()), await a_practice(work, send())
    async with on_temporal(quiet, tmp_path):
        loud.orchestration = quiet.orchestration
        loud._start()
        alone = [(await to_first_step(quiet, loud))[0] for _ in range(ONE_AFTER_THE_OTHER)]
        print(f"\nalone: median {median(alone):.2f} s")  # noqa: T201
        await flood(loud)
        await beside(loud, quiet, f"beside {FLOOD} called runs of another practice")


@pytest.mark.bench
async def test_timers(work: Work, tmp_path: Path) -> None:
    loud, quiet = await a_practice(work, wait("PT1M"), send()), await a_practice(work, send())
    async with on_temporal(quiet, tmp_path):
        loud.orchestration = quiet.orchestration
        loud._start()
        await to_first_step(quiet, loud)
        await flood(loud)
        await until_async(lambda: steps(loud), lambda found: found > 0, within=300, what="the first timer")
        await beside(loud, quiet, f"beside {FLOOD} timers of another practice, while they ring")
