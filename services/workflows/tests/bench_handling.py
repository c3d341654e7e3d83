"""How fast this service alone handles what it hears, on a real Postgres. Not collected by default: name the file to run it.

``pytest -s services/workflows/tests/bench_handling.py`` prints events per second of one process for each kind of work.
"""

from __future__ import annotations

import asyncio
import resource
import time
from datetime import timedelta
from uuid import uuid4

import pytest

from libs.common.duties import Duty
from libs.common.messaging import Incoming
from libs.common.work import Work
from libs.contracts.notifications import ActionFinished
from libs.testing.fixtures import incoming
from services.workflows.commands.timers import fire_due, seconds_until_next
from services.workflows.tests.engine.builtin import BuiltinDriver
from services.workflows.tests.engine.driver import Said
from services.workflows.tests.engine.world import Visit, definition, practice_created, send, wait
from services.workflows.timers import fire_timers

BOOKINGS = 2000
STEPS = (
    send(text="Dear {{ patient.given_name }}, we see you at {{ event.starts_at }}. {{ practice.name }}"),
    wait(),
    send("remind", when="appointment.status == 'booked'"),
)


def cpu() -> float:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


async def timed(what: str, engine: BuiltinDriver, records: list[Incoming], batch: int) -> None:
    began, used = time.perf_counter(), cpu()
    for start in range(0, len(records), batch):
        await engine.batches.handle(records[start : start + batch])
    seconds, count = time.perf_counter() - began, len(records)
    print(f"{what:<34} batch {batch:>3}: {count / seconds:7.0f}/s, {(cpu() - used) / count * 1e6:5.0f} us CPU of this process each")  # noqa: T201


@pytest.mark.bench
@pytest.mark.parametrize("batch", [1, 10, 50, 200])
@pytest.mark.parametrize("workflows", [1, 10])
async def test_handling(work: Work, batch: int, workflows: int) -> None:
    engine = BuiltinDriver(work.engine)
    await engine.learn_catalogue()
    await engine.deliver(practice_created(engine.practice))
    for number in range(workflows):
        await engine.publish(definition(*STEPS, condition="patient.email != null" if number == 0 else f"event.title == 'Other {number}'"))
    visits = [Visit() for _ in range(BOOKINGS if batch > 1 else 400)]
    print(f"\n{workflows} published, one of them true")  # noqa: T201
    await timed("patients registered", engine, [engine.record(visit.registered()) for visit in visits], batch)
    await timed("bookings -> run, step, command", engine, [engine.record(visit.booked()) for visit in visits], batch)
    requests = await engine.requests()
    assert len(requests) == len(visits)
    answers = [
        ActionFinished(effect_key=r.effect_key, action=r.action, run_id=r.run_id, step_id=r.step_id, outcome="succeeded") for r in requests
    ]
    await timed("results -> step, timer", engine, [engine.record(Said(uuid4(), answer)) for answer in answers], batch)
    engine.now += timedelta(hours=2)
    began = time.perf_counter()
    while await fire_due(engine.work, engine.published):
        pass
    print(f"{'timers -> step, command':<34} batch 200: {len(visits) / (time.perf_counter() - began):7.0f}/s")  # noqa: T201
    assert len(await engine.requests()) == 2 * len(visits)


@pytest.mark.bench
async def test_timers_on_time(work: Work) -> None:
    """Timers that fall due while bookings go on setting more, on the real clock: how late they fire."""
    engine = BuiltinDriver(work.engine)
    engine.work = work
    engine._start()
    await engine.learn_catalogue()
    await engine.publish(definition(wait("PT2S"), send()))
    all_set, all_fired = asyncio.Event(), asyncio.Event()

    async def fire() -> float | None:
        pause = await fire_timers(work, engine.published)
        if all_set.is_set() and await seconds_until_next(work) is None:
            all_fired.set()
        return pause

    duty = Duty("timers", 0.5, fire)
    firing = asyncio.create_task(duty.forever())
    for _ in range(200):
        visits = [Visit() for _ in range(25)]
        await engine.batches.handle([incoming(said.message, engine.practice) for v in visits for said in (v.registered(), v.booked())])
    all_set.set()
    await all_fired.wait()
    duty.stop()
    await firing
    async with engine.work(engine.admin) as tx:
        late = await tx.row(
            "SELECT count(finished_at) AS fired, count(*) AS set, percentile_disc(ARRAY[0.5, 0.99, 0.999]) WITHIN GROUP"
            " (ORDER BY extract(epoch FROM finished_at - due_at) * 1000) AS ms FROM step WHERE practice_id = $1 AND kind = 'wait'",
            engine.practice,
        )
    assert late is not None
    print(f"\ntimers fired {late['fired']} of {late['set']}, late p50/p99/p99.9: {[round(float(ms)) for ms in late['ms']]} ms")  # noqa: T201
    assert late["fired"] == late["set"] == 5000
