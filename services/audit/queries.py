"""Named selects over the ledger."""

from __future__ import annotations

from uuid import UUID

import asyncpg

from libs.common.work import Tx


async def entries(
    tx: Tx, *, event_type: str | None, subject: str | None, correlation_id: str | None, after: tuple[str, ...] | None, limit: int
) -> list[asyncpg.Record]:
    """Oldest first; one more than ``limit`` when there is more."""
    return await tx.rows(
        """
        SELECT seq, event_id, entry, leaf FROM entry WHERE practice_id = $1 AND ($2::text IS NULL OR type = $2)
          AND ($3::text IS NULL OR subject = $3) AND ($4::text IS NULL OR correlation_id = $4) AND seq > $5 ORDER BY seq LIMIT $6
        """,
        tx.practice_id, event_type, subject, correlation_id, int(after[0]) if after else -1, limit + 1,
    )  # fmt: skip


async def entry_by_event(event_id: UUID, tx: Tx) -> asyncpg.Record | None:
    return await tx.row("SELECT seq, event_id, entry, leaf FROM entry WHERE practice_id = $1 AND event_id = $2", tx.practice_id, event_id)


async def latest_checkpoint(tx: Tx, practice_id: UUID | None = None) -> asyncpg.Record | None:
    return await tx.row(
        "SELECT size, root, frontier, note, signed_at FROM checkpoint WHERE practice_id = $1 ORDER BY size DESC LIMIT 1",
        practice_id or tx.practice_id,
    )


async def checkpoint_of_size(size: int, tx: Tx) -> asyncpg.Record | None:
    return await tx.row("SELECT size, root, note FROM checkpoint WHERE practice_id = $1 AND size = $2", tx.practice_id, size)


async def leaves(tx: Tx, practice_id: UUID, start: int, end: int) -> list[bytes]:
    """Leaf hashes of entries ``start`` to ``end`` (excluded)."""
    rows = await tx.rows("SELECT leaf FROM entry WHERE practice_id = $1 AND seq >= $2 AND seq < $3 ORDER BY seq", practice_id, start, end)
    return [row["leaf"] for row in rows]


async def exported(tx: Tx, size: int) -> list[bytes]:
    """The canonical bytes of the first ``size`` entries."""
    rows = await tx.rows("SELECT entry FROM entry WHERE practice_id = $1 AND seq < $2 ORDER BY seq", tx.practice_id, size)
    return [row["entry"] for row in rows]
