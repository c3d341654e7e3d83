"""Append a batch: one transaction, each event once, in the order it came.

The head row of each log is locked, so appenders take turns per practice; an event id that is there already is passed
over. If we die before the commit nothing was appended and Kafka delivers again.
"""

from __future__ import annotations

import secrets
from collections import defaultdict
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import orjson

from libs.common.ids import derived_id
from libs.common.logging import get_logger
from libs.common.messaging import Received
from libs.common.work import Tx
from services.audit.rules.entries import canonical, conflict_of, entry_of, same_event
from services.audit.rules.merkle import append, leaf_hash, pack, unpack

log = get_logger()

_HEADS = "SELECT practice_id, size, frontier FROM head WHERE practice_id = ANY($1::uuid[]) ORDER BY practice_id FOR UPDATE"
_NEW_LOGS = "INSERT INTO log SELECT p, o, $3 FROM unnest($1::uuid[], $2::text[]) AS t (p, o) ON CONFLICT DO NOTHING"
_NEW_HEADS = "INSERT INTO head SELECT p, 0, '' FROM unnest($1::uuid[]) AS p ON CONFLICT DO NOTHING"
_KNOWN = """
SELECT e.practice_id, e.event_id, e.entry FROM unnest($1::uuid[], $2::uuid[]) AS t (practice_id, event_id) JOIN entry e USING (practice_id, event_id)
"""
_INSERT = """
INSERT INTO entry (practice_id, seq, event_id, type, subject, correlation_id, recorded_at, entry, leaf)
SELECT p, s, i, t, su, c, $9, e, l
FROM unnest($1::uuid[], $2::bigint[], $3::uuid[], $4::text[], $5::text[], $6::text[], $7::bytea[], $8::bytea[]) AS u (p, s, i, t, su, c, e, l)
"""
_MOVE_HEADS = """
UPDATE head h SET size = t.size, frontier = t.frontier FROM unnest($1::uuid[], $2::bigint[], $3::bytea[]) AS t (practice_id, size, frontier)
WHERE h.practice_id = t.practice_id
"""
_UNSIGNED = "INSERT INTO unsigned SELECT p, $2 FROM unnest($1::uuid[]) AS p ON CONFLICT DO NOTHING"


@dataclass(frozen=True)
class Line:
    """One entry to append."""

    practice_id: UUID
    event_id: UUID
    entry: dict[str, Any]
    data: bytes
    leaf: bytes


async def append_events(events: list[Received[Any]], origin: str, tx: Tx) -> int:
    """Append what is not there yet; returns how many entries came to be."""
    heads = await _locked_heads({event.practice_id for event in events}, origin, tx)
    lines = await _new_lines(events, tx)
    if not lines:
        return 0
    by_log: dict[UUID, list[Line]] = defaultdict(list)
    for line in lines:
        by_log[line.practice_id].append(line)
    numbered = [(heads[practice][1] + position, line) for practice, group in by_log.items() for position, line in enumerate(group)]
    await tx.execute(
        _INSERT, [line.practice_id for _, line in numbered], [seq for seq, _ in numbered], [line.event_id for _, line in numbered],
        [line.entry["type"] for _, line in numbered], [line.entry["subject"] for _, line in numbered],
        [line.entry["trace"]["correlation"] for _, line in numbered], [line.data for _, line in numbered],
        [line.leaf for _, line in numbered], tx.now,
    )  # fmt: skip
    moved = {practice: append(*heads[practice], [line.leaf for line in group]) for practice, group in by_log.items()}
    await tx.execute(_MOVE_HEADS, list(moved), [size for _, size in moved.values()], [pack(frontier) for frontier, _ in moved.values()])
    await tx.execute(_UNSIGNED, list(moved), tx.now)
    return len(lines)


async def _locked_heads(practice_ids: set[UUID], origin: str, tx: Tx) -> dict[UUID, tuple[list[bytes], int]]:
    """Frontier and size of each log, locked in one order; a practice seen for the first time gets its log."""
    rows = await tx.rows(_HEADS, list(practice_ids))
    missing = sorted(practice_ids - {row["practice_id"] for row in rows})
    if missing:
        await tx.execute(_NEW_LOGS, missing, [f"{origin}/{secrets.token_hex(16)}" for _ in missing], tx.now)
        await tx.execute(_NEW_HEADS, missing)
        rows = await tx.rows(_HEADS, list(practice_ids))
    return {row["practice_id"]: (unpack(row["frontier"]), row["size"]) for row in rows}


async def _new_lines(events: list[Received[Any]], tx: Tx) -> list[Line]:
    known = {
        (row["practice_id"], row["event_id"]): row["entry"]
        for row in await tx.rows(_KNOWN, [event.practice_id for event in events], [event.id for event in events])
    }
    lines: list[Line] = []
    for event in events:
        key = event.practice_id, event.id
        entry = entry_of(event.envelope, event.raw, topic=event.topic, partition=event.partition, offset=event.offset, recorded_at=tx.now)
        if key not in known:
            lines.append(_line(event.practice_id, event.id, entry))
            known[key] = lines[-1].data
        elif not same_event(orjson.loads(known[key]), entry):
            conflict = derived_id("conflict", event.id, event.topic, event.partition, event.offset)
            log.error("ledger.conflict", event_id=str(event.id), topic=event.topic, offset=event.offset)
            if await tx.value("SELECT 1 FROM entry WHERE practice_id = $1 AND event_id = $2", event.practice_id, conflict) is None:
                lines.append(_line(event.practice_id, conflict, conflict_of(entry, conflict)))
    return lines


def _line(practice_id: UUID, event_id: UUID, entry: dict[str, Any]) -> Line:
    data = canonical(entry)
    return Line(practice_id, event_id, entry, data, leaf_hash(data))
