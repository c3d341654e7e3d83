"""Fire due timers: each once, in the transaction that advances its run.

A claim deletes the timer and advances the run together, so dying in between leaves both as they were. Several
processes may claim: each takes what no other holds. Timers of suspended practices stay where they are.
"""

from __future__ import annotations

from datetime import timedelta
from itertools import zip_longest
from typing import Any
from uuid import UUID

from opentelemetry.context import Context

from libs.common.auth import Principal
from libs.common.logging import get_logger
from libs.common.telemetry import Cause, link_to, span, traceparent_of
from libs.common.work import Tx, Work
from services.workflows.commands.arrivals import bring_to_rest
from services.workflows.commands.published import PublishedWorkflows
from services.workflows.commands.runs import advance_runs
from services.workflows.commands.serial import free_turns, one_at_a_time
from services.workflows.queries.runs import runs_for_change
from services.workflows.queries.world import Key
from services.workflows.rules.runs.states import Input, TimerFired

log = get_logger()

CLAIM = 200
SHARE = 25
"""Practices a claim is for at most: their turns are held while it works, and other workers need something to do."""
WINDOW = 2000
"""Of the due timers, so many decide which practices a claim looks at. When more are due, every practice is asked for its oldest."""
POSTPONE_SECONDS = 60
HELD_ELSEWHERE_SECONDS = 0.02
SYSTEM = Principal.system("timers")
_AWAKE = "practice_id <> ALL (ARRAY(SELECT practice_id FROM access_practice WHERE suspended))"
_DUE_PRACTICES = f"""
SELECT practice_id, count(*) AS due FROM (
  SELECT practice_id, due_at FROM timer WHERE due_at <= $1 AND NOT held AND {_AWAKE} ORDER BY due_at LIMIT $2
) due GROUP BY practice_id ORDER BY min(due_at)
"""
"""Those that wait longest first, those that are least behind last."""
_EVERY_PRACTICE = f"""
WITH RECURSIVE oldest AS (
  (SELECT practice_id, due_at FROM timer WHERE NOT held ORDER BY practice_id, due_at LIMIT 1)
  UNION ALL
  SELECT n.practice_id, n.due_at FROM oldest o, LATERAL (
    SELECT practice_id, due_at FROM timer WHERE NOT held AND practice_id > o.practice_id ORDER BY practice_id, due_at LIMIT 1) n
) SELECT practice_id FROM oldest WHERE due_at <= $1 AND {_AWAKE} ORDER BY due_at
"""
"""The same however many of one practice are due: one look into the index for each practice."""
_CLAIM_EACH = f"""
DELETE FROM timer t USING unnest($3::uuid[]) AS p (practice_id), LATERAL (
  SELECT practice_id, run_id, step_id FROM timer WHERE practice_id = p.practice_id AND due_at <= $1 AND NOT held AND {_AWAKE}
  ORDER BY due_at LIMIT $2 FOR UPDATE SKIP LOCKED
) c WHERE t.practice_id = c.practice_id AND t.run_id = c.run_id AND t.step_id = c.step_id RETURNING t.practice_id, t.run_id, t.step_id
"""
_CLAIM = f"""
DELETE FROM timer t USING (
  SELECT practice_id, run_id, step_id FROM timer WHERE due_at <= $1 AND NOT held AND practice_id = ANY($3::uuid[]) AND {_AWAKE}
  ORDER BY due_at LIMIT $2 FOR UPDATE SKIP LOCKED
) c WHERE t.practice_id = c.practice_id AND t.run_id = c.run_id AND t.step_id = c.step_id RETURNING t.practice_id, t.run_id, t.step_id
"""
_DUE = f"SELECT practice_id, run_id, step_id FROM timer WHERE due_at <= $1 AND NOT held AND {_AWAKE} ORDER BY due_at LIMIT $2"
_NEXT = f"SELECT min(due_at) FROM timer WHERE NOT held AND {_AWAKE}"
_POSTPONE = """
UPDATE timer SET due_at = $4, postponed = postponed + 1, failing_since = coalesce(failing_since, $5)
WHERE practice_id = $1 AND run_id = $2 AND step_id = $3
"""


