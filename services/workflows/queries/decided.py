"""What was decided about every workflow at an event, with those the event does not name."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import asyncpg

from libs.common.work import Tx
from services.workflows.rules.definitions.triggers import BY_TYPE, started_by

FILTERED = "filtered"
BULK = "bulk"

_IN_FORCE = """
SELECT workflow_id, version, events, since, until FROM in_force
WHERE practice_id = $1 AND since <= $2 AND (until IS NULL OR until > $3) AND events && $4::text[] ORDER BY workflow_id
"""


async def with_decisions(rows: Sequence[asyncpg.Record], tx: Tx) -> list[dict[str, Any]]:
    """Rows of the event log of the transaction's practice, each with all its decisions: ``[workflow_id, version, verdict, run_id]``.

    An event with a revision names only what went on, or was kept out by something else than its filter.
    """
    met = [row["revision"] for row in rows if row["revision"] is not None]
    types = {row["event_id"]: _started(row) for row in rows if row["revision"] is not None}
    listened = await tx.rows(_IN_FORCE, tx.practice_id, max(met), min(met), sorted(set().union(*types.values()))) if met else []
    return [{**row, "decisions": [*row["decisions"], *_unnamed(row, types.get(row["event_id"], set()), listened)]} for row in rows]


def _started(row: asyncpg.Record) -> set[str]:
    """The trigger types the event counts as."""
    kind = BY_TYPE.get(row["type"])
    return set() if kind is None else set(started_by(kind.model_validate(row["data"], extra="ignore")))


def _unnamed(row: asyncpg.Record, types: set[str], listened: Iterable[asyncpg.Record]) -> list[list[Any]]:
    named = {workflow_id for workflow_id, *_ in row["decisions"]}
    verdict = BULK if row["data"].get("bulk") else FILTERED
    return [
        [str(one["workflow_id"]), one["version"], verdict, None]
        for one in listened
        if types.intersection(one["events"]) and str(one["workflow_id"]) not in named
        and one["since"] <= row["revision"] and (one["until"] is None or one["until"] > row["revision"])
    ]  # fmt: skip
