"""Named selects over what is known of patients and filters over them, appointments and practices."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any
from uuid import UUID

import asyncpg

from libs.common.work import Tx

Key = tuple[UUID, UUID]
"""Practice id and id: what identifies a row of a tenant table."""


async def patients(keys: Iterable[Key], tx: Tx) -> dict[Key, dict[str, Any]]:
    return await _projected(
        "SELECT p.* FROM unnest($1::uuid[], $2::uuid[]) AS t (practice_id, id) JOIN patient p USING (practice_id, id)", keys, tx
    )


async def appointments(keys: Iterable[Key], tx: Tx) -> dict[Key, dict[str, Any]]:
    return await _projected(
        "SELECT a.* FROM unnest($1::uuid[], $2::uuid[]) AS t (practice_id, id) JOIN appointment a USING (practice_id, id)", keys, tx
    )


async def _projected(sql: str, keys: Iterable[Key], tx: Tx) -> dict[Key, dict[str, Any]]:
    wanted = sorted(set(keys))
    if not wanted:
        return {}
    rows = await tx.rows(sql, [key[0] for key in wanted], [key[1] for key in wanted])
    return {(row["practice_id"], row["id"]): dict(row) for row in rows}


async def practices(practice_ids: Iterable[UUID], tx: Tx) -> dict[UUID, dict[str, Any]]:
    """Name, time zone, opening hours and holidays; a practice not heard of yet has only its id."""
    ids = list(set(practice_ids))
    rows = await tx.rows(
        "SELECT practice_id AS id, name, time_zone, opening_hours, holidays FROM practice WHERE practice_id = ANY($1::uuid[])", ids
    )
    known = {row["id"]: dict(row) for row in rows}
    return {practice_id: known.get(practice_id, {"id": practice_id}) for practice_id in ids}


async def saved_filter(practice_id: UUID, filter_id: UUID, tx: Tx) -> asyncpg.Record | None:
    """What is known of a filter the patients service keeps; ``removed`` once it is gone there."""
    return await tx.row("SELECT * FROM patient_filter WHERE practice_id = $1 AND id = $2", practice_id, filter_id)
