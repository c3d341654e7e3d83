"""Who the caller is, what they may, and in which of their practices they work."""

from __future__ import annotations

from uuid import UUID

from pydantic import BaseModel

from libs.common.command import Command
from libs.common.work import Tx
from services.practices.commands.practices import PracticeNotFound, PracticeView
from services.practices.commands.users import UserView
from services.practices.model import Member
from services.practices.queries import homes_of, member_by_id, names_of, practice_by_id


class OwnPractice(BaseModel):
    """A practice the caller was invited to or works in."""

    id: UUID
    name: str


class Me(BaseModel):
    """The caller as we know them. ``practices``: all they belong to; ``PUT /v1/me/practice`` chooses among them.
    ``user`` is null for an API key, ``practice`` for a Vantage admin outside every practice.

    ``entry_id``: the entry a Vantage admin acts through.
    """

    role: str | None
    permissions: list[str]
    practice: PracticeView | None
    user: UserView | None
    key_id: UUID | None
    entry_id: UUID | None
    practices: list[OwnPractice]


class ChoosePractice(Command):
    practice_id: UUID


async def choose_practice(cmd: ChoosePractice, tx: Tx) -> None:
    """From the next token on the caller works there. Raises ``PracticeNotFound`` for any practice that is not theirs."""
    member = await member_by_id(UUID(tx.principal.id), tx) if tx.principal.kind == "user" else None
    chosen = "UPDATE identity SET chosen_at = $3 WHERE identity = $1 AND practice_id = $2"
    if member is None or await tx.execute(chosen, member.subject, cmd.practice_id, tx.now) != "UPDATE 1":
        raise PracticeNotFound


async def _own(member: Member | None, tx: Tx) -> list[OwnPractice]:
    if member is None or member.subject is None:
        return []
    names = await names_of([practice_id for practice_id, _ in await homes_of(member.subject, tx)], tx)
    return [OwnPractice(id=practice_id, name=name) for practice_id, name in sorted(names.items(), key=lambda item: item[1])]


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
        practices=await _own(member, tx),
    )
