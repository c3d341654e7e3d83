"""What every event of a practice asks of it, in one statement."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from libs.common.work import Tx

_DETAILS = ("id", "name", "time_zone", "opening_hours", "holidays")
_CURRENT = """
SELECT t.id, coalesce(r.number, 0) AS revision, p.practice_id IS NOT NULL AS known, p.name, p.time_zone, p.opening_hours, p.holidays
FROM unnest($1::uuid[]) AS t (id) LEFT JOIN revision r ON r.practice_id = t.id LEFT JOIN practice p ON p.practice_id = t.id
"""


@dataclass(frozen=True)
class Current:
    """Of practices which state of its published workflows each has (0: never published), and its details (``queries.world.practices``)."""

    revisions: Mapping[UUID, int]
    practices: dict[UUID, dict[str, Any]]


async def current_of(practice_ids: Iterable[UUID], tx: Tx) -> Current:
    rows = await tx.rows(_CURRENT, list(practice_ids))
    details = {row["id"]: {name: row[name] for name in _DETAILS} if row["known"] else {"id": row["id"]} for row in rows}
    return Current({row["id"]: row["revision"] for row in rows}, details)
