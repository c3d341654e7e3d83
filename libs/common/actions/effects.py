"""The rows of effects: planned, marked, recorded, taken up again. Each step says what is true if we die after it.

planned: nothing was sent. dispatched: perhaps it was. Only a recorded outcome, a look-up or a report from outside ends that
doubt; it is never ended by sending again blindly.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any
from uuid import UUID

from libs.common.actions.outcomes import Answer, Attempt, EffectState
from libs.common.messaging import Received
from libs.common.work import Tx, json_text

LEASE_SECONDS = 30
"""A planned or dispatched effect nobody finished within this time is taken up by the recovery duty."""

CLAIM = 100

_NEW = """
INSERT INTO effect (practice_id, effect_key, action, run_id, step_id, state, request, correlation_id, causation_id, traceparent, planned_at)
SELECT p, k, a, r, st, 'planned', q, c, ca, tp, $10 FROM unnest($1::uuid[], $2::uuid[], $3::text[], $4::uuid[], $5::text[], $6::jsonb[],
  $7::text[], $8::text[], $9::text[]) AS t (p, k, a, r, st, q, c, ca, tp) ON CONFLICT DO NOTHING RETURNING practice_id, effect_key
"""
_DUE = "INSERT INTO effect_due SELECT p, k, $3 FROM unnest($1::uuid[], $2::uuid[]) AS t (p, k) ON CONFLICT DO NOTHING"
_MARK = """
UPDATE effect e SET state = 'dispatched', attempts = attempts + 1, dispatched_at = $3
FROM unnest($1::uuid[], $2::uuid[]) AS t (practice_id, effect_key)
WHERE e.practice_id = t.practice_id AND e.effect_key = t.effect_key AND e.state = 'planned'
  AND NOT EXISTS (SELECT 1 FROM access_practice a WHERE a.practice_id = e.practice_id AND a.suspended)
RETURNING e.*
"""
_POSTPONE = """
UPDATE effect_due d SET due_at = t.due_at FROM unnest($1::uuid[], $2::uuid[], $3::timestamptz[]) AS t (practice_id, effect_key, due_at)
WHERE d.practice_id = t.practice_id AND d.effect_key = t.effect_key
"""
_LOCK = """
SELECT e.* FROM unnest($1::uuid[], $2::uuid[]) AS t (practice_id, effect_key) JOIN effect e USING (practice_id, effect_key)
WHERE e.state IN ('planned', 'dispatched', 'unknown') ORDER BY e.practice_id, e.effect_key FOR UPDATE OF e
"""
_SETTLE = """
UPDATE effect e SET state = t.state, error_code = nullif(t.code, ''), result = CASE WHEN t.state = 'confirmed' THEN t.result END,
  finished_at = CASE WHEN t.state IN ('confirmed', 'failed') THEN $6::timestamptz END,
  request = CASE WHEN t.state IN ('confirmed', 'failed') THEN NULL ELSE e.request END, in_doubt = e.in_doubt OR t.doubt
