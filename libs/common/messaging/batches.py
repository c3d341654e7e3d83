"""One batch, one transaction. When it fails it is split; when one message alone fails, that message is parked.

If the process dies before the commit, nothing happened and Kafka delivers again; after it, the inbox marks make the
redelivery harmless. Offsets are committed elsewhere, later, and only for what this module has finished with.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Sequence
from typing import Any

import asyncpg
from opentelemetry.trace import SpanKind
from sqlalchemy.exc import DBAPIError, SQLAlchemyError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from libs.common import metrics
from libs.common.auth import Principal
from libs.common.clock import monotonic
from libs.common.db import SERIALIZATION_FAILURES
from libs.common.errors import Conflict, Held, NotFound, Stale, Trouble, Unavailable
from libs.common.logging import get_logger
from libs.common.messaging.consumer import Consumer
from libs.common.messaging.parking import HELD, Parking, Verdict
from libs.common.messaging.received import Incoming, MalformedMessage, Received, read_message
from libs.common.telemetry import context_of, failed, tracer
from libs.common.work import Tx, Work

log = get_logger()

STALE_TRIES = 5
BACKOFF_FIRST_SECONDS = 0.1
BACKOFF_LIMIT_SECONDS = 5.0
RETRY_FIRST_SECONDS = 1

# One round trip: which messages wait behind a parked one, and which of the others are new.
_MARK = """
WITH incoming AS (SELECT * FROM unnest($1::uuid[], $2::uuid[], $3::text[]) AS t (id, practice_id, subject)),
     blocked AS (SELECT i.id FROM incoming i JOIN parked_subject p USING (practice_id, subject)),
     marked AS (INSERT INTO inbox (event_id) SELECT id FROM incoming WHERE id NOT IN (SELECT id FROM blocked)
                ORDER BY id ON CONFLICT DO NOTHING RETURNING event_id)
SELECT event_id AS id, false AS blocked FROM marked UNION ALL SELECT id, true FROM blocked
"""


class Batches:
    """Handles batches of records for one service."""

    def __init__(self, consumer: Consumer, work: Work) -> None:
        self._consumer = consumer
        self._work = work
        self._principal = Principal.system(consumer.service)
        self.parking = Parking(work, self._principal)

    async def handle(self, records: Sequence[Incoming]) -> None:
        """Finish with every record: handled, skipped or parked, all durable. Returns only then.

        Waits as long as the database is away. Cancelling is safe at any point: what was not committed comes again.
        """
        started = monotonic()
        wait = BACKOFF_FIRST_SECONDS
        while True:
            try:
                await self._handle(records)
            except Exception as error:
                if not is_outage(error):
                    raise
                metrics.BACKOFFS.inc()
                log.warning("consumer.waiting", seconds=wait, exc_info=error)
                await asyncio.sleep(wait * random.uniform(0.5, 1.0))  # noqa: S311 - jitter
                wait = min(wait * 2, BACKOFF_LIMIT_SECONDS)
            else:
                break
        metrics.BATCH_SIZE.observe(len(records))
        metrics.BATCH_SECONDS.observe(monotonic() - started)

    async def _handle(self, records: Sequence[Incoming]) -> None:
        messages: list[Received[Any]] = []
        for record in records:
            try:
                message = self._read(record)
            except MalformedMessage as error:
                # Earlier messages first, so that a subject's order survives even this.
                await self._split(messages)
                messages = []
                await self.parking.park_malformed(record, error)
                continue
            if self._consumer.handler_of(message.type) is None:
                metrics.MESSAGES_SKIPPED.labels("not ours").inc()
            else:
                messages.append(message)
        await self._split(messages)

    def _read(self, record: Incoming) -> Received[Any]:
        """Decodes only what somebody here handles; the rest is skipped without a look inside."""
        wanted = self._consumer.handler_of(record.headers.get("ce_type", "")) is not None
        return read_message(record, decode=wanted and not self._consumer.takes_everything)

    async def _split(self, messages: Sequence[Received[Any]]) -> None:
        """All together; if that fails, halves; if one alone fails, its verdict."""
        if not messages:
            return
        try:
            await self._together(messages)
        except Exception as error:
            if is_outage(error):
                raise
            if len(messages) == 1:
                await self._alone(messages[0], error)
                return
            log.info("batch.split", batch=len(messages), exc_info=error)
            middle = len(messages) // 2
            await self._split(messages[:middle])
            await self._split(messages[middle:])

    async def _alone(self, message: Received[Any], error: Exception) -> None:
        for attempt in range(STALE_TRIES):
            if not is_stale(error):
                break
            await asyncio.sleep(random.uniform(0, 0.01 * 2**attempt))  # noqa: S311 - jitter
            try:
                await self._together([message])
            except Exception as again:
                if is_outage(again):
                    raise
                error = again
            else:
                return
        await self.parking.park(message, verdict_on(error))

    async def _together(self, messages: Sequence[Received[Any]]) -> None:
        async with self._work.batch({m.practice_id for m in messages}, self._principal) as tx:
            if self._consumer.takes_everything:
                fresh = list(messages)
            else:
                fresh = await self._fresh(messages, tx)
            await self.dispatch(fresh, tx)
        for message in fresh:
            metrics.MESSAGES_HANDLED.labels(message.type).inc()
            metrics.MESSAGE_AGE_SECONDS.observe(max(0.0, (tx.now - message.time).total_seconds()))

    async def _fresh(self, messages: Sequence[Received[Any]], tx: Tx) -> list[Received[Any]]:
        """Mark the batch in the inbox. Returns what is new; parks, in this transaction, what waits behind a parked one."""
        answers = await tx.rows(_MARK, [m.id for m in messages], [m.practice_id for m in messages], [m.subject for m in messages])
        blocked = {row["id"] for row in answers if row["blocked"]}
        marked = {row["id"] for row in answers if not row["blocked"]}
        if blocked:
            for message in messages:
                if message.id in blocked:
                    await self.parking.park_behind(message, tx)
        fresh = []
        for message in messages:
            if message.id in marked:
                marked.discard(message.id)  # twice in one batch: the second is a duplicate
                fresh.append(message)
        if len(fresh) + len(blocked) < len(messages):
            metrics.MESSAGES_SKIPPED.labels("seen before").inc(len(messages) - len(fresh) - len(blocked))
        return fresh

    async def dispatch(self, messages: Sequence[Received[Any]], tx: Tx) -> None:
        """Call the handlers, each message under a span that continues its sender's trace."""
        spans = []
        for message in messages:
            span = tracer.start_span(
                f"process {message.type}",
                context=context_of(message.traceparent, message.tracestate),
                kind=SpanKind.CONSUMER,
                attributes={
                    "messaging.system": "kafka",
                    "messaging.operation.type": "process",
                    "messaging.destination.name": message.topic,
                    "messaging.message.id": str(message.id),
                    "messaging.message.conversation_id": message.correlation_id,
                    "vantage.practice_id": str(message.practice_id),
                },
            )
            message.spans.append(span)
            spans.append(span)
        try:
            if self._consumer.before is not None and messages:
                await self._consumer.before(list(messages), tx)
            for handler, group in self._consumer.waves(messages):
                await handler.run(group, tx)
            await tx.flush()
        except Exception as error:
            for span in spans:
                failed(span, error)
            raise
        finally:
            for span in spans:
                span.end()


