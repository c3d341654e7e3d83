"""The outbox: rows that say what happened, written with it. Debezium carries them to Kafka, at least once, in commit order."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

import asyncpg

from libs.common.errors import Refused
from libs.common.telemetry import Cause
from libs.contracts.envelope import schema_uri

MAX_PAYLOAD_BYTES = 900_000
"""Larger rows would stop the connector for every service (Kafka refuses them), so they never get in."""


class MessageTooLarge(Refused):
    """What this would say is larger than a message may be."""


@dataclass(frozen=True)
class OutboxRow:
    id: UUID
    topic: str
    key: str
    practice_id: UUID
    type: str
    source: str
    subject: str
    time: datetime
    actor: str
    cause: Cause
    payload: str


# One statement for any number of rows; never COPY: rows sharing one LSN can be lost by a connector restart.
_INSERT = """
INSERT INTO outbox (id, topic, key, practice_id, type, source, subject, time, actor, correlation_id, causation_id,
                    traceparent, tracestate, dataschema, payload)
SELECT * FROM unnest($1::uuid[], $2::text[], $3::text[], $4::uuid[], $5::text[], $6::text[], $7::text[], $8::timestamptz[],
                     $9::text[], $10::text[], $11::text[], $12::text[], $13::text[], $14::text[], $15::json[])
"""


async def write_outbox(raw: asyncpg.Connection[Any], rows: Sequence[OutboxRow]) -> None:
    """Insert the rows in the order given. Raises ``MessageTooLarge``."""
    if any(len(row.payload) > MAX_PAYLOAD_BYTES // 4 and len(row.payload.encode()) > MAX_PAYLOAD_BYTES for row in rows):
        raise MessageTooLarge
    await raw.execute(
        _INSERT,
        [row.id for row in rows],
        [row.topic for row in rows],
        [row.key for row in rows],
        [row.practice_id for row in rows],
        [row.type for row in rows],
        [row.source for row in rows],
        [row.subject for row in rows],
        [row.time for row in rows],
        [row.actor for row in rows],
        [row.cause.correlation_id for row in rows],
        [row.cause.causation_id for row in rows],
        [row.cause.traceparent for row in rows],
        [row.cause.tracestate for row in rows],
        [schema_uri(row.type) for row in rows],
        [row.payload for row in rows],
    )
