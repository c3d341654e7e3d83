"""Named selects over practices and members."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from sqlalchemy import func, or_, select, tuple_

from libs.common.work import Tx
from libs.contracts.practices import UserRole
from services.practices.model import DirectoryEntry, Member, Practice


async def practice_by_id(practice_id: UUID, tx: Tx) -> Practice | None:
    return await tx.session.get(Practice, practice_id)


async def practices_listed(tx: Tx, *, after: tuple[str, ...] | None, limit: int) -> list[DirectoryEntry]:
    """Oldest first; one more than ``limit`` when there is more."""
    query = select(DirectoryEntry).order_by(DirectoryEntry.created_at, DirectoryEntry.practice_id).limit(limit + 1)
    if after is not None:
        position = tuple_(DirectoryEntry.created_at, DirectoryEntry.practice_id)
        query = query.where(position > (datetime.fromisoformat(after[0]), UUID(after[1])))
    return list((await tx.session.execute(query)).scalars())


async def members(tx: Tx, *, after: tuple[str, ...] | None, limit: int) -> list[Member]:
    """By e-mail; one more than ``limit`` when there is more."""
    query = select(Member).where(Member.practice_id == tx.practice_id).order_by(Member.email).limit(limit + 1)
    if after is not None:
        query = query.where(Member.email > after[0])
    return list((await tx.session.execute(query)).scalars())


async def member_by_id(user_id: UUID, tx: Tx) -> Member | None:
    """For a change: the row is locked."""
    query = select(Member).where(Member.practice_id == tx.practice_id, Member.id == user_id).with_for_update()
    return (await tx.session.execute(query)).scalar_one_or_none()


async def member_of_subject(subject: str, tx: Tx) -> Member | None:
    """The member behind a token: by the identity provider's id, or by our own where they are the same."""
    own = UUID(subject) if _is_uuid(subject) else None
    same = or_(Member.subject == subject, Member.id == own) if own else Member.subject == subject
    return (await tx.session.execute(select(Member).where(Member.practice_id == tx.practice_id, same))).scalars().first()


async def email_taken(email: str, tx: Tx) -> bool:
    query = select(Member.id).where(Member.practice_id == tx.practice_id, Member.email == email)
    return (await tx.session.execute(query)).first() is not None


async def active_admins(tx: Tx) -> int:
    """How many there are; the practice row is locked, so that two changes cannot both take the last one away."""
    await tx.session.execute(select(Practice.practice_id).where(Practice.practice_id == tx.practice_id).with_for_update())
    query = select(func.count()).where(Member.practice_id == tx.practice_id, Member.active, Member.role == UserRole.PRACTICE_ADMIN)
    return (await tx.session.execute(query)).scalar_one()


def _is_uuid(text: str) -> bool:
    try:
        UUID(text)
    except ValueError:
        return False
    return True
