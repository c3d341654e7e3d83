"""Recovery: what was planned and forgotten, dispatched and orphaned, or unknown and due for a look-up.

The one resend there is: an effect whose outcome was unknown, which rested until the provider's own records are
complete, and which those records provably do not hold.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from datetime import timedelta
from typing import Any, Protocol
from uuid import UUID

from libs.common.auth import Principal
from libs.common.logging import get_logger
from libs.common.secrets import SecretBox
from libs.common.work import Work
from services.notifications.commands.dispatch import Finished, record
from services.notifications.commands.plan import LEASE_SECONDS, Planned
from services.notifications.commands.settings import PURPOSE
from services.notifications.rules import Attempt, EffectState, ProviderAnswer

log = get_logger()

CLAIM = 100
LOOKUP_RETRY_SECONDS = 300.0
_CLAIM = """
UPDATE effect_due d SET due_at = $1 FROM (
  SELECT practice_id, effect_key FROM effect_due
  WHERE due_at <= $2 AND practice_id <> ALL (ARRAY(SELECT practice_id FROM access_practice WHERE suspended)) ORDER BY due_at LIMIT $3 FOR UPDATE SKIP LOCKED
) c WHERE d.practice_id = c.practice_id AND d.effect_key = c.effect_key RETURNING d.practice_id, d.effect_key
"""
_STATES = """
SELECT e.practice_id, e.effect_key, e.state, s.api_key FROM unnest($1::uuid[], $2::uuid[]) AS t (practice_id, effect_key)
JOIN effect e USING (practice_id, effect_key) LEFT JOIN email_settings s ON s.practice_id = e.practice_id
"""
_REPLAN = "UPDATE effect SET state = 'planned' WHERE practice_id = $1 AND effect_key = $2 AND state = 'unknown'"
_LATER = "UPDATE effect_due SET due_at = $3 WHERE practice_id = $1 AND effect_key = $2"


class Finder(Protocol):
    """Looks an e-mail up at the provider; raises when the provider cannot say."""

    async def find(self, api_key: str, effect_key: UUID) -> str | None: ...


async def recover_due(
    work: Work, finder: Finder, box: SecretBox, take: Callable[[Iterable[Planned]], None], lookup_after_seconds: float
) -> int:
    """Bring everything on whose time has come; returns how many."""
    system = Principal.system("recovery")
    async with work.batch([], system) as tx:
        claimed = await tx.rows(_CLAIM, tx.now + timedelta(seconds=LEASE_SECONDS), tx.now, CLAIM)
    if not claimed:
        return 0
    practices, keys = [row["practice_id"] for row in claimed], [row["effect_key"] for row in claimed]
    async with work.batch(set(practices), system) as tx:
        effects = await tx.rows(_STATES, practices, keys)
    take([Planned(e["practice_id"], e["effect_key"]) for e in effects if e["state"] == EffectState.PLANNED])
    orphaned = ProviderAnswer(Attempt.LOST, code="process_died")
    lost = [Finished(e["practice_id"], e["effect_key"], orphaned) for e in effects if e["state"] == EffectState.DISPATCHED]
    if lost:
        await record(lost, work, lookup_after_seconds, 0.0)
    unknown = [e for e in effects if e["state"] == EffectState.UNKNOWN]
    await asyncio.gather(*(_look_up(effect, work, finder, box, take, lookup_after_seconds) for effect in unknown))
    return len(claimed)


async def _look_up(
    effect: Any, work: Work, finder: Finder, box: SecretBox, take: Callable[[Iterable[Planned]], None], lookup_after_seconds: float
) -> None:
    practice_id, effect_key = effect["practice_id"], effect["effect_key"]
    try:
        if effect["api_key"] is None:
            raise LookupError
        found = await finder.find(box.open(practice_id, PURPOSE, effect["api_key"]), effect_key)
    except Exception as error:  # the provider cannot say: it stays unknown, visible, and is asked again later
        log.info("lookup.failed", effect_key=str(effect_key), exc_info=error)
        async with work(Principal.system("recovery", practice_id)) as tx:
            await tx.execute(_LATER, practice_id, effect_key, tx.now + timedelta(seconds=LOOKUP_RETRY_SECONDS))
        return
    if found is not None:
        confirmed = ProviderAnswer(Attempt.ACCEPTED, provider_message_id=found)
        await record([Finished(practice_id, effect_key, confirmed)], work, lookup_after_seconds, 0.0)
        return
    async with work(Principal.system("recovery", practice_id)) as tx:
        await tx.execute(_REPLAN, practice_id, effect_key)
    take([Planned(practice_id, effect_key)])
