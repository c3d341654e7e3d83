"""The Kafka door on a real broker and a real Postgres: taken once, in order, offsets behind the commit, nothing taken twice."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Collection
from typing import Any
from uuid import UUID, uuid4

import pytest
from aiokafka import AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from prometheus_client import REGISTRY

from libs.common.auth import Principal
from libs.common.messaging import Consumer, Received
from libs.common.messaging.backlog import SHARE, Partition
from libs.common.messaging.batches import Batches
from libs.common.messaging.kafka import TOGETHER, KafkaDoor
from libs.common.work import Tx, Work
from libs.contracts.practices import UserDeactivated
from libs.testing.fixtures import incoming
from libs.testing.probe import until_async

GROUP = "door-under-test"


@pytest.fixture(scope="session")
def service_name() -> str:
    return "practices"


@pytest.fixture
async def topic(broker: str) -> AsyncIterator[str]:
    """A topic of the test's own, two partitions."""
    name = f"test.{uuid4().hex}"
    client = AIOKafkaAdminClient(bootstrap_servers=broker)
    await client.start()
    await client.create_topics([NewTopic(name, 2, 1)])
    yield name
    await client.close()


@pytest.fixture
async def producer(broker: str) -> AsyncIterator[AIOKafkaProducer]:
    producer = AIOKafkaProducer(bootstrap_servers=broker)
    await producer.start()
    yield producer
    await producer.stop()


async def send(producer: AIOKafkaProducer, topic: str, practice: UUID, count: int, **headers: str) -> list[UUID]:
    """Events about ``count`` users of a practice; returns the users, in order."""
    users = [uuid4() for _ in range(count)]
    for user in users:
        record = incoming(UserDeactivated(user_id=user), practice, **headers)
        raw = [(name, text.encode()) for name, text in record.headers.items()]
        await producer.send_and_wait(topic, record.value, key=str(practice).encode(), headers=raw)
    return users


async def send_together(producer: AIOKafkaProducer, topic: str, practice: UUID, count: int, *, partition: int = 0) -> list[UUID]:
    """The same without waiting for each, into a partition of the test's choice."""
    users = [uuid4() for _ in range(count)]
    for user in users:
        record = incoming(UserDeactivated(user_id=user), practice)
        raw = [(name, text.encode()) for name, text in record.headers.items()]
        await producer.send(topic, record.value, key=str(practice).encode(), partition=partition, headers=raw)
    await producer.flush()
    return users


class Heard:
    """A consumer that remembers what it was told, and the door it stands behind."""

    def __init__(self, work: Work, broker: str, topic: str, group: str) -> None:
        self.users: list[UUID] = []
        self.may_go_on = asyncio.Event()
        self.may_go_on.set()
        consumer = Consumer("practices")

        @consumer.on_batch(UserDeactivated)
        async def told(events: list[Received[Any]], tx: Tx) -> None:
            await self.may_go_on.wait()
            tx.after_commit(lambda: self.users.extend(event.data.user_id for event in events))

        self.door = KafkaDoor(broker, group, (topic,), Batches(consumer, work))


