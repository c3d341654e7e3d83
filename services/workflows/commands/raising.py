"""Say once that somebody has to look at a run: an event, a figure, an entry in the list of what is stuck."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from libs.common import metrics
from libs.common.work import Tx
from libs.contracts.workflows import RunStuck

KEEPS_FAILING = "keeps_failing"

_RAISE = """
INSERT INTO stuck (practice_id, run_id, step_id, code, since, raised_at) VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT DO NOTHING RETURNING true
"""


async def raise_run(row: Mapping[str, Any], step_id: str, code: str, since: datetime, tx: Tx) -> bool:
    """Whether it is news. ``row`` has the practice, the run's id and its workflow."""
    if not await tx.value(_RAISE, row["practice_id"], row["id"], step_id, code, since, tx.now):
        return False
    stuck = RunStuck(
        run_id=row["id"], workflow_id=row["workflow_id"], workflow_name=row["workflow_name"], version=row["version"], step_id=step_id,
        code=code, since=since,
    )  # fmt: skip
    tx.emit(stuck, practice_id=row["practice_id"])
    tx.after_commit(lambda: metrics.STUCK.labels(code).inc())
    return True
