"""Repair what got lost between the identity provider and us: compare every person, follow the provider, ask again who is due."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Protocol

from libs.common.auth import Principal
from libs.common.work import Work
from services.practices.commands.identity import SYSTEM, follow
from services.practices.rules.provider import PersonThere

_KNOWN = "SELECT DISTINCT identity FROM identity ORDER BY identity"
_LOST = """
SELECT m.practice_id, m.id FROM member m LEFT JOIN invitation_due d ON d.practice_id = m.practice_id AND d.user_id = m.id
WHERE m.practice_id = $1 AND m.status = 'invited' AND m.subject IS NULL AND d.user_id IS NULL
"""
_DUE = "INSERT INTO invitation_due (practice_id, user_id, due_at) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING"


class Provider(Protocol):
    """The identity provider's admin side. Raises ``ProviderUnreachable`` when it cannot be asked."""

    def people(self) -> AsyncIterator[PersonThere]: ...

    async def person(self, identity: str) -> PersonThere | None: ...


@dataclass(frozen=True)
class Drift:
    """Something that differed and was repaired: no names, no addresses."""

    identity: str
    what: str


async def reconcile(work: Work, provider: Provider) -> list[Drift]:
    """Compare and repair; returns what differed. Safe to repeat and to be cut off anywhere. Raises ``ProviderUnreachable``."""
    async with work.batch([], SYSTEM) as tx:
        known = {row["identity"] for row in await tx.rows(_KNOWN)}
    drifts = []
    seen = set()
    async for person in provider.people():
        if person.id in known:
            seen.add(person.id)
            drifts += await _bring(person, "differed", work)
    for identity in sorted(known - seen):
        # Asked by itself: a person made while the pages were read may be on none of them.
        found = await provider.person(identity)
        if found is None:
            drifts += await _bring(PersonThere.model_validate({"id": identity, "updated_at": work.now(), "gone": True}), "gone there", work)
        else:
            drifts += await _bring(found, "differed", work)
    return drifts + await _ask_again(work)


async def _bring(person: PersonThere, what: str, work: Work) -> list[Drift]:
    async with work.batch([], SYSTEM) as tx:
        return [Drift(person.id, what)] if await follow(person, tx) else []


async def _ask_again(work: Work) -> list[Drift]:
    """Invitations nobody would ever send: no identity, and not due."""
    async with work.batch([], SYSTEM) as tx:
        practices = [row["practice_id"] for row in await tx.rows("SELECT practice_id FROM directory")]
    drifts = []
    for practice_id in practices:
        async with work(Principal.system("reconcile", practice_id)) as tx:
            for row in await tx.rows(_LOST, practice_id):
                await tx.execute(_DUE, row["practice_id"], row["id"], tx.now)
                drifts.append(Drift(str(row["id"]), "invitation lost"))
    return drifts
