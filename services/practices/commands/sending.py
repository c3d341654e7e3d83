"""Have the identity provider send invitations: claim, call, record.

Safe to repeat: an invitation sent twice is a second e-mail, no second user. If we die after the call and before the
record, the lease ends and it is sent again.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any, Protocol
from uuid import UUID

from libs.common.auth import Principal
from libs.common.work import Tx, Work
from services.practices.model import Status
from services.practices.queries import invitation_of, member_for_change
from services.practices.rules.provider import InviteAnswer

CLAIM = 20
LEASE_SECONDS = 60
PAUSE_FIRST_SECONDS = 2.0
PAUSE_LIMIT_SECONDS = 900.0
SYSTEM = Principal.system("invitations")
_CLAIM = """
UPDATE invitation_due d SET due_at = $1, attempts = attempts + 1 FROM (
  SELECT practice_id, user_id FROM invitation_due WHERE due_at <= $2 ORDER BY due_at LIMIT $3 FOR UPDATE SKIP LOCKED
) c WHERE d.practice_id = c.practice_id AND d.user_id = c.user_id RETURNING d.practice_id, d.user_id, d.attempts
"""
_PERSON = "SELECT name, email, status FROM member WHERE practice_id = $1 AND id = $2"
_LATER = "UPDATE invitation_due SET due_at = $3 WHERE practice_id = $1 AND user_id = $2"
_DONE = "DELETE FROM invitation_due WHERE practice_id = $1 AND user_id = $2"
_IDENTITY = "INSERT INTO identity (identity, practice_id, user_id) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING"


class Inviter(Protocol):
    """Asks the identity provider to invite an address. Never raises for what the network or the provider does."""

    async def invite(self, email: str, name: str) -> InviteAnswer: ...


async def send_due(work: Work, inviter: Inviter) -> int:
    """Send what is due; returns how many were tried."""
    async with work.batch([], SYSTEM) as tx:
        claimed = await tx.rows(_CLAIM, tx.now + timedelta(seconds=LEASE_SECONDS), tx.now, CLAIM)
    for row in claimed:
        await _send(row, work, inviter)
    return len(claimed)


async def _send(row: Any, work: Work, inviter: Inviter) -> None:
    key = row["practice_id"], row["user_id"]
    async with work.batch([key[0]], SYSTEM) as tx:
        person = await tx.row(_PERSON, *key)
    answer = InviteAnswer(None)
    if person is not None and person["status"] == Status.INVITED:
        answer = await inviter.invite(person["email"], person["name"])
    async with work.batch([key[0]], SYSTEM) as tx:
        tx.settle(key[0])
        await _record(key, answer, row["attempts"], tx)


async def _record(key: tuple[UUID, UUID], answer: InviteAnswer, attempts: int, tx: Tx) -> None:
    invitation = await invitation_of(key[1], tx)
    if invitation is not None:
        invitation.problem = answer.problem
    if answer.problem is not None:
        pause = min(PAUSE_FIRST_SECONDS * 2**attempts, PAUSE_LIMIT_SECONDS)
        await tx.execute(_LATER, *key, tx.now + timedelta(seconds=pause))
        return
    await tx.execute(_DONE, *key)
    if answer.identity is None or invitation is None:
        return
    invitation.sent_at, invitation.sent_count = tx.now, invitation.sent_count + 1
    await known_as(key, answer.identity, tx)


async def known_as(key: tuple[UUID, UUID], identity: str, tx: Tx) -> None:
    """From here on a log-in of this person finds the practice."""
    member = await member_for_change(key[1], tx)
    assert member is not None
    member.subject = identity
    await tx.session.flush()
    await tx.execute(_IDENTITY, identity, *key)
