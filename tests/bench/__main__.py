"""``python -m tests.bench``: measure the running system and print a table. Takes about four minutes."""

from __future__ import annotations

import argparse
import asyncio
import platform
import secrets
import sys
from uuid import UUID, uuid4

import aiohttp
import psutil
import psycopg
from aiokafka import AIOKafkaConsumer

from deploy.demo.journey import Practice, set_up
from deploy.native import database
from deploy.native.connect import connector_name
from libs.common.clock import monotonic, utc_now
from libs.testing.probe import until
from libs.testing.stack import Stack, running
from tests.bench.fairness import behind_a_flood
from tests.bench.figures import percentile, usage
from tests.bench.load import Sent, closed, poisson
from tests.bench.runs import event_to_action, sustained_runs
from tests.e2e.booking import ONE_MAIL

PRACTICES = 50


def people_of(system: Stack, practices: list[Practice], count: int) -> list[tuple[Practice, str]]:
    """``count`` patients over all practices, registered and known everywhere."""
    mark = secrets.token_hex(4)
    people = [(practices[number % len(practices)], f"p{number}.{mark}@patients.example") for number in range(count)]

    async def register() -> None:
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=8)) as session:
            gate = asyncio.Semaphore(8)

            async def one(practice: Practice, email: str) -> None:
                async with gate:
                    body = {"given_name": "Jonas", "family_name": "Berg", "email": email}
                    headers = {"Authorization": f"Bearer {practice.admin}"}
                    async with session.post(f"{system.state.gateway}/v1/patients", json=body, headers=headers) as answer:
                        assert answer.status == 201, await answer.text()

            await asyncio.gather(*(one(practice, email) for practice, email in people))

    asyncio.run(register())
    system.drained(within=120)
    return people


def patients_of(system: Stack, practices: list[Practice]) -> list[tuple[Practice, str]]:
    """Everybody registered so far, the practices in turn."""
    by_id = {practice.id: practice for practice in practices}
    rows = system.sql("SELECT practice_id::text, id::text FROM patients.patient ORDER BY random()")
    return [(by_id[practice], patient) for practice, patient in rows if practice in by_id]


def accepted(system: Stack, emails: set[str]) -> dict[str, list[float]]:
    """When the provider accepted each address's e-mails, epoch seconds."""
    found: dict[str, list[float]] = {}
    for mail in system.client.simulator("sendgrid", "GET", "accepted"):
        email = mail["personalizations"][0]["to"][0]["email"]
        if email in emails:
            found.setdefault(email, []).append(mail["at"])
    return found


def report_pipeline(system: Stack, name: str, sent: Sent) -> None:
    emails = set(sent.at)
    mails = until(lambda: accepted(system, emails), lambda found: len(found) == len(emails), within=180, what="all e-mails")
    milliseconds = [(mails[email][0] - at) * 1000 for email, at in sent.at.items()]
    twice = sum(len(times) > 1 for times in mails.values())
    rate = len(emails) / sent.seconds
    p50, p99 = percentile(milliseconds, 0.5), percentile(milliseconds, 0.99)
    print(f"| {name} | {len(emails)} at {rate:.0f}/s | {p50:.0f} | {p99:.0f} | refused {sent.refused}, missing 0, twice {twice} |")


def sustained(system: Stack, practices: list[Practice], seconds: float, concurrency: int) -> None:
    people = people_of(system, practices, int(seconds * 260))
    before = usage(system)
    started = monotonic()
    sent = closed(system, people, concurrency, seconds)
    emails = set(sent.at)
    until(lambda: len(accepted(system, emails)), lambda count: count == len(emails), within=300, what="all e-mails")
    elapsed = monotonic() - started
    system.drained(within=120)
    twice = sum(len(times) > 1 for times in accepted(system, emails).values())
    print(
        f"| sustained, closed {concurrency} | {len(emails)} in {elapsed:.0f} s = {len(emails) / elapsed:.0f} bookings/s | | | refused {sent.refused}, twice {twice} |"
    )
    after = usage(system)
    print("\nprocessor milliseconds per booking, by component:\n")
    for name in sorted(after, key=lambda name: after[name].cpu_seconds - before[name].cpu_seconds, reverse=True):
        print(f"| {name} | {(after[name].cpu_seconds - before[name].cpu_seconds) * 1000 / len(emails):.2f} |")


def outbox_latency(system: Stack, rate: float, count: int) -> None:
    """Outbox commit to consumer, without services: rows of a test practice straight into one outbox."""
    practice = uuid4()
    committed: dict[UUID, float] = {}
    arrived: dict[UUID, float] = {}

    async def consume(ready: asyncio.Event, done: asyncio.Event) -> None:
        consumer = AIOKafkaConsumer("vantage.practices.events", bootstrap_servers=f"127.0.0.1:{system.state.ports['kafka']}", group_id=None)
        await consumer.start()
        ready.set()
        try:
            while not done.is_set() or len(arrived) < len(committed):
                batch = await consumer.getmany(timeout_ms=200)
                now = utc_now().timestamp()
                for records in batch.values():
                    for record in records:
                        headers = dict(record.headers)
                        if headers["ce_partitionkey"] == str(practice).encode():
                            arrived[UUID(headers["ce_id"].decode())] = now
        finally:
            await consumer.stop()

    async def produce(ready: asyncio.Event, done: asyncio.Event) -> None:
        await ready.wait()
        connection = await psycopg.AsyncConnection.connect(system.state.url("postgres"), autocommit=True)
        async with connection:
            for _ in range(count):
                await asyncio.sleep(secrets.SystemRandom().expovariate(rate))
                event = uuid4()
                await connection.execute(_ROW, [event, str(practice), practice])
                committed[event] = utc_now().timestamp()
        done.set()

    async def both() -> None:
        ready, done = asyncio.Event(), asyncio.Event()
        await asyncio.gather(consume(ready, done), produce(ready, done))

    asyncio.run(both())
    milliseconds = [(arrived[event] - at) * 1000 for event, at in committed.items()]
    print(
        f"| outbox commit → consumer, {rate:.0f}/s | {count} | {percentile(milliseconds, 0.5):.1f} | {percentile(milliseconds, 0.99):.1f} | |"
    )


