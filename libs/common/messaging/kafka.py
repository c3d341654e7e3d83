"""The FastStream side: one batch subscriber per service over all its topics, and lazy offset commits.

Offsets are committed at most every half second and only for finished batches; what was finished and not yet
committed when we die comes again and is recognised by the inbox.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition
from aiokafka.errors import KafkaError
from faststream import AckPolicy
from faststream.kafka import KafkaBroker, KafkaMessage

from libs.common.clock import monotonic
from libs.common.logging import get_logger
from libs.common.messaging.batches import Batches
from libs.common.messaging.received import Incoming

log = get_logger()

OFFSET_INTERVAL_SECONDS = 0.5
MAX_RECORDS = 500
CONNECT_RETRY_SECONDS = 0.5


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
    """Reads the service's topics and hands batches to ``Batches``. Start after the database, stop before it."""

    def __init__(self, bootstrap: str, group: str, topics: tuple[str, ...], batches: Batches) -> None:
        self._bootstrap = bootstrap
        self._topics = topics
        self._batches = batches
        self._finished: dict[TopicPartition, int] = {}
        self._consumer: AIOKafkaConsumer | None = None
        self._committed_at = 0.0
        self._flusher: asyncio.Task[None] | None = None
        self.last_poll: float | None = None
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
        self._flusher = asyncio.create_task(self._flush_regularly())

    async def stop(self) -> None:
        """Finish the batch in hand, commit its offsets, leave the group."""
        if self._flusher is not None:
            self._flusher.cancel()
            await asyncio.gather(self._flusher, return_exceptions=True)
        await self._commit()
        await self.broker.stop()

    @property
    def assigned(self) -> bool:
        """Whether the group has given us partitions; False while it is rebalancing."""
        consumer = self._subscriber.consumer
        return consumer is not None and bool(consumer.assignment())

    async def _on_batch(self, body: Any, message: KafkaMessage) -> None:  # noqa: ARG002 - FastStream passes both
        records = message.raw_message
        await self._batches.handle([Incoming.of(r.topic, r.partition, r.offset, r.record.headers, r.record.value) for r in records])
        self._consumer = message.consumer
        for record in records:
            self._finished[TopicPartition(record.topic, record.partition)] = record.offset + 1
        if monotonic() - self._committed_at >= OFFSET_INTERVAL_SECONDS:
            await self._commit()

    async def _flush_regularly(self) -> None:
        while True:
            await asyncio.sleep(OFFSET_INTERVAL_SECONDS)
            await self._commit()

    async def _commit(self) -> None:
        if not self._finished or self._consumer is None:
            return
        finished, self._finished = self._finished, {}
        self._committed_at = monotonic()
        assigned = self._consumer.assignment()
        offsets = {position: offset for position, offset in finished.items() if position in assigned}
        try:
            if offsets:
                await self._consumer.commit(offsets)
        except KafkaError as error:
            # A rebalance or a broker that is away. Whoever owns the partition now reads again what we finished.
            log.info("offsets.not_committed", exc_info=error)
