"""Follow the identity provider: what a token may say when it is issued, and what changed about a person there."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from uuid import UUID

from libs.common.auth import Principal
from libs.common.clock import monotonic
from libs.common.logging import get_logger
from libs.common.work import Tx, Work
from libs.contracts.envelope import PLATFORM
from libs.contracts.permissions import Role
from libs.contracts.practices import UserAdded, UserChanged, UserDeactivated, UserReactivated
from services.practices.commands.access import tell_member
from services.practices.model import Member, Status
from services.practices.queries import homes_of, invitation_of, member_for_change, member_with_email, practice_by_id
from services.practices.rules.provider import PersonThere

log = get_logger()

SYSTEM = Principal.platform("supabase")
BY_PROVIDER = "provider"
SOURCE = "supabase"
RECORDED_WITHIN = 1.0
LOOK_AGAIN_SECONDS = 0.05


@dataclass(frozen=True)
class TokenAnswer:
    """What a token may say: the practice (None for a Vantage admin), or why there is none to be had."""

    practice_id: UUID | None = None
    refusal: str | None = None


async def token_for(identity: str, wanted: UUID | None, work: Work) -> TokenAnswer:
    """Whether somebody may have a token, and for which practice: ``wanted`` if they belong there, else their first.

    Who was invited and comes in time has accepted by coming. Repeatable: the provider asks again when an answer is lost.
    """
    await _recorded(identity, work)
    async with work.batch([], SYSTEM) as tx:
        homes = await homes_of(identity, tx)
        await tx.enter({practice_id for practice_id, _ in homes})
        refusal = "You have no access to any practice."
        for practice_id, user_id in sorted(homes, key=lambda home: home[0] != wanted):
            tx.settle(practice_id)
            found = await _admit(user_id, tx)
            if found is None:
                return TokenAnswer(None if practice_id == PLATFORM else practice_id)
            refusal = found
    return TokenAnswer(refusal=refusal)


async def _recorded(identity: str, work: Work) -> None:
    """An invitation is in the mail a moment before the provider's answer, which names the identity, is written down here.

    Who follows the link within that moment is waited for, up to ``RECORDED_WITHIN`` seconds.
    """
    deadline = monotonic() + RECORDED_WITHIN
    while monotonic() < deadline:
        async with work.batch([], SYSTEM) as tx:
            if await homes_of(identity, tx):
                return
        await asyncio.sleep(LOOK_AGAIN_SECONDS)


async def _admit(user_id: UUID, tx: Tx) -> str | None:
    """None when they may come in, else why not."""
    member = await member_for_change(user_id, tx)
    practice = await practice_by_id(tx.practice_id, tx)
    if member is None or practice is None or member.status == Status.DEACTIVATED:
        return "Your access has ended."
    if member.status == Status.REVOKED:
        return "Your invitation was withdrawn."
    if practice.suspended:
        return "Your practice is suspended."
    if member.status == Status.INVITED:
        invitation = await invitation_of(user_id, tx)
        if invitation is None or invitation.expires_at <= tx.now:
            return "Your invitation has expired. Ask for a new one."
        member.status, member.version = Status.ACTIVE, member.version + 1
        tx.emit(UserAdded(user_id=member.id, role=Role(member.role), name=member.name, email=member.email))
        await tell_member(member, tx)
    return None


async def take_change(delivery: str, person: PersonThere, work: Work) -> int:
    """One signed report of a change; returns how many members it changed. Twice, late or out of order: the newest state counts."""
    async with work.batch([], SYSTEM) as tx:
        if not await tx.once(SOURCE, delivery):
            return 0
        return await follow(person, tx)


async def follow(person: PersonThere, tx: Tx) -> int:
    """Bring the members behind an identity to what the provider knows; returns how many changed."""
    homes = await homes_of(person.id, tx)
    await tx.enter({practice_id for practice_id, _ in homes})
    changed = 0
    for practice_id, user_id in homes:
        tx.settle(practice_id)
        member = await member_for_change(user_id, tx)
        if member is not None and (member.provider_at is None or person.changed_at >= member.provider_at):
            member.provider_at = person.changed_at
            changed += await _follow(member, person, tx)
    return changed


async def _follow(member: Member, person: PersonThere, tx: Tx) -> bool:
    before = member.version
    if person.email and person.email != member.email and not person.gone:
        await _move(member, person.email, tx)
    ended = person.gone or person.banned_at(tx.now)
    if ended and member.status == Status.ACTIVE:
        member.status, member.ended_by, member.version = Status.DEACTIVATED, BY_PROVIDER, member.version + 1
        tx.emit(UserDeactivated(user_id=member.id))
    elif not ended and member.status == Status.DEACTIVATED and member.ended_by == BY_PROVIDER:
        member.status, member.ended_by, member.version = Status.ACTIVE, None, member.version + 1
        tx.emit(UserReactivated(user_id=member.id))
    if member.version != before:
        await tell_member(member, tx)
    return member.version != before


async def _move(member: Member, email: str, tx: Tx) -> None:
    """Another address; where somebody of the practice has it already, ours stays, and the reconciliation shows it."""
    if await member_with_email(email, tx) is not None:
        log.warning("identity.address_taken", user_id=str(member.id))
        return
    member.email, member.version = email, member.version + 1
    tx.emit(UserChanged(user_id=member.id, name=member.name, email=email))
