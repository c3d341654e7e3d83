"""How long one practice waits while another floods. Not collected by default: name the file to run it.

``pytest -s services/workflows/tests/bench_fairness.py`` floods with 10,000 events and prints what docs/decisions/0019 states.
"""

from __future__ import annotations

import time
from datetime import timedelta
from uuid import uuid4

import pytest

from libs.common.messaging import Incoming
from libs.common.messaging.backlog import Backlog
from libs.common.work import Work
from services.workflows.commands.timers import fire_due
from services.workflows.tests.engine.builtin import BuiltinDriver
from services.workflows.tests.engine.world import Visit, definition, send, wait

FLOOD = 10_000
POLLED = 500
"""As many records as are read at once."""
TURN = 200
"""As many as one transaction holds."""


async def a_practice(work: Work, *steps: dict[str, object]) -> BuiltinDriver:
    engine = BuiltinDriver(work.engine, uuid4())
    await engine.learn_catalogue()
    await engine.publish(definition(*steps))
    return engine


@pytest.mark.bench
async def test_events(work: Work) -> None:
    loud, quiet = await a_practice(work, send()), await a_practice(work, send())
    visits = [Visit() for _ in range(FLOOD)]
    known = [loud.record(visit.registered()) for visit in visits]
    for start in range(0, FLOOD, POLLED):
        await loud.batches.handle(known[start : start + POLLED])
    flood = [loud.record(visit.booked()) for visit in visits]

    async def booked() -> Incoming:
        visit = Visit()
        await quiet.deliver(visit.registered())
        return quiet.record(visit.booked())

    backlog = Backlog()
    backlog.put(flood)
    await loud.batches.handle(backlog.take(POLLED))
    backlog.put([await booked()])
    began = time.perf_counter()
    while not await quiet.requests():
        await loud.batches.handle(backlog.take(TURN))
    overtook = time.perf_counter() - began
    while len(backlog):
        await loud.batches.handle(backlog.take(TURN))
    behind = time.perf_counter() - began
    print(f"\nread and behind {len(flood) - POLLED} events of another practice: {overtook * 1000:.0f} ms")  # noqa: T201
    print(f"all of them: {behind:.1f} s, {(FLOOD - POLLED) / behind:.0f} events/s")  # noqa: T201


@pytest.mark.bench
async def test_timers(work: Work) -> None:
    loud, quiet = await a_practice(work, wait("PT1H"), send()), await a_practice(work, wait("PT1H"), send())
    visits = [Visit() for _ in range(FLOOD)]
    for start in range(0, FLOOD, POLLED // 2):
        some = visits[start : start + POLLED // 2]
        await loud.batches.handle([loud.record(said) for visit in some for said in (visit.registered(), visit.booked())])
    quiet.now = loud.now + timedelta(minutes=1)
    visit = Visit()
    await quiet.deliver(visit.registered(), visit.booked())
    loud.now += timedelta(hours=2)
    began, claims = time.perf_counter(), 0
    while not await quiet.requests():
        await fire_due(loud.work, loud.published)
        claims += 1
    print(f"\na timer behind {FLOOD} due ones of another practice: {claims} claim(s), {(time.perf_counter() - began) * 1000:.0f} ms")  # noqa: T201
    while await fire_due(loud.work, loud.published):
        pass
    print(f"all of them: {time.perf_counter() - began:.1f} s")  # noqa: T201
