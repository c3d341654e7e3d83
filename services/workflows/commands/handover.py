"""Hand what happens over to runs of the durable engine, and call them to look at it.

The consumer's transaction writes the input and the call; it applies nothing. Temporal is told after the commit, by a duty
that also tells it what it has not answered for a while: dying anywhere in between delays a run and loses nothing. A call
stands until the run's own transaction has taken everything up (``commands.durable``).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict
from datetime import timedelta
from typing import Any, Protocol, get_args
from uuid import UUID

from libs.common.auth import Principal
from libs.common.telemetry import Cause
from libs.common.work import Tx, Work, json_text
from services.workflows.commands.happening import Happening
from services.workflows.queries.durable import calls
from services.workflows.queries.world import Key
from services.workflows.rules.runs.orchestration import BULK_BOUND, LIVE_BOUND, Called
from services.workflows.rules.runs.states import Input, Started

HAPPENED = "happened"
"""The kind of an input that is an event, still to be judged."""
OVERDUE = 50
"""Timers nobody rang that are called at once, of each practice."""
BOUNDS = {False: LIVE_BOUND, True: BULK_BOUND}
ANSWERED_WITHIN = timedelta(minutes=1)
TOLD_AGAIN_WITHIN = timedelta(hours=1)
SYSTEM = Principal.system("durable")

_KINDS: dict[str, Any] = {kind.__name__: kind for kind in get_args(Input)}
_INPUTS = """
INSERT INTO run_input (practice_id, run_id, kind, input, cause, at)
SELECT p, r, k, i, c, $6 FROM unnest($1::uuid[], $2::uuid[], $3::text[], $4::jsonb[], $5::jsonb[]) WITH ORDINALITY AS t (p, r, k, i, c, place) ORDER BY place
"""
_CALL = """
INSERT INTO run_call (practice_id, run_id, bulk, called_at, tell_at)
SELECT r.practice_id, r.id, r.bulk, $3, $3 FROM run r
  JOIN unnest($1::uuid[], $2::uuid[]) AS t (practice_id, id) USING (practice_id, id) ORDER BY r.practice_id, r.id
ON CONFLICT (practice_id, run_id) DO UPDATE SET number = excluded.number, asked_at = NULL, asked = 0,
  tell_at = CASE WHEN run_call.asked = 0 THEN run_call.tell_at ELSE excluded.tell_at END
"""
"""Who waits to be told keeps its place."""
_BEGIN = "UPDATE run r SET engine = 'temporal' FROM unnest($1::uuid[], $2::uuid[]) AS t (p, i) WHERE r.practice_id = t.p AND r.id = t.i"
_ASKED = """
UPDATE run_call c SET asked_at = $4, asked_first = coalesce(asked_first, $4), asked = asked + 1,
  tell_at = $4::timestamptz + least($5::interval * power(2, least(asked, 10)), $6::interval)
FROM unnest($1::uuid[], $2::uuid[], $3::bigint[]) AS t (p, r, n)
WHERE c.practice_id = t.p AND c.run_id = t.r AND c.number = t.n
"""
"""Each time it is told, twice as long passes before it is told again."""
_TO_THE_BACK = """
UPDATE run_call c SET tell_at = $4, number = DEFAULT, asked_first = coalesce(asked_first, $5) FROM unnest($1::uuid[], $2::uuid[], $3::bigint[]) AS t (p, r, n)
WHERE c.practice_id = t.p AND c.run_id = t.r AND c.number = t.n
"""
"""Who could not be told comes after all that wait in its practice, and when others could be a minute later: it counts as told, and is seen to stand still."""
_OVERDUE = """
INSERT INTO run_call (practice_id, run_id, bulk, called_at, tell_at)
WITH RECURSIVE practice AS (
  (SELECT practice_id, due_at FROM durable_timer WHERE NOT held ORDER BY practice_id, due_at LIMIT 1)
  UNION ALL
  SELECT n.practice_id, n.due_at FROM practice p, LATERAL (
    SELECT practice_id, due_at FROM durable_timer WHERE NOT held AND practice_id > p.practice_id ORDER BY practice_id, due_at LIMIT 1) n
) SELECT t.practice_id, t.run_id, false, $3, $3 FROM practice p, LATERAL (
  SELECT practice_id, run_id FROM durable_timer d WHERE d.practice_id = p.practice_id AND d.due_at < $1 AND NOT d.held
    AND NOT EXISTS (SELECT FROM run_call c WHERE c.practice_id = d.practice_id AND c.run_id = d.run_id) ORDER BY d.due_at LIMIT $2
) t WHERE p.due_at < $1 AND p.practice_id <> ALL (ARRAY(SELECT practice_id FROM access_practice WHERE suspended))
ON CONFLICT DO NOTHING
"""
"""Of each practice those due longest that are not called yet: many of one, or of one that is suspended, keep no other's from being found."""


