"""Back in order: what was parked is handled again, oldest first per subject, until one fails or the subject is empty.

Runs by itself for what may heal by itself (a projection on its way, outside trouble), with growing pauses, and by an
operator's command for the rest.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from libs.common import metrics
from libs.common.auth import Principal
from libs.common.logging import get_logger
from libs.common.messaging.batches import Batches, is_outage, verdict_on
from libs.common.messaging.consumer import Consumer
from libs.common.messaging.received import Incoming, MalformedMessage, read_message
from libs.common.work import Tx, Work

log = get_logger()

SELF_REDRIVES = 12
"""Tries before only an operator can move a subject: about an hour with the pauses below."""

PAUSE_LIMIT_SECONDS = 600

_DUE = "SELECT practice_id, subject FROM parked_subject WHERE retry_at <= $1 ORDER BY retry_at LIMIT 100"
_LOCK = "SELECT attempts FROM parked_subject WHERE practice_id = $1 AND subject = $2 FOR UPDATE SKIP LOCKED"
_OLDEST = """
SELECT id, topic, partition, "offset", headers, value, event_id FROM parked
WHERE practice_id = $1 AND subject = $2 AND state = 'parked' ORDER BY seq LIMIT 1
"""
_RESOLVE = "UPDATE parked SET state = $3, resolved_at = $4, note = $5 WHERE practice_id = $1 AND id = $2 AND state = 'parked'"
_FAILED = "UPDATE parked SET attempts = attempts + 1, code = $3 WHERE practice_id = $1 AND id = $2"
_PAUSE = "UPDATE parked_subject SET attempts = attempts + 1, retry_at = $3 WHERE practice_id = $1 AND subject = $2"
_UNBLOCK = "DELETE FROM parked_subject WHERE practice_id = $1 AND subject = $2"
_INBOX = "INSERT INTO inbox (event_id) VALUES ($1) ON CONFLICT DO NOTHING RETURNING true"
_LIST = """
SELECT p.practice_id, p.id, p.topic, p.partition, p."offset", p.type, p.subject, p.code, p.attempts, p.parked_at, s.retry_at
FROM parked p JOIN parked_subject s USING (practice_id, subject) WHERE p.state = 'parked' ORDER BY p.seq LIMIT $1
"""


@dataclass(frozen=True)
class ParkedMessage:
    """What an operator sees of a parked message: where and why, never its content."""

    practice_id: UUID
    id: UUID
    topic: str
    partition: int
    offset: int
    type: str
    subject: str
    code: str
    attempts: int
    parked_at: datetime
    retry_at: datetime | None


class Redrive:
    """Brings parked messages back. Safe to run in several processes: a subject is moved by one at a time."""

    def __init__(self, consumer: Consumer, work: Work, batches: Batches) -> None:
        self._consumer = consumer
        self._work = work
        self._batches = batches
        self._principal = Principal.system(consumer.service)

    async def due(self) -> int:
        """Redrive every subject whose time has come; returns how many messages were handled."""
        async with self._work.batch([], self._principal) as tx:
            subjects = await tx.rows(_DUE, tx.now)
            metrics.PARKED_SUBJECTS.set(await tx.value("SELECT count(*) FROM parked_subject"))
        return sum([await self.subject(row["practice_id"], row["subject"]) for row in subjects])

    async def subject(self, practice_id: UUID, subject: str) -> int:
        """Handle a subject's parked messages in order until one fails or none is left; returns how many went through."""
        moved = 0
        while True:
            try:
                went = await self._oldest(practice_id, subject)
            except _Failed as failure:
                if await self._pause(practice_id, subject, failure):
                    continue
                return moved
            if not went:
                return moved
            moved += 1

    async def _oldest(self, practice_id: UUID, subject: str) -> bool:
        """One message, one transaction: its effects, its inbox mark and its release are durable together."""
        async with self._work.batch([practice_id], self._principal) as tx:
            if await tx.row(_LOCK, practice_id, subject) is None:
                return False
            row = await tx.row(_OLDEST, practice_id, subject)
            if row is None:
                await tx.execute(_UNBLOCK, practice_id, subject)
                return False
            incoming = Incoming(row["topic"], row["partition"], row["offset"], row["headers"], row["value"])
            try:
                await self._handle(incoming, tx)
            except Exception as error:
                if is_outage(error):
                    raise
                raise _Failed(row["id"], error) from error
            await tx.execute(_RESOLVE, practice_id, row["id"], "redriven", tx.now, None)
            return True

    async def _handle(self, incoming: Incoming, tx: Tx) -> None:
        everything = self._consumer.takes_everything
        message = read_message(incoming, decode=not everything)
        if self._consumer.handler_of(message.type) is None or (not everything and await tx.value(_INBOX, message.id) is None):
            return
        await self._batches.dispatch([message], tx)

    async def _pause(self, practice_id: UUID, subject: str, failure: _Failed) -> bool:
        """True when the message turned out to be done already: what waits behind it goes on."""
        error = failure.error
        malformed = isinstance(error, MalformedMessage)
        verdict = None if malformed else verdict_on(error)
        async with self._work.batch([practice_id], self._principal) as tx:
            if verdict is not None and verdict.done:
                await tx.execute(_RESOLVE, practice_id, failure.parked_id, "redriven", tx.now, verdict.code)
                return True
            code = f"{error.code}: {error}"[:300] if isinstance(error, MalformedMessage) else verdict_on(error).code
            await tx.execute(_FAILED, practice_id, failure.parked_id, code)
            attempts = await tx.value("SELECT attempts FROM parked_subject WHERE practice_id = $1 AND subject = $2", practice_id, subject)
            again = verdict is not None and verdict.retry_in_seconds is not None and (attempts or 0) < SELF_REDRIVES
            pause = timedelta(seconds=min(2 ** min(attempts or 0, 10), PAUSE_LIMIT_SECONDS))
            await tx.execute(_PAUSE, practice_id, subject, tx.now + pause if again else None)
        return False

    async def listing(self, practice_ids: list[UUID], limit: int = 200) -> list[ParkedMessage]:
        """What is parked in these practices, oldest first."""
        async with self._work.batch(practice_ids, self._principal) as tx:
            return [ParkedMessage(**dict(row)) for row in await tx.rows(_LIST, limit)]

    async def practices_with_parked(self) -> list[UUID]:
        async with self._work.batch([], self._principal) as tx:
            return [row["practice_id"] for row in await tx.rows("SELECT DISTINCT practice_id FROM parked_subject")]

    async def correct(self, practice_id: UUID, parked_id: UUID, value: bytes, note: str) -> bool:
        """Replace a parked message's data by a corrected one, on an operator's word. False when it is not parked."""
        async with self._work.batch([practice_id], self._principal) as tx:
            tag = await tx.execute(
                "UPDATE parked SET value = $3, note = $4 WHERE practice_id = $1 AND id = $2 AND state = 'parked'",
                practice_id, parked_id, value, note,
            )  # fmt: skip
            return tag == "UPDATE 1"

    async def discard(self, practice_id: UUID, parked_id: UUID, note: str) -> bool:
        """Give a message up on an operator's word; the record stays, with the reason. False when it is not parked."""
        async with self._work.batch([practice_id], self._principal) as tx:
            row = await tx.row("SELECT event_id, subject FROM parked WHERE practice_id = $1 AND id = $2", practice_id, parked_id)
            if row is None or await tx.execute(_RESOLVE, practice_id, parked_id, "discarded", tx.now, note) != "UPDATE 1":
                return False
            if row["event_id"] is not None:
                await tx.value(_INBOX, row["event_id"])
        await self.subject(practice_id, row["subject"])
        return True


class _Failed(Exception):
    def __init__(self, parked_id: UUID, error: Exception) -> None:
        super().__init__()
        self.parked_id = parked_id
        self.error = error


__all__ = ["ParkedMessage", "Redrive"]
