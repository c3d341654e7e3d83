"""The FastStream side: one batch subscriber per service over all its topics, a backlog read ahead, and lazy offset commits.

Offsets are committed at most every half second and only up to the first unfinished record; what was finished and not yet
committed when we die comes again and is recognised by the inbox.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection
from typing import Any

from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition
from aiokafka.abc import ConsumerRebalanceListener
from aiokafka.errors import KafkaError
from faststream import AckPolicy
from faststream.kafka import KafkaBroker, KafkaMessage

from libs.common import metrics
from libs.common.clock import monotonic
from libs.common.logging import get_logger
from libs.common.messaging.backlog import Backlog, Partition
from libs.common.messaging.batches import Batches
from libs.common.messaging.received import Incoming

log = get_logger()

OFFSET_INTERVAL_SECONDS = 0.5
MAX_RECORDS = 500
"""Records read at once."""
TOGETHER = range(20, 500)
"""Messages in one transaction: so many that they take about ``TURN_SECONDS``, for as long as they take nobody else has a turn."""
TURN_SECONDS = 0.5
READ_AHEAD = 20_000
"""Records read and not finished, at most. So long a flood of one practice may be for those behind it to overtake."""
CONNECT_RETRY_SECONDS = 0.5
FAULT_RETRY_SECONDS = 1.0
HAND_OVER_SECONDS = 5.0
STOP_SECONDS = 20.0


async def _raw(message: Any) -> Any:
    return message.body


async def _without_null_headers(records: Any, original: Callable[[Any], Awaitable[Any]]) -> Any:
    """FastStream's parser would drop a record whose header value is null, or not UTF-8, without a word."""
    return await original(tuple(_plain(record) for record in records))


def _plain(record: Any) -> Any:
    return _Record(record)


class _Record:
    """A consumer record whose headers FastStream sees as empty; we read the real ones ourselves."""

    headers: tuple[tuple[str, bytes], ...] = ()

    def __init__(self, record: ConsumerRecord[bytes, bytes]) -> None:
        self.record = record
        self.value = record.value if record.value is not None else b""

    def __getattr__(self, name: str) -> Any:
        return getattr(self.record, name)