FROM unnest($1::uuid[], $2::uuid[], $3::text[], $4::jsonb[], $5::text[], $7::boolean[]) AS t (practice_id, effect_key, state, result, code, doubt)
WHERE e.practice_id = t.practice_id AND e.effect_key = t.effect_key
"""
_DONE = "DELETE FROM effect_due d USING unnest($1::uuid[], $2::uuid[]) AS t (p, k) WHERE d.practice_id = t.p AND d.effect_key = t.k"
_CLAIM = """
UPDATE effect_due d SET due_at = $1 FROM (
  SELECT practice_id, effect_key FROM effect_due
  WHERE due_at <= $2 AND practice_id <> ALL (ARRAY(SELECT practice_id FROM access_practice WHERE suspended)) ORDER BY due_at LIMIT $3 FOR UPDATE SKIP LOCKED
) c WHERE d.practice_id = c.practice_id AND d.effect_key = c.effect_key RETURNING d.practice_id, d.effect_key
"""
_STATES = "SELECT e.* FROM unnest($1::uuid[], $2::uuid[]) AS t (practice_id, effect_key) JOIN effect e USING (practice_id, effect_key)"
_REPLAN = "UPDATE effect SET state = 'planned' WHERE practice_id = $1 AND effect_key = $2 AND state = 'unknown'"
FINAL = frozenset({EffectState.CONFIRMED, EffectState.FAILED})


@dataclass(frozen=True)
class Key:
    """Which effect. ``action`` says in which lane it is performed; it is no part of the key."""

    practice_id: UUID
    effect_key: UUID
    action: str = field(default="", compare=False)


@dataclass(frozen=True)
class Finished:
    """What one try of an effect came to."""

    key: Key
    answer: Answer


def columns(keys: Sequence[Key]) -> tuple[list[UUID], list[UUID]]:
    return [key.practice_id for key in keys], [key.effect_key for key in keys]


def key_of(row: Any) -> Key:
    return Key(row["practice_id"], row["effect_key"], row.get("action", ""))


async def plan(events: Sequence[Received[Any]], leaving: Sequence[bool], tx: Tx) -> set[Key]:
    """Write down what is asked for; returns what was not known before: each effect key is new once."""
    rows = await tx.rows(
        _NEW, [e.practice_id for e in events], [e.data.effect_key for e in events], [e.data.action for e in events],
        [e.data.run_id for e in events], [e.data.step_id for e in events],
        [e.data.model_dump_json() if leaves else None for e, leaves in zip(events, leaving, strict=True)],
        [e.correlation_id for e in events], [str(e.id) for e in events], [e.cause.traceparent for e in events], tx.now,
    )  # fmt: skip
    return {key_of(row) for row in rows}


async def await_dispatch(keys: Sequence[Key], tx: Tx) -> None:
    await tx.execute(_DUE, *columns(keys), tx.now + timedelta(seconds=LEASE_SECONDS))


async def mark(keys: Sequence[Key], tx: Tx) -> list[Any]:
    """Claim planned effects for this process; those of suspended practices stay. After the commit they may have happened."""
    rows = await tx.rows(_MARK, *columns(keys), tx.now)
    await postpone([key_of(row) for row in rows], [LEASE_SECONDS] * len(rows), tx)
    return rows


async def postpone(keys: Sequence[Key], seconds: Sequence[float], tx: Tx) -> None:
    if keys:
        await tx.execute(_POSTPONE, *columns(keys), [tx.now + timedelta(seconds=pause) for pause in seconds])


async def lock(keys: Sequence[Key], tx: Tx) -> list[Any]:
    """The open ones among these, held until the end of the transaction, in the order of their keys."""
    return await tx.rows(_LOCK, *columns(keys))


async def settle(keys: Sequence[Key], states: Sequence[EffectState], answers: Sequence[Answer], tx: Tx) -> None:
    doubts = [answer.attempt is Attempt.REPEATABLE for answer in answers]
    results, codes = [json_text(answer.result) for answer in answers], [answer.code for answer in answers]
    await tx.execute(_SETTLE, *columns(keys), states, results, codes, tx.now, doubts)


async def leave_alone(keys: Sequence[Key], tx: Tx) -> None:
    """Nobody has to look after these any more."""
    if keys:
        await tx.execute(_DONE, *columns(keys))


async def is_awaited(key: Key, tx: Tx) -> bool:
    """Whether somebody still looks after it."""
    return bool(await tx.value("SELECT true FROM effect_due WHERE practice_id = $1 AND effect_key = $2", key.practice_id, key.effect_key))


async def claim_due(tx: Tx) -> list[Key]:
    """What nobody finished in time, or is due for its next step; this process has a lease to bring it on."""
    return [key_of(row) for row in await tx.rows(_CLAIM, tx.now + timedelta(seconds=LEASE_SECONDS), tx.now, CLAIM)]


async def read(keys: Sequence[Key], tx: Tx) -> list[Any]:
    return await tx.rows(_STATES, *columns(keys))


async def replan(key: Key, tx: Tx) -> None:
    """What provably did not happen is planned again."""
    await tx.execute(_REPLAN, key.practice_id, key.effect_key)
