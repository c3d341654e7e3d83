"""Runs through the whole backbone: from a committed event to the request of its first action, and how many a second.

The trigger events are written into scheduling's outbox as scheduling writes them; everything behind is the real system:
Debezium, Kafka, workflows, Kafka, notifications, the provider, and back.
"""

from __future__ import annotations

import asyncio
import json
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import psycopg
from aiokafka import AIOKafkaConsumer

from deploy.demo.journey import BOOKED, Practice
from libs.common.clock import monotonic, utc_now
from libs.contracts.notifications import ActionFinished, PerformAction
from libs.contracts.topics import topic_of
from libs.testing.stack import Stack
from tests.bench.figures import percentile, usage

_ROWS = """
INSERT INTO scheduling.outbox (id, topic, key, practice_id, type, source, subject, time, correlation_id, payload)
SELECT * FROM unnest(%s::uuid[], %s::text[], %s::text[], %s::uuid[], %s::text[], %s::text[], %s::text[], %s::timestamptz[], %s::text[], %s::json[])
"""
IN_FLIGHT = 256


@dataclass
class Watched:
    """When each event was committed, its action asked for and answered; epoch seconds, by the event's correlation id."""

    committed: dict[str, float] = field(default_factory=dict)
    asked: dict[str, float] = field(default_factory=dict)
    answered: dict[str, float] = field(default_factory=dict)


def event_to_action(system: Stack, people: list[tuple[Practice, str]], rate: float, seconds: float) -> None:
    """Open loop, Poisson arrivals."""
    watched = Watched()

    async def arrive() -> None:
        async with watching(system, watched), await outbox(system) as connection:
            for number in range(int(rate * seconds)):
                await asyncio.sleep(secrets.SystemRandom().expovariate(rate))
                await say(connection, [people[number % len(people)]], watched)
            await all_answered(watched)

    asyncio.run(arrive())
    for what, times in (("event → first action asked for", watched.asked), ("event → first action performed", watched.answered)):
        milliseconds = [(times[one] - at) * 1000 for one, at in watched.committed.items()]
        print(
            f"| {what}, {rate:.0f}/s | {len(milliseconds)} | {percentile(milliseconds, 0.5):.0f} | {percentile(milliseconds, 0.99):.0f} | |"
        )


def sustained_runs(system: Stack, people: list[tuple[Practice, str]], seconds: float) -> None:
    """As many as are taken, never more than ``IN_FLIGHT`` unanswered."""
    watched = Watched()
    before = usage(system)

    async def keep_busy() -> float:
        async with watching(system, watched), await outbox(system) as connection:
            started, number = monotonic(), 0
            while monotonic() - started < seconds:
                room = IN_FLIGHT - len(watched.committed) + len(watched.answered)
                if room >= 8:
                    await say(connection, [people[(number + ahead) % len(people)] for ahead in range(room)], watched)
                    number += room
                else:
                    await asyncio.sleep(0.002)
            await all_answered(watched)
            return monotonic() - started

    elapsed = asyncio.run(keep_busy())
    count = len(watched.committed)
    print(f"| sustained runs with one action | {count} in {elapsed:.0f} s = {count / elapsed:.0f} runs/s | | | |")
    after = usage(system)
    print("\nprocessor milliseconds per run, by component:\n")
    for name in sorted(after, key=lambda name: before[name].cpu_seconds - after[name].cpu_seconds):
        print(f"| {name} | {(after[name].cpu_seconds - before[name].cpu_seconds) * 1000 / count:.2f} |")


async def outbox(system: Stack) -> psycopg.AsyncConnection[Any]:
    return await psycopg.AsyncConnection.connect(system.state.url("postgres"), autocommit=True)


async def say(connection: psycopg.AsyncConnection[Any], people: list[tuple[Practice, str]], watched: Watched) -> None:
    rows = [_row(practice, patient_id) for practice, patient_id in people]
    await connection.execute(_ROWS, [list(column) for column in zip(*rows, strict=True)])
    now = utc_now().timestamp()
    watched.committed |= {row[8]: now for row in rows}


def _row(practice: Practice, patient_id: str) -> tuple[Any, ...]:
    appointment, starts = str(uuid4()), datetime.now(UTC) + timedelta(days=3)
    payload = {
        "appointment_id": appointment, "patient_id": patient_id, "version": 1, "status": "booked", "source": "calcom", "resource": "calcom/5",
        "title": "First consult", "starts_at": starts.isoformat(), "ends_at": (starts + timedelta(minutes=30)).isoformat(),
        "time_zone": "Europe/Berlin", "attendee": {"name": "Jonas Berg", "email": "jonas@patients.example"},
    }  # fmt: skip
    return (
        uuid4(), "vantage.scheduling.events", practice.id, practice.id, BOOKED, "/vantage/scheduling", f"appointment/{appointment}", utc_now(),
        str(uuid4()), json.dumps(payload),
    )  # fmt: skip


@asynccontextmanager
async def watching(system: Stack, watched: Watched) -> AsyncIterator[None]:
    """Listens to what is asked of notifications and what it answers."""
    topics = topic_of(PerformAction).name, topic_of(ActionFinished).name
    consumer = AIOKafkaConsumer(*topics, bootstrap_servers=f"127.0.0.1:{system.state.ports['kafka']}", group_id=None)
    await consumer.start()

    async def listen() -> None:
        while True:
            batches = await consumer.getmany(timeout_ms=200)
            now = utc_now().timestamp()
            for record in (record for records in batches.values() for record in records):
                headers = dict(record.headers)
                times = {PerformAction.type: watched.asked, ActionFinished.type: watched.answered}.get(headers["ce_type"].decode())
                if times is not None:
                    times.setdefault(headers["correlation_id"].decode(), now)

    task = asyncio.create_task(listen())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await consumer.stop()


async def all_answered(watched: Watched) -> None:
    deadline = monotonic() + 120
    while missing := watched.committed.keys() - watched.answered.keys():
        assert monotonic() < deadline, f"{len(missing)} runs got no answer"
        await asyncio.sleep(0.01)
