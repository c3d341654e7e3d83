"""How many runs each workflow had and how they ended, counted as they go: nobody ever counts them all again."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable
from uuid import UUID

from libs.common.work import Tx
from services.workflows.commands.rows import RunRow
from services.workflows.rules.runs.states import Status

_COUNT = """
INSERT INTO workflow_stats AS w (practice_id, workflow_id, started, completed, failed, cancelled, last_started_at)
SELECT p, i, s, c, f, x, CASE WHEN s > 0 THEN $7::timestamptz END
FROM unnest($1::uuid[], $2::uuid[], $3::bigint[], $4::bigint[], $5::bigint[], $6::bigint[]) AS t (p, i, s, c, f, x) ORDER BY p, i
ON CONFLICT (practice_id, workflow_id) DO UPDATE SET started = w.started + excluded.started, completed = w.completed + excluded.completed,
  failed = w.failed + excluded.failed, cancelled = w.cancelled + excluded.cancelled,
  last_started_at = greatest(w.last_started_at, excluded.last_started_at)
"""
_ENDS = (Status.COMPLETED, Status.FAILED, Status.CANCELLED)


async def count_runs(changes: Iterable[tuple[RunRow, bool, str, str]], tx: Tx) -> None:
    """Each change as the run, whether it began just now, its status before and its status now.

    In the transaction that writes the runs: a crash counts neither. A practice's batches come one after another, so nobody
    waits for a counter.
    """
    counts: defaultdict[tuple[UUID, UUID], Counter[str]] = defaultdict(Counter)
    for run, began, was, now in changes:
        of_workflow = counts[run.practice_id, run.workflow_id]
        of_workflow["started"] += began
        if was != now:
            of_workflow[was] -= 1
            of_workflow[now] += 1
    moved = {key: count for key, count in counts.items() if any(count[name] for name in ("started", *_ENDS))}
    if moved:
        ended = [[count[status] for count in moved.values()] for status in _ENDS]
        started = [count["started"] for count in moved.values()]
        await tx.execute(_COUNT, [practice for practice, _ in moved], [workflow for _, workflow in moved], started, *ended, tx.now)
