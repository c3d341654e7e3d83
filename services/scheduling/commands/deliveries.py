"""One delivery per event an endpoint wants: queued with the bytes that will be signed, logged, sent again on demand.

At least once: every attempt of a delivery carries the same ``webhook-id``, and the receiver can tell a repetition by it.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Self
from uuid import UUID

import asyncpg
from pydantic import BaseModel

from libs.common.errors import NotFound
from libs.common.ids import derived_id
from libs.common.messaging import Received
from libs.common.work import Tx
from libs.contracts.marks import without_personal
from services.scheduling.commands.endpoint import EndpointNotFound
from services.scheduling.queries import deliveries, endpoint
from services.scheduling.rules.outbound import PUBLIC_NAMES, webhook_body

_WANTED = "SELECT practice_id, event_types FROM webhook_endpoint WHERE practice_id = ANY($1::uuid[]) AND state = 'active'"
_QUEUE = """
WITH queued AS (
  INSERT INTO webhook_delivery (practice_id, id, event_id, event_type, body, state, next_at, created_at, traceparent, correlation_id)
  SELECT p, i, e, t, b, 'pending', $8, $8, tp, c
  FROM unnest($1::uuid[], $2::uuid[], $3::uuid[], $4::text[], $5::bytea[], $6::text[], $7::text[]) AS u (p, i, e, t, b, tp, c)
  ON CONFLICT DO NOTHING RETURNING practice_id, id
)
INSERT INTO webhook_due (practice_id, delivery_id, due_at) SELECT practice_id, id, $8 FROM queued ON CONFLICT DO NOTHING
"""
_AGAIN = """
UPDATE webhook_delivery SET state = 'pending', tries = 0, next_at = $3, finished_at = NULL WHERE practice_id = $1 AND id = $2
"""
_DUE = """
INSERT INTO webhook_due (practice_id, delivery_id, due_at) VALUES ($1, $2, $3)
ON CONFLICT (practice_id, delivery_id) DO UPDATE SET due_at = excluded.due_at
"""


class DeliveryNotFound(NotFound):
    """No such delivery."""


class AttemptView(BaseModel):
    """One attempt: the answer's status and beginning, or an error code when there was no answer. Times are UTC."""

    number: int
    at: datetime
    status: int | None
    error: str | None
    milliseconds: int
    answer: str


class DeliveryView(BaseModel):
    """A delivery with its attempts. ``state``: pending, delivered, exhausted or abandoned."""

    id: UUID
    webhook_id: str
    event_id: UUID
    event_type: str
    state: str
    attempts: int
    next_at: datetime | None
    last_status: int | None
    created_at: datetime
    finished_at: datetime | None
    log: list[AttemptView]

    @classmethod
    def of(cls, row: asyncpg.Record) -> Self:
        return cls.model_validate({**dict(row), "webhook_id": webhook_id(row["id"])})


def webhook_id(delivery_id: UUID) -> str:
    """What the receiver knows a delivery by; the same on every attempt."""
    return f"msg_{delivery_id.hex}"


async def queue_deliveries(events: Sequence[Received[Any]], tx: Tx) -> bool:
    """A delivery for every event whose practice has an endpoint that wants it; whether there was one. Once per event."""
    rows = await tx.rows(_WANTED, list({event.practice_id for event in events}))
    wanted = {row["practice_id"]: frozenset(row["event_types"]) for row in rows}
    told = [event for event in events if PUBLIC_NAMES[event.type] in wanted.get(event.practice_id, ())]
    if not told:
        return False
    await tx.execute(
        _QUEUE,
        [event.practice_id for event in told],
        [derived_id("webhook", event.id) for event in told],
        [event.id for event in told],
        [PUBLIC_NAMES[event.type] for event in told],
        [webhook_body(PUBLIC_NAMES[event.type], event.time, without_personal(event.data)) for event in told],
        [event.cause.traceparent for event in told],
        [event.correlation_id for event in told],
        tx.now,
    )
    return True


async def list_deliveries(tx: Tx, *, after: tuple[str, ...] | None, limit: int) -> list[DeliveryView]:
    """Newest first; one more than ``limit`` when there is more."""
    return [DeliveryView.of(row) for row in await deliveries(tx, after=after, limit=limit)]


async def send_again(delivery_id: UUID, tx: Tx) -> None:
    """Start a delivery's attempts anew, now, whatever became of it. Raises ``EndpointNotFound``, ``DeliveryNotFound``."""
    if await endpoint(tx) is None:
        raise EndpointNotFound
    if await tx.execute(_AGAIN, tx.practice_id, delivery_id, tx.now) == "UPDATE 0":
        raise DeliveryNotFound
    await tx.execute(_DUE, tx.practice_id, delivery_id, tx.now)