def is_outage(error: BaseException) -> bool:
    """The database or the way to it is gone: nothing is wrong with the message."""
    if isinstance(error, DBAPIError) and (error.connection_invalidated or (error.orig is not None and is_outage(error.orig))):
        return True
    if isinstance(error, asyncpg.PostgresError):
        return (error.sqlstate or "")[:2] in {"08", "57", "53"}
    if isinstance(error, PoolTimeoutError):
        return True
    cause = error.__cause__
    if isinstance(error, SQLAlchemyError) and cause is not None:
        return is_outage(cause)
    if isinstance(error, asyncpg.InterfaceError):
        # The driver's word for a closed connection, and for arguments that do not fit their statement: only the first is an outage.
        return not isinstance(error, ValueError) and "argument" not in str(error)
    return isinstance(error, (OSError, asyncpg.InternalClientError)) or (
        cause is not None and isinstance(cause, asyncpg.PostgresError) and is_outage(cause)
    )


def is_stale(error: BaseException) -> bool:
    if isinstance(error, Stale):
        return True
    origin = error.__cause__ if isinstance(error, SQLAlchemyError) else error
    return isinstance(origin, asyncpg.PostgresError) and origin.sqlstate in SERIALIZATION_FAILURES


def verdict_on(error: Exception) -> Verdict:
    """What becomes of a message whose handler raised this."""
    if isinstance(error, Conflict):
        return Verdict(done=True, code=error.code)
    if isinstance(error, Held):
        return Verdict(done=False, code=HELD)
    if isinstance(error, NotFound | Unavailable):
        return Verdict(done=False, code=error.code, retry_in_seconds=RETRY_FIRST_SECONDS)
    if isinstance(error, Trouble):
        return Verdict(done=False, code=error.code)
    log.error("handler.failed", exc_info=error)
    return Verdict(done=False, code=f"bug:{type(error).__name__}")
