"""Compare every service's outbox with the ledger: each message there exactly once, nothing there that was never said.

Reads with a role of its own that sees ids only. What is younger than ``settle`` is still on its way and not counted.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from uuid import UUID

import asyncpg

from libs.contracts.topics import SERVICES

_COMPARE = """
WITH said AS ({outboxes}), settled AS (SELECT * FROM said WHERE time < now() - $1::interval)
SELECT s.id, s.service, 'missing' AS what FROM settled s LEFT JOIN audit.entry e ON e.practice_id = s.practice_id AND e.event_id = s.id
WHERE e.event_id IS NULL
UNION ALL
SELECT e.event_id, 'audit', 'surplus' FROM audit.entry e LEFT JOIN said s ON s.practice_id = e.practice_id AND s.id = e.event_id WHERE s.id IS NULL
LIMIT 1000
"""
_COUNT = "WITH said AS ({outboxes}) SELECT (SELECT count(*) FROM said) AS said, (SELECT count(*) FROM audit.entry) AS entered"
_OUTBOXES = " UNION ALL ".join(f"SELECT id, practice_id, time, '{service}' AS service FROM {service}.outbox" for service in SERVICES)


@dataclass(frozen=True)
class Difference:
    event_id: UUID
    service: str
    what: str


@dataclass(frozen=True)
class Comparison:
    """How many messages were said and entered, and the first thousand that differ."""

    said: int
    entered: int
    differences: list[Difference]


async def compare(auditor_url: str, settle: timedelta) -> Comparison:
    """Raises ``OSError`` or ``asyncpg.PostgresError`` when the database cannot be asked."""
    connection = await asyncpg.connect(auditor_url)
    try:
        async with connection.transaction(isolation="repeatable_read", readonly=True):
            rows = await connection.fetch(_COMPARE.format(outboxes=_OUTBOXES), settle)
            counts = await connection.fetchrow(_COUNT.format(outboxes=_OUTBOXES))
    finally:
        await connection.close()
    return Comparison(counts["said"], counts["entered"], [Difference(row["id"], row["service"], row["what"]) for row in rows])