_ROW = """
INSERT INTO practices.outbox (id, topic, key, practice_id, type, source, subject, time, payload)
VALUES (%s, 'vantage.practices.events', %s, %s, 'vantage.practices.measured.v1', '/bench', 'bench/1', clock_timestamp(),
        json_build_object('note', repeat('x', 380)))
"""
_ROWS = """
INSERT INTO practices.outbox (id, topic, key, practice_id, type, source, subject, time, payload)
SELECT gen_random_uuid(), 'vantage.practices.events', %s, %s, 'vantage.practices.measured.v1', '/bench', 'bench/1', clock_timestamp(),
       json_build_object('note', repeat('x', 380)) FROM generate_series(1, 100)
"""


def drain_rate(system: Stack, rows: int) -> None:
    """A backlog of rows, drained by a connector that had been stopped; services are stopped, the consumer only counts."""
    names = ("practices", "patients", "scheduling", "workflows", "notifications", "audit")
    system.system.supervisor.stop(*names)
    try:
        seconds = asyncio.run(_drain(system, rows))
    finally:
        system.system.supervisor.start(*names)
    print(f"| drain of a backlog | {rows} rows in {seconds:.1f} s = {rows / seconds:.0f} rows/s | | | |")


async def _drain(system: Stack, rows: int) -> float:
    name = connector_name(database.system_identifier(system.state))
    connect = system.system.connect_client
    connect.call("PUT", f"/connectors/{name}/pause")
    practice = uuid4()
    with psycopg.connect(system.state.url("postgres")) as connection:
        for _ in range(rows // 100):
            connection.execute(_ROWS, [str(practice), practice])
            connection.commit()
    consumer = AIOKafkaConsumer("vantage.practices.events", bootstrap_servers=f"127.0.0.1:{system.state.ports['kafka']}", group_id=None)
    await consumer.start()
    connect.call("PUT", f"/connectors/{name}/resume")
    seen, first = 0, 0.0
    while seen < rows:
        batch = await consumer.getmany(timeout_ms=500, max_records=5000)
        seen += sum(len(records) for records in batch.values())
        first = first or (monotonic() if seen else 0.0)
    elapsed = monotonic() - first
    await consumer.stop()
    return elapsed


def memory(system: Stack) -> None:
    print("\nmemory at rest (PSS, MiB):\n")
    found = usage(system)
    for name, figures in sorted(found.items(), key=lambda item: -item[1].rss):
        print(f"| {name} | {figures.rss / 2**20:.0f} |")
    print(f"| all | {sum(figures.rss for figures in found.values()) / 2**20:.0f} |")


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.bench")
    parser.add_argument("--seconds", type=float, default=60.0, help="length of the sustained run")
    parser.add_argument("--only", choices=["outbox", "pipeline", "sustained", "runs", "fairness"], default=None)
    parser.add_argument("--engine", choices=["builtin", "temporal"], default="builtin", help="which keeps new runs going")
    options = parser.parse_args()
    print(f"{platform.processor() or platform.machine()}, {psutil.cpu_count()} processors, Python {platform.python_version()}\n")
    with running(traces=False, engine=options.engine) as system:
        memory(system)
        practices = [set_up(system.client, system.state, workflow=ONE_MAIL, reports=False) for _ in range(PRACTICES)]
        system.drained(within=120)
        warm = people_of(system, practices, 400)
        report = Sent()
        print("\n| measurement | load | p50 ms | p99 ms | |\n| --- | --- | --- | --- | --- |")
        report = closed(system, warm, 8, 60)
        report_pipeline(system, "warm-up, not counted", report)
        if options.only in {None, "outbox"}:
            outbox_latency(system, 10, 150)
            outbox_latency(system, 50, 600)
        if options.only in {None, "pipeline"}:
            report_pipeline(system, "booking → e-mail accepted", poisson(system, people_of(system, practices, 200), 10))
            report_pipeline(system, "booking → e-mail accepted", poisson(system, people_of(system, practices, 1000), 50))
        if options.only in {None, "runs"}:
            known = patients_of(system, practices)
            event_to_action(system, known, 10, 20)
            event_to_action(system, known, 50, 20)
            sustained_runs(system, known, options.seconds)
        if options.only in {None, "fairness"}:
            people_of(system, practices[:1], 1000)
            behind_a_flood(system, patients_of(system, practices))
        if options.only in {None, "sustained"}:
            sustained(system, practices, options.seconds, 32)
        if options.only in {None, "outbox"}:
            drain_rate(system, 60_000)
    return 0


if __name__ == "__main__":
    sys.exit(main())