class KafkaDoor:
    """Reads the service's topics ahead of ``Batches``, which handles them. Start after the database, stop before it."""

    def __init__(self, bootstrap: str, group: str, topics: tuple[str, ...], batches: Batches) -> None:
        self._batches = batches
        self._backlog = Backlog()
        self._consumer: AIOKafkaConsumer | None = None
        self._committed_at = 0.0
        self._seconds_each = 0.0
        self._arrived = asyncio.Event()
        self._room = asyncio.Event()
        self._in_hand = asyncio.Lock()
        self._closing = False
        self._loops: list[asyncio.Task[None]] = []
        self.broker = KafkaBroker(bootstrap, allow_auto_create_topics=False, consumer_only=True, logger=None, graceful_timeout=20.0)
        self._subscriber = self.broker.subscriber(
            *topics,
            batch=True,
            group_id=group,
            auto_offset_reset="earliest",
            ack_policy=AckPolicy.MANUAL,
            max_records=MAX_RECORDS,
            batch_timeout_ms=5,
            fetch_max_wait_ms=500,
            session_timeout_ms=10_000,
            heartbeat_interval_ms=3_000,
            listener=_Rebalance(self),
            decoder=_raw,
            parser=_without_null_headers,
        )
        self._subscriber(self._on_batch)

    async def start(self) -> None:
        """Join the group; waits until the broker answers."""
        while True:
            try:
                await self.broker.start()
            except KafkaError as error:
                log.info("kafka.waiting", exc_info=error)
                await asyncio.sleep(CONNECT_RETRY_SECONDS)
            else:
                break
        self._loops = [asyncio.create_task(self._handle_loop()), asyncio.create_task(self._commit_loop())]

    async def stop(self) -> None:
        """Finish the batch in hand, commit its offsets, leave the group. What was read and not begun is read again by the next."""
        self._closing = True
        self._arrived.set()
        self._room.set()
        if self._loops:
            handler, committer = self._loops
            await asyncio.wait([handler], timeout=STOP_SECONDS)
            handler.cancel()
            committer.cancel()
            await asyncio.gather(handler, committer, return_exceptions=True)
        await self._commit()
        await self.broker.stop()

    @property
    def assigned(self) -> bool:
        """Whether the group has given us partitions, and somebody handles what comes; False while it is rebalancing."""
        consumer = self._subscriber.consumer
        return consumer is not None and bool(consumer.assignment()) and not any(loop.done() for loop in self._loops)

    async def give_up(self, partitions: Collection[Partition]) -> None:
        """Finish and commit the batch in hand, so that the next reader of these partitions begins there; forget what waits of them.

        When the batch takes longer (the database is away), the group does not wait: its messages may then be handled by both,
        and whoever comes second finds their inbox marks.
        """
        try:
            async with asyncio.timeout(HAND_OVER_SECONDS), self._in_hand:
                self._backlog.give_up(partitions)
                await self._commit()
        except TimeoutError:
            log.info("kafka.batch_in_hand", partitions=len(partitions))
            self._backlog.give_up(partitions)
        self._room.set()

    async def _on_batch(self, body: Any, message: KafkaMessage) -> None:  # noqa: ARG002 - FastStream passes both
        """Take in what was read; returns when the next is to be read.

        That is when all of it is handled, so that fetches and batches are as large as the load makes them; or at once while so much
        waits that somebody may stand behind it, until ``READ_AHEAD`` do.
        """
        self._consumer = message.consumer
        self._backlog.put([Incoming.of(r.topic, r.partition, r.offset, r.record.headers, r.record.value) for r in message.raw_message])
        self._arrived.set()
        while not self._closing and not self._may_read():
            self._room.clear()
            await self._room.wait()

    def _may_read(self) -> bool:
        if len(self._backlog) >= MAX_RECORDS:
            return len(self._backlog) < READ_AHEAD
        return not len(self._backlog) and not self._in_hand.locked()

    async def _handle_loop(self) -> None:
        while not self._closing:
            await self._arrived.wait()
            self._arrived.clear()
            while len(self._backlog) and not self._closing:
                await self._handle_some()
                self._room.set()

    async def _handle_some(self) -> None:
        async with self._in_hand:
            records = self._backlog.take(self._together())
            if not records:  # given up while we waited for our turn
                return
            began = monotonic()
            try:
                await self._batches.handle(records)
            except Exception as error:  # a fault of ours, not of a message: nothing may be skipped for it
                metrics.BACKOFFS.inc()
                log.error("batch.failed", batch=len(records), exc_info=error)
                self._backlog.put_back(records)
                await asyncio.sleep(FAULT_RETRY_SECONDS)
                return
            self._backlog.finish(records)
            self._seconds_each += ((monotonic() - began) / len(records) - self._seconds_each) / 3
        if monotonic() - self._committed_at >= OFFSET_INTERVAL_SECONDS:
            await self._commit()

    def _together(self) -> int:
        """As many as take one turn, going by what they took lately: fewer where the machine is busy or the work is heavy."""
        fitting = int(TURN_SECONDS / self._seconds_each) if self._seconds_each else TOGETHER.stop
        return max(TOGETHER.start, min(TOGETHER.stop, fitting))

    async def _commit_loop(self) -> None:
        while True:
            await asyncio.sleep(OFFSET_INTERVAL_SECONDS)
            await self._commit()

    async def _commit(self) -> None:
        finished = self._backlog.finished()
        if not finished or self._consumer is None:
            return
        self._committed_at = monotonic()
        assigned = self._consumer.assignment()
        offsets = {TopicPartition(*place): offset for place, offset in finished.items() if place in assigned}
        try:
            if offsets:
                await self._consumer.commit(offsets)
        except KafkaError as error:
            # A rebalance or a broker that is away. Whoever owns the partition now reads again what we finished.
            log.info("offsets.not_committed", exc_info=error)


class _Rebalance(ConsumerRebalanceListener):  # type: ignore[misc]  # the library has no types
    """Called by the group's coordinator before partitions go to somebody else; the group waits meanwhile."""

    def __init__(self, door: KafkaDoor) -> None:
        self._door = door

    async def on_partitions_revoked(self, revoked: Collection[TopicPartition]) -> None:
        await self._door.give_up(frozenset(revoked))

    async def on_partitions_assigned(self, assigned: Collection[TopicPartition]) -> None:
        """Reading begins at what was committed; nothing is remembered here."""
