"""Named selects about what people said became of actions whose outcome was unknown."""

from __future__ import annotations

from uuid import UUID

import asyncpg

from libs.common.work import Tx


async def step_of(run_id: UUID, step_id: str, tx: Tx) -> asyncpg.Record | None:
    """One step a run came to."""
    return await tx.row("SELECT * FROM step WHERE practice_id = $1 AND run_id = $2 AND step_id = $3", tx.practice_id, run_id, step_id)


async def said_of(effect_key: UUID, tx: Tx) -> str | None:
    """What a person said became of an effect."""
    found: str | None = await tx.value(
        "SELECT outcome FROM resolution WHERE practice_id = $1 AND effect_key = $2", tx.practice_id, effect_key
    )
    return found


async def resolutions_of(run_id: UUID, tx: Tx) -> list[asyncpg.Record]:
    """Everything people said about steps of a run, oldest first: also about attempts before the last one."""
    return await tx.rows(
        "SELECT * FROM resolution WHERE practice_id = $1 AND run_id = $2 ORDER BY resolved_at, effect_key", tx.practice_id, run_id
    )
