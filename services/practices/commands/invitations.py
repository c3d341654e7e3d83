"""Do: ask somebody to join, ask again, take it back. The identity provider sends the e-mail (``sending``)."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Annotated, Literal, Self
from uuid import UUID

from pydantic import AfterValidator, BaseModel

from libs.common.command import Command, Line
from libs.common.errors import Conflict, NotFound
from libs.common.work import Tx
from libs.contracts.permissions import Role
from libs.contracts.practices import InvitationRevoked, UserInvited
from services.practices.model import Invitation, Member, Status
from services.practices.queries import invitation_of, member_for_change, member_with_email, practice_for_change
from services.practices.rules.people import normal_email

LIFETIME = timedelta(days=7)
Email = Annotated[str, AfterValidator(normal_email)]
MemberRole = Literal[Role.PRACTICE_ADMIN, Role.REGULAR_USER]
_DUE = """
INSERT INTO invitation_due (practice_id, user_id, due_at) VALUES ($1, $2, $3)
ON CONFLICT (practice_id, user_id) DO UPDATE SET due_at = excluded.due_at, attempts = 0
"""
_NOT_DUE = "DELETE FROM invitation_due WHERE practice_id = $1 AND user_id = $2"


class EmailTaken(Conflict):
    """Somebody in this practice has this e-mail address."""


class InvitationNotFound(NotFound):
    """No such invitation."""


class InvitationRevokedAlready(Conflict):
    """The invitation was revoked already."""


class InviteUser(Command):
    name: Line
    email: Email
    role: MemberRole = Role.REGULAR_USER


class InvitationView(BaseModel):
    """An invitation that was not accepted yet. Times are UTC; ``problem`` says why it could not be sent so far."""

    user_id: UUID
    name: str
    email: str
    role: str
    state: Literal["open", "expired", "revoked"]
    expires_at: datetime
    sent_at: datetime | None
    sent_count: int
    problem: str | None

    @classmethod
    def of(cls, member: Member, invitation: Invitation, now: datetime) -> Self:
        state: Literal["open", "expired", "revoked"] = "revoked" if member.status == Status.REVOKED else "open"
        if state == "open" and invitation.expires_at <= now:
            state = "expired"
        return cls(
            user_id=member.id, name=member.name, email=member.email, role=member.role, state=state, expires_at=invitation.expires_at,
            sent_at=invitation.sent_at, sent_count=invitation.sent_count, problem=invitation.problem,
        )  # fmt: skip


async def invite(cmd: InviteUser, tx: Tx) -> InvitationView:
    """Ask somebody to join. Who was asked before and never came is asked anew. Raises ``EmailTaken``."""
    await practice_for_change(tx.practice_id, tx)  # one invitation after another: an address is asked once
    member = await member_with_email(cmd.email, tx)
    if member is not None and member.status not in {Status.INVITED, Status.REVOKED}:
        raise EmailTaken(pointer="/email")
    if member is None:
        member = _new_member(tx.practice_id, tx.new_id(), cmd.name, cmd.email, cmd.role, tx)
    else:
        member.name, member.role, member.status, member.version = cmd.name, cmd.role, Status.INVITED, member.version + 1
    return await _ask(member, tx)


async def resend(user_id: UUID, tx: Tx) -> InvitationView:
    """Ask again, with a new time limit. Raises ``InvitationNotFound``, ``InvitationRevokedAlready``."""
    return await _ask(await _invited(user_id, tx), tx)


async def revoke(user_id: UUID, tx: Tx) -> InvitationView:
    """It counts no more, wherever its e-mail is. Raises ``InvitationNotFound``, ``InvitationRevokedAlready``."""
    member = await _invited(user_id, tx)
    member.status, member.version = Status.REVOKED, member.version + 1
    invitation = await invitation_of(user_id, tx)
    assert invitation is not None
    await tx.session.flush()
    await tx.execute(_NOT_DUE, member.practice_id, user_id)
    tx.emit(InvitationRevoked(user_id=user_id))
    return InvitationView.of(member, invitation, tx.now)


def _new_member(practice_id: UUID, user_id: UUID, name: str, email: str, role: str, tx: Tx) -> Member:
    member = Member(
        practice_id=practice_id, id=user_id, subject=None, name=name, email=email, role=role, status=Status.INVITED, version=1,
        created_at=tx.now,
    )  # fmt: skip
    tx.session.add(member)
    return member


async def invite_operator(name: str, email: str, tx: Tx) -> InvitationView:
    """Ask somebody to become a Vantage admin. The transaction must be the platform's. Raises ``EmailTaken``."""
    member = await member_with_email(email, tx)
    if member is not None and member.status == Status.ACTIVE:
        raise EmailTaken
    return await _ask(member or _new_member(tx.practice_id, tx.new_id(), name, email, Role.VANTAGE_ADMIN, tx), tx)


async def _invited(user_id: UUID, tx: Tx) -> Member:
    member = await member_for_change(user_id, tx)
    if member is None or member.status not in {Status.INVITED, Status.REVOKED}:
        raise InvitationNotFound
    if member.status == Status.REVOKED:
        raise InvitationRevokedAlready
    return member


async def _ask(member: Member, tx: Tx) -> InvitationView:
    """Open or renew the invitation; the sending duty finds it by its due row."""
    await tx.session.flush()
    invitation = await invitation_of(member.id, tx)
    if invitation is None:
        invitation = Invitation(practice_id=member.practice_id, user_id=member.id, sent_count=0)
        tx.session.add(invitation)
    invitation.invited_by, invitation.asked_at, invitation.expires_at, invitation.problem = (
        tx.principal.actor,
        tx.now,
        tx.now + LIFETIME,
        None,
    )
    await tx.session.flush()
    await tx.execute(_DUE, member.practice_id, member.id, tx.now)
    invited = UserInvited(user_id=member.id, role=Role(member.role), expires_at=invitation.expires_at, name=member.name, email=member.email)
    tx.emit(invited, practice_id=member.practice_id)
    return InvitationView.of(member, invitation, tx.now)
