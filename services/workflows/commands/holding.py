"""Runs of a paused workflow stand still from the moment it is paused, also those that have yet to be held one by one.

Whoever is about to move runs asks for them here: what would escape the pause is held first.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from uuid import UUID

from libs.common.work import Tx
from services.workflows.commands.handover import call
from services.workflows.queries.runs import runs_for_change
from services.workflows.queries.world import Key
from services.workflows.rules.runs.orchestration import BUILTIN

_HOLD = """
WITH taken AS (
  UPDATE run r SET paused = true, held = true FROM unnest($1::uuid[], $2::uuid[]) AS t (p, i)
  WHERE r.practice_id = t.p AND r.id = t.i AND r.status = 'running' AND NOT r.paused RETURNING r.practice_id, r.id, r.engine
), ours AS (UPDATE timer SET held = true FROM taken WHERE timer.practice_id = taken.practice_id AND timer.run_id = taken.id),
durable AS (UPDATE durable_timer m SET held = true FROM taken WHERE m.practice_id = taken.practice_id AND m.run_id = taken.id)
SELECT practice_id, id, engine FROM taken
"""


async def runs_to_move(keys: list[Key], tx: Tx) -> Mapping[Key, Mapping[str, Any]]:
    """These runs, locked. ``escapes``: it was not held until now."""
    found = await runs_for_change(keys, tx)
    escaping = [key for key, row in found.items() if row["escapes"]]
    if not escaping:
        return found
    await hold_runs(escaping, tx)
    return {key: {**row, "paused": True, "held": True} if row["escapes"] else row for key, row in found.items()}


async def hold_runs(keys: list[Key], tx: Tx) -> None:
    """These runs, with their timers, until their workflow is resumed. In the practice's turn."""
    rows = await tx.rows(_HOLD, [key[0] for key in keys], [key[1] for key in keys])
    durable: list[tuple[UUID, UUID]] = [(row["practice_id"], row["id"]) for row in rows if row["engine"] != BUILTIN]
    if durable:  # their engine sees where they stand
        await call(durable, tx)
