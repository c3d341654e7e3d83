"""Answer: who the caller is and what they may."""

from __future__ import annotations

from uuid import UUID

from pydantic import BaseModel

from libs.common.work import Tx
from services.practices.commands.practices import PracticeView
from services.practices.commands.users import UserView
from services.practices.queries import member_by_id, practice_by_id


class Me(BaseModel):
    """The caller as we know them. ``user`` is null for an API key, ``practice`` for a Vantage admin outside every practice.

    ``entry_id``: the entry a Vantage admin acts through.
    """

    role: str | None
    permissions: list[str]
    practice: PracticeView | None
    user: UserView | None
    key_id: UUID | None
    entry_id: UUID | None


async def who_am_i(tx: Tx) -> Me:
    who = tx.principal
    practice = await practice_by_id(who.practice_id, tx) if who.practice_id is not None else None
    outside = who.kind != "user" or who.entry_id is not None
    member = None if outside else await member_by_id(UUID(who.id), tx)
    return Me(
        role=who.role,
        permissions=sorted(who.permissions),
        practice=PracticeView.of(practice) if practice else None,
        user=UserView.of(member) if member else None,
        key_id=UUID(who.id) if who.kind == "key" else None,
        entry_id=who.entry_id,
    )
