"""Say who may act, to every service and to our own door, in the transaction that changes it."""

from __future__ import annotations

from libs.common.access import take_access
from libs.common.work import Tx
from libs.contracts.access import EntryChanged, MemberAccessChanged, PracticeAccessChanged
from libs.contracts.permissions import Role
from services.practices.model import Entry, Member, Practice


async def tell_member(member: Member, tx: Tx) -> None:
    """Nothing to say of somebody the identity provider does not know yet."""
    if member.subject is None:
        return
    event = MemberAccessChanged(
        user_id=member.id, identity=member.subject, role=Role(member.role), active=member.active, version=member.version
    )
    tx.emit(event, practice_id=member.practice_id)
    await take_access([(member.practice_id, event)], tx)


async def tell_practice(practice: Practice, tx: Tx) -> None:
    event = PracticeAccessChanged(
        changed_practice_id=practice.practice_id, suspended=practice.suspended, origins=practice.origins, version=practice.version
    )
    tx.emit(event, practice_id=practice.practice_id)
    await take_access([(practice.practice_id, event)], tx)


async def tell_entry(entry: Entry, tx: Tx) -> None:
    event = EntryChanged(
        entry_id=entry.id,
        user_id=entry.user_id,
        identity=entry.identity,
        reason=entry.reason,
        expires_at=entry.expires_at,
        version=entry.version,
    )
    tx.emit(event, practice_id=entry.practice_id)
    await take_access([(entry.practice_id, event)], tx)
