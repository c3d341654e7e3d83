"""What one event costs in a practice with a thousand published workflows, from the record to the commit, on a real Postgres.

Not collected by default: ``pytest -s services/workflows/tests/bench_published.py`` prints milliseconds per booking: published workflows found,
conditions evaluated, enrolment decided, decisions kept, runs started, commands in the outbox.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import pytest

from libs.common.messaging import Incoming
from libs.common.work import Work
from services.workflows.commands import definitions
from services.workflows.tests.bench_handling import STEPS, cpu
from services.workflows.tests.engine.builtin import BuiltinDriver
from services.workflows.tests.engine.world import CANCELLED, Visit, definition, practice_created

WORKFLOWS = 1000
ALONE = 300
BATCHES = 20
BATCH = 50
MIXES = {
    "none of 1,000 is true": (1000, 0),
    "5 of 1,000 are true": (1000, 5),
    "50 listen, none is true": (50, 0),
    "50 listen, 5 are true": (50, 5),
}
FALSE = (
    "event.title == 'Other {}'",
    "patient.email == 'nobody.{}@patients.example'",
    "event.starts_at - now < duration('1h') && event.version != {}",
    "event.title.matches('^[A-Z][a-z]+ {}$')",
    "event.status in ['arrived', 'left', '{}']",
)
TRUE = "patient.email != null && event.version != 1{}"


async def no_findings(*_: Any) -> list[Any]:
    """Publishing reads all the others for its warnings: nothing of what is measured here."""
    return []


def say(text: str) -> None:
    print(text)  # noqa: T201


async def publish(engine: BuiltinDriver, listening: int, matching: int) -> None:
    """A thousand with conditions that all differ; those that do not listen to bookings listen to cancellations."""
    for number in range(WORKFLOWS):
        text = (TRUE if number < matching else FALSE[number % len(FALSE)]).format(number)
        listens = {"condition": text} if number < listening else {"condition": "event.version > 0", "event": CANCELLED}
        await engine.publish(definition(*STEPS, **listens) | {"enrolment": {"policy": "once_while_active"}})


async def timed(what: str, engine: BuiltinDriver, batches: Sequence[list[Incoming]]) -> None:
    """Per event: the median and the 99th percentile of batches by the clock, and this process's processor time."""
    walls, used, events = [], cpu(), sum(map(len, batches))
    for batch in batches:
        began = time.perf_counter()
        await engine.batches.handle(batch)
        walls.append((time.perf_counter() - began) / len(batch) * 1e3)
    used, walls = cpu() - used, sorted(walls)
    p50, p99 = walls[len(walls) // 2], walls[int(len(walls) * 0.99)]
    say(f"  {what:<28} p50 {p50:6.2f} ms, p99 {p99:6.2f} ms, {used / events * 1e3:6.2f} ms CPU of this process each")


@pytest.mark.bench
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("mix", MIXES)
async def test_one_event_and_a_thousand_workflows(work: Work, mix: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(definitions, "publish_findings", no_findings)
    engine = BuiltinDriver(work.engine)
    await engine.learn_catalogue()
    await engine.deliver(practice_created(engine.practice))
    listening, matching = MIXES[mix]
    say(f"\n{mix}")
    await publish(engine, listening, matching)
    visits = [Visit() for _ in range(2 + BATCH + ALONE + BATCHES * BATCH)]
    await engine.deliver(*(visit.registered() for visit in visits))
    bookings = [engine.record(visit.booked()) for visit in visits]
    await engine.restart()
    await timed("the first of a process", engine, [bookings[:1]])
    await engine.publish(definition(event=CANCELLED))
    await timed("the first after a publication", engine, [bookings[1:2]])
    await engine.batches.handle(bookings[2 : 2 + BATCH])
    await timed("alone", engine, [[booking] for booking in bookings[2 + BATCH : 2 + BATCH + ALONE]])
    start = 2 + BATCH + ALONE
    await timed(f"batches of {BATCH}", engine, [bookings[at : at + BATCH] for at in range(start, len(bookings), BATCH)])
    assert len(await engine.requests()) == matching * len(bookings)
    async with work(engine.admin) as tx:
        kept = await tx.value(
            "SELECT avg(pg_column_size(e.*)) FROM event_log e WHERE practice_id = $1 AND type LIKE '%booked%'", engine.practice
        )
    say(f"  an event and what was decided about it take {kept / 1024:.1f} KiB")