async def fire_due(work: Work, published: PublishedWorkflows) -> int:
    """Fire what is due, up to a full claim; returns how many. One that fails alone is postponed, the others fire."""
    try:
        return await _fire(CLAIM, work, published)
    except Exception as error:  # one of them is bad: each alone, so that only that one suffers
        log.warning("timers.split", exc_info=error)
    fired = 0
    async with work.batch([], SYSTEM) as tx:
        due = await tx.rows(_DUE, tx.now, CLAIM)
    for row in due:
        fired += await _fire_alone(row, work, published)
    return fired


async def _fire(limit: int, work: Work, published: PublishedWorkflows) -> int:
    async with work.batch([], SYSTEM) as tx:
        timers = await _claim(limit, tx)
        if timers:
            await _advance(timers, published, tx)
        return len(timers)


async def _claim(limit: int, tx: Tx) -> list[Any]:
    """Due timers of practices whose turn is free; each is taken by one worker only.

    Each practice gets its share first, and what is left over goes to those that wait longest: thousands of one practice delay
    another's by no more than the claims it takes to come round. Half of the practices are those that are least behind, so what
    is due now does not come after all that fell due while we were away.
    """
    window = await tx.rows(_DUE_PRACTICES, tx.now, WINDOW)
    if sum(row["due"] for row in window) >= WINDOW:
        window = await tx.rows(_EVERY_PRACTICE, tx.now)
    practices = await free_turns(_from_both_ends([row["practice_id"] for row in window]), SHARE, tx)
    if not practices:
        return []
    if len(practices) == 1:
        return await tx.rows(_CLAIM, tx.now, limit, practices)
    timers = await tx.rows(_CLAIM_EACH, tx.now, limit // len(practices), practices)
    left = limit - len(timers)
    return timers + (await tx.rows(_CLAIM, tx.now, left, practices) if left else [])


def _from_both_ends(practices: list[UUID]) -> list[UUID]:
    """Who waits longest, who is least behind, the next of each, and so on: both have their turn in every claim."""
    half = (len(practices) + 1) // 2
    pairs = zip_longest(practices[:half], reversed(practices[half:]))
    return [practice for pair in pairs for practice in pair if practice is not None]


async def _fire_alone(row: Any, work: Work, published: PublishedWorkflows) -> int:
    key = row["practice_id"], row["run_id"], row["step_id"]
    try:
        async with work.batch([], SYSTEM) as tx:
            await one_at_a_time([row["practice_id"]], tx)
            taken = await tx.rows(
                "DELETE FROM timer WHERE practice_id = $1 AND run_id = $2 AND step_id = $3 RETURNING practice_id, run_id, step_id", *key
            )
            if taken:
                await _advance(taken, published, tx)
            return len(taken)
    except Exception as error:  # it stays, later: after some times the watchdog shows the run
        log.error("timer.postponed", run_id=str(row["run_id"]), exc_info=error)
        async with work.batch([], SYSTEM) as tx:
            await tx.execute(_POSTPONE, *key, tx.now + timedelta(seconds=POSTPONE_SECONDS), tx.now)
        return 0


async def _advance(timers: list[Any], published: PublishedWorkflows, tx: Tx) -> None:
    """What happens after a wait is a trace of its own that links to the one that set the timer."""
    await tx.enter({row["practice_id"] for row in timers})
    keys: list[Key] = [(row["practice_id"], row["run_id"]) for row in timers]
    runs = await runs_for_change(list(set(keys)), tx)
    inputs: list[tuple[Key, Input, Cause]] = []
    for row, key in zip(timers, keys, strict=True):
        if key not in runs:
            continue
        run = runs[key]
        links = link_to(run["traceparent"])
        with span("timer fired", parent=Context(), links=links, attributes={"vantage.run_id": str(run["id"])}) as current:
            cause = Cause(run["correlation_id"], str(run["trigger_event_id"]), traceparent_of(current), "")
        inputs.append((key, TimerFired(row["step_id"]), cause))
    await bring_to_rest(await advance_runs(inputs, published, tx), published, tx)


async def seconds_until_next(work: Work) -> float | None:
    """When the next timer is due; None when there is none. One that is due already is in another process's hands: a moment."""
    async with work.batch([], SYSTEM) as tx:
        due = await tx.value(_NEXT)
        return None if due is None else max(HELD_ELSEWHERE_SECONDS, (due - tx.now).total_seconds())