class TestTheKafkaDoor:
    async def test_takes_each_message_once_in_order_and_not_again_after_a_restart(
        self, work: Work, broker: str, topic: str, producer: AIOKafkaProducer, practice: UUID
    ) -> None:
        group = f"{GROUP}-{topic}"
        first = Heard(work, broker, topic, group)
        await first.door.start()
        sent = await send(producer, topic, practice, 20)
        await until_async(lambda: _same(first.users, sent), what="all twenty, in order")
        await first.door.stop()
        second = Heard(work, broker, topic, group)
        await second.door.start()
        more = await send(producer, topic, practice, 1)
        await until_async(lambda: _same(second.users, more), what="only what is new")
        await second.door.stop()

    async def test_a_redelivery_is_recognised_by_the_inbox(
        self, work: Work, broker: str, topic: str, producer: AIOKafkaProducer, practice: UUID
    ) -> None:
        event_id = str(uuid4())
        heard = Heard(work, broker, topic, f"{GROUP}-{topic}")
        await heard.door.start()
        user = UserDeactivated(user_id=uuid4())
        for _ in range(3):
            record = incoming(user, practice, ce_id=event_id)
            raw = [(name, text.encode()) for name, text in record.headers.items()]
            await producer.send_and_wait(topic, record.value, key=str(practice).encode(), headers=raw)
        last = await send(producer, topic, practice, 1)
        await until_async(lambda: _same(heard.users, [user.user_id, *last]), what="the first and the last")
        await heard.door.stop()

    async def test_a_record_with_a_null_header_and_one_without_value_are_parked_not_dropped(
        self, work: Work, broker: str, topic: str, producer: AIOKafkaProducer, practice: UUID
    ) -> None:
        heard = Heard(work, broker, topic, f"{GROUP}-{topic}")
        await heard.door.start()
        await producer.send_and_wait(
            topic, None, key=str(practice).encode(), headers=[("ce_partitionkey", str(practice).encode()), ("ce_id", None)]
        )
        sent = await send(producer, topic, practice, 1)
        await until_async(lambda: _same(heard.users, sent), what="the message after it")
        async with work.batch([practice], Principal.system("test")) as tx:
            assert await tx.value("SELECT count(*) FROM parked WHERE practice_id = $1 AND topic = $2", practice, topic) == 1
        await heard.door.stop()

    async def test_who_shares_a_partition_with_a_flood_overtakes_it(
        self, work: Work, broker: str, topic: str, producer: AIOKafkaProducer, practice: UUID
    ) -> None:
        heard = Heard(work, broker, topic, f"{GROUP}-{topic}")
        heard.may_go_on.clear()
        loud, quiet = practice, uuid4()
        flood = await send_together(producer, topic, loud, 3000)
        (last,) = await send_together(producer, topic, quiet, 1)
        await heard.door.start()
        await until_async(lambda: _waiting(heard, 3001 - TOGETHER.stop), what="everything read, at most one batch begun")
        heard.may_go_on.set()
        await until_async(lambda: _as_many(heard.users, 3001), what="everything handled")
        await heard.door.stop()
        assert heard.users.index(last) <= TOGETHER.stop + SHARE
        assert [user for user in heard.users if user != last] == flood

    async def test_a_partition_that_goes_to_another_process_in_the_middle_is_handled_once_and_in_order(
        self, work: Work, broker: str, topic: str, producer: AIOKafkaProducer, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        group = f"{GROUP}-{topic}"
        first, second = Heard(work, broker, topic, group), Heard(work, broker, topic, group)
        second.users = first.users
        practices = [uuid4() for _ in range(8)]
        sent = {practice: await send_together(producer, topic, practice, 400, partition=n % 2) for n, practice in enumerate(practices)}
        first.may_go_on.clear()
        await first.door.start()
        await until_async(lambda: _waiting(first, 8 * 400 - TOGETHER.stop), what="everything read, one batch in hand")
        before = seen_before()
        asked, give_up = asyncio.Event(), first.door.give_up

        async def asked_to_give_up(partitions: Collection[Partition]) -> None:
            asked.set()
            await give_up(partitions)

        monkeypatch.setattr(first.door, "give_up", asked_to_give_up)
        joining = asyncio.create_task(second.door.start())
        async with asyncio.timeout(30):
            await asked.wait()
        first.may_go_on.set()
        await joining
        more = {practice: await send_together(producer, topic, practice, 100, partition=n % 2) for n, practice in enumerate(practices)}
        await until_async(lambda: _as_many(first.users, 8 * 500), what="everything handled by one of them")
        await first.door.stop()
        await second.door.stop()
        # Twice at most what overtook others in the one batch that was in hand.
        assert (len(first.users), seen_before() - before < TOGETHER.stop) == (8 * 500, True)
        for practice in practices:
            said = [*sent[practice], *more[practice]]
            assert [user for user in first.users if user in set(said)] == said


def seen_before() -> float:
    return REGISTRY.get_sample_value("vantage_messages_skipped_total", {"why": "seen before"}) or 0.0


async def _waiting(heard: Heard, wanted: int) -> bool:
    return len(heard.door._backlog) >= wanted


async def _as_many(found: list[UUID], wanted: int) -> bool:
    return len(found) >= wanted


async def _same(found: list[UUID], wanted: list[UUID]) -> bool:
    return found == wanted
