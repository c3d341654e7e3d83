"""Named selects over practices, members, invitations, keys and entries."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

import asyncpg
from sqlalchemy import func, select, tuple_

from libs.common.work import Tx
from libs.contracts.permissions import Role
from services.practices.model import ApiKey, DirectoryEntry, Entry, Invitation, Member, Practice, Status

Position = tuple[str, ...] | None


async def practice_by_id(practice_id: UUID, tx: Tx) -> Practice | None:
    return await tx.session.get(Practice, practice_id)


async def practice_for_change(practice_id: UUID, tx: Tx) -> Practice | None:
    """The row is locked: changes of a practice and of who runs it come one after another."""
    return await tx.session.get(Practice, practice_id, with_for_update=True)


async def directory_entry(practice_id: UUID, tx: Tx) -> DirectoryEntry | None:
    return await tx.session.get(DirectoryEntry, practice_id)


async def practices_listed(tx: Tx, *, after: Position, limit: int) -> list[DirectoryEntry]:
    """Oldest first; one more than ``limit`` when there is more."""
    query = select(DirectoryEntry).order_by(DirectoryEntry.created_at, DirectoryEntry.practice_id).limit(limit + 1)
    if after is not None:
        position = tuple_(DirectoryEntry.created_at, DirectoryEntry.practice_id)
        query = query.where(position > (datetime.fromisoformat(after[0]), UUID(after[1])))
    return list((await tx.session.execute(query)).scalars())


async def members(tx: Tx, *, after: Position, limit: int) -> list[Member]:
    """Who works or worked here, by e-mail; one more than ``limit`` when there is more."""
    shown = Member.status.in_([Status.ACTIVE, Status.DEACTIVATED])
    query = select(Member).where(Member.practice_id == tx.practice_id, shown).order_by(Member.email).limit(limit + 1)
    if after is not None:
        query = query.where(Member.email > after[0])
    return list((await tx.session.execute(query)).scalars())


async def member_by_id(user_id: UUID, tx: Tx) -> Member | None:
    return await tx.session.get(Member, (tx.practice_id, user_id))


async def member_for_change(user_id: UUID, tx: Tx) -> Member | None:
    """The row is locked."""
    return await tx.session.get(Member, (tx.practice_id, user_id), with_for_update=True)


async def member_with_email(email: str, tx: Tx) -> Member | None:
    query = select(Member).where(Member.practice_id == tx.practice_id, Member.email == email).with_for_update()
    return (await tx.session.execute(query)).scalar_one_or_none()


async def active_admins(tx: Tx) -> int:
    """How many there are; the practice row is locked, so that two changes cannot both take the last one away."""
    await tx.session.execute(select(Practice.practice_id).where(Practice.practice_id == tx.practice_id).with_for_update())
    admins = Member.status == Status.ACTIVE, Member.role == Role.PRACTICE_ADMIN
    query = select(func.count()).where(Member.practice_id == tx.practice_id, *admins)
    return (await tx.session.execute(query)).scalar_one()


async def homes_of(identity: str, tx: Tx) -> list[tuple[UUID, UUID]]:
    """Practice and user of an identity, in every practice, the one they chose last first. Of the platform: ids only."""
    rows = await tx.rows(
        "SELECT practice_id, user_id FROM identity WHERE identity = $1 ORDER BY chosen_at DESC NULLS LAST, practice_id", identity
    )
    return [(row["practice_id"], row["user_id"]) for row in rows]


async def names_of(practice_ids: list[UUID], tx: Tx) -> dict[UUID, str]:
    """Names of practices, as the directory has them."""
    rows = await tx.rows("SELECT practice_id, name FROM directory WHERE practice_id = ANY($1::uuid[])", practice_ids)
    return {row["practice_id"]: row["name"] for row in rows}


async def invitation_of(user_id: UUID, tx: Tx) -> Invitation | None:
    return await tx.session.get(Invitation, (tx.practice_id, user_id))


async def invitations_listed(tx: Tx, *, after: Position, limit: int) -> list[tuple[Member, Invitation]]:
    """Open and ended ones that were not accepted, newest first; one more than ``limit`` when there is more."""
    query = (
        select(Member, Invitation)
        .join(Invitation, (Invitation.practice_id == Member.practice_id) & (Invitation.user_id == Member.id))
        .where(Member.practice_id == tx.practice_id, Member.status.in_([Status.INVITED, Status.REVOKED]))
        .order_by(Invitation.asked_at.desc(), Invitation.user_id.desc())
        .limit(limit + 1)
    )
    if after is not None:
        query = query.where(tuple_(Invitation.asked_at, Invitation.user_id) < (datetime.fromisoformat(after[0]), UUID(after[1])))
    return [(member, invitation) for member, invitation in (await tx.session.execute(query)).all()]


async def key_by_id(key_id: UUID, tx: Tx) -> ApiKey | None:
    """The row is locked."""
    return await tx.session.get(ApiKey, (tx.practice_id, key_id), with_for_update=True)


async def keys_listed(tx: Tx, *, after: Position, limit: int) -> list[ApiKey]:
    """Newest first, ended ones too; one more than ``limit`` when there is more."""
    query = select(ApiKey).where(ApiKey.practice_id == tx.practice_id).order_by(ApiKey.created_at.desc(), ApiKey.id.desc()).limit(limit + 1)
    if after is not None:
        query = query.where(tuple_(ApiKey.created_at, ApiKey.id) < (datetime.fromisoformat(after[0]), UUID(after[1])))
    return list((await tx.session.execute(query)).scalars())


async def whose_key(public_id: str, tx: Tx) -> asyncpg.Record | None:
    """Practice and id of a key, in every practice. Of the platform: ids only."""
    return await tx.row("SELECT practice_id, key_id FROM api_key_directory WHERE public_id = $1", public_id)


async def entries_listed(tx: Tx, *, after: Position, limit: int) -> list[Entry]:
    """Newest first; one more than ``limit`` when there is more."""
    query = select(Entry).where(Entry.practice_id == tx.practice_id).order_by(Entry.opened_at.desc(), Entry.id.desc()).limit(limit + 1)
    if after is not None:
        query = query.where(tuple_(Entry.opened_at, Entry.id) < (datetime.fromisoformat(after[0]), UUID(after[1])))
    return list((await tx.session.execute(query)).scalars())


async def entry_by_id(entry_id: UUID, tx: Tx) -> Entry | None:
    """The row is locked."""
    return await tx.session.get(Entry, (tx.practice_id, entry_id), with_for_update=True)