class Orchestrator(Protocol):
    """Whoever keeps runs going."""

    async def look(self, called: list[Called]) -> list[Called]:
        """Tell these runs to look; returns those that were told. Telling twice is harmless; one that cannot be told keeps no other from it."""


async def hand_over(inputs: list[tuple[Key, Input, Cause]], tx: Tx) -> None:
    """Keep inputs for their runs, in this order, behind what waits there already."""
    await keep(inputs, tx)
    await call({key for key, *_ in inputs}, tx)


async def keep(inputs: list[tuple[Key, Input, Cause]], tx: Tx) -> None:
    """The same, and nobody is called."""
    await _keep([(key, type(event).__name__, json_text(asdict(event)), json_text(asdict(cause))) for key, event, cause in inputs], tx)


async def begin(runs: list[tuple[Key, Cause]], tx: Tx) -> None:
    """These runs, which are new, belong to the durable engine and have not begun yet."""
    await tx.execute(_BEGIN, [key[0] for key, _ in runs], [key[1] for key, _ in runs])
    await hand_over([(key, Started(), cause) for key, cause in runs], tx)


async def hand_over_events(events: list[tuple[Key, Happening]], tx: Tx) -> None:
    """Keep events for their runs, which judge them when they come to them."""
    await keep_events(events, tx)
    await call({key for key, _ in events}, tx)


async def keep_events(events: list[tuple[Key, Happening]], tx: Tx) -> None:
    """The same, and nobody is called."""
    once = {(key, one.id): one for key, one in events}
    await _keep([(key, HAPPENED, json_text({"event_id": one.id}), json_text(asdict(one.cause))) for (key, _), one in once.items()], tx)


async def _keep(kept: list[tuple[Key, str, str, str]], tx: Tx) -> None:
    await tx.execute(
        _INPUTS, [key[0] for key, *_ in kept], [key[1] for key, *_ in kept], [kind for _, kind, _, _ in kept],
        [text for _, _, text, _ in kept], [cause for *_, cause in kept], tx.now,
    )  # fmt: skip


async def call(keys: Iterable[Key], tx: Tx) -> None:
    """These runs have something to look at."""
    found = sorted(set(keys))
    await tx.execute(_CALL, [key[0] for key in found], [key[1] for key in found], tx.now)


def input_of(kind: str, fields: dict[str, Any]) -> Input:
    """An input as it was handed over."""
    made: Input = _KINDS[kind](**fields)
    return made


async def call_runs(work: Work, orchestrator: Orchestrator) -> int:
    """Tell the orchestrator whom to look at: who was called, who has not answered, whose timer nobody rang. Returns how many heard it.

    Practices take turns, and each has only so many out: a flood waits here. Runs of suspended practices are left alone until
    those are active again.
    """
    async with work.batch([], SYSTEM) as tx:
        await tx.execute(_OVERDUE, tx.now - ANSWERED_WITHIN, OVERDUE, tx.now)
        called = [one for bulk, bound in BOUNDS.items() for one in await calls(bulk, bound, ANSWERED_WITHIN, tx)]
    if not called:
        return 0
    told = await orchestrator.look(called)
    heard = set(told)
    refused = [one for one in called if one not in heard]
    async with work.batch([], SYSTEM) as tx:  # dying before it tells them once more
        await tx.execute(_ASKED, *_columns(told), tx.now, ANSWERED_WITHIN, TOLD_AGAIN_WITHIN)
        later, tried = (tx.now + ANSWERED_WITHIN, tx.now) if told else (tx.now, None)
        await tx.execute(_TO_THE_BACK, *_columns(refused), later, tried)
    return len(told)


def _columns(called: list[Called]) -> tuple[list[UUID], list[UUID], list[int]]:
    return [one.practice_id for one in called], [one.run_id for one in called], [one.number for one in called]
