"""Parking by subject: a message that cannot be handled is put aside, and what follows on its subject waits behind it.

Everything else flows. Nothing is lost: the raw record is kept until it was redriven or discarded by an operator.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from uuid import UUID

from libs.common import metrics
from libs.common.auth import Principal
from libs.common.ids import new_id
from libs.common.logging import get_logger
from libs.common.messaging.received import Incoming, MalformedMessage, Received
from libs.common.work import Tx, Work, json_text
from libs.contracts.envelope import PLATFORM

log = get_logger()

_PARK = """
INSERT INTO parked (practice_id, id, topic, partition, "offset", event_id, type, subject, headers, value, code)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11) ON CONFLICT DO NOTHING
"""
_BLOCK = """
INSERT INTO parked_subject (practice_id, subject, retry_at) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING
"""
# Takes the row's lock, so that a redrive that found nothing more to do cannot remove the row under us: it has removed
# it already, and this inserts it anew, or it finds the row locked and leaves it.
_BLOCK_BEHIND = """
INSERT INTO parked_subject (practice_id, subject, retry_at) VALUES ($1, $2, $3)
ON CONFLICT (practice_id, subject) DO UPDATE SET attempts = parked_subject.attempts
"""
_RELEASE = """
UPDATE parked_subject s SET retry_at = $2, attempts = 0 WHERE practice_id = $1 AND retry_at IS NULL AND EXISTS (
  SELECT 1 FROM parked p WHERE p.practice_id = s.practice_id AND p.subject = s.subject AND p.state = 'parked' AND p.code = $3)
"""
HELD = "held"
_MARK_DONE = "INSERT INTO inbox (event_id) VALUES ($1) ON CONFLICT DO NOTHING"


@dataclass(frozen=True)
class Verdict:
    """What becomes of a message: done, or parked — with a time to try again by itself, or until an operator acts."""

    done: bool
    code: str
    retry_in_seconds: int | None = None


class Parking:
    """Puts messages aside, durably."""

    def __init__(self, work: Work, principal: Principal) -> None:
        self._work = work
        self._principal = principal

    async def park(self, message: Received[Any], verdict: Verdict) -> None:
        """Put a message aside that failed alone, or mark it done when it was already so."""
        async with self._work.batch([message.practice_id], self._principal) as tx:
            if verdict.done:
                await tx.execute(_MARK_DONE, message.id)
                return
            retry_at = None if verdict.retry_in_seconds is None else tx.now + timedelta(seconds=verdict.retry_in_seconds)
            await self._insert(tx, message.incoming, message.practice_id, message.id, message.type, message.subject, verdict.code)
            await tx.execute(_BLOCK, message.practice_id, message.subject, retry_at)
        self._report(verdict.code, message.incoming)

    async def park_behind(self, message: Received[Any], tx: Tx) -> None:
        """Put a message aside because an earlier one of its subject is parked."""
        await self._insert(tx, message.incoming, message.practice_id, message.id, message.type, message.subject, "behind")
        # The redrive may have just emptied the subject: the row makes sure that somebody comes back for this one.
        await tx.execute(_BLOCK_BEHIND, message.practice_id, message.subject, tx.now)
        metrics.MESSAGES_PARKED.labels("behind").inc()

    async def park_malformed(self, record: Incoming, error: MalformedMessage) -> None:
        """Put a record aside that is no message. It blocks its subject only when it names one."""
        practice_id = _uuid(record.headers.get("ce_partitionkey")) or PLATFORM
        subject = record.headers.get("ce_subject") or f"record/{record.topic}/{record.partition}/{record.offset}"
        async with self._work.batch([practice_id], self._principal) as tx:
            code = f"{error.code}: {error}"[:300]
            event_id = _uuid(record.headers.get("ce_id"))
            await self._insert(tx, record, practice_id, event_id, record.headers.get("ce_type", ""), subject, code)
            await tx.execute(_BLOCK, practice_id, subject, None)
        self._report(error.code, record)

    async def _insert(
        self, tx: Tx, record: Incoming, practice_id: UUID, event_id: UUID | None, message_type: str, subject: str, code: str
    ) -> None:
        await tx.execute(
            _PARK,
            practice_id,
            new_id(),
            record.topic,
            record.partition,
            record.offset,
            event_id,
            message_type,
            subject,
            json_text(record.headers),
            record.value,
            code,
        )

    def _report(self, code: str, record: Incoming) -> None:
        reason = code.split(":", 1)[0]
        metrics.MESSAGES_PARKED.labels(reason).inc()
        log.warning("message.parked", code=code, topic=record.topic, partition=record.partition, offset=record.offset)


async def release_held(practice_id: UUID, tx: Tx) -> None:
    """What was held for this practice goes on, in the order it came, as soon as this commits."""
    await tx.execute(_RELEASE, practice_id, tx.now, HELD)


def _uuid(text: str | None) -> UUID | None:
    try:
        return UUID(text) if text else None
    except ValueError:
        return None
