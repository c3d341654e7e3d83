"""Do: make and end Vantage admins. From the command line of the installation only: no door leads here."""

from __future__ import annotations

from libs.common.auth import Principal
from libs.common.work import Work
from libs.contracts.envelope import PLATFORM
from libs.contracts.practices import UserDeactivated
from services.practices.commands.access import tell_member
from services.practices.commands.invitations import InvitationView, invite_operator
from services.practices.commands.users import BY_PRACTICE
from services.practices.model import Practice, Status
from services.practices.queries import member_with_email, practice_by_id
from services.practices.rules.people import normal_email

OPERATOR = Principal.platform("operator")


async def add_operator(name: str, email: str, work: Work) -> InvitationView:
    """Invite a Vantage admin; the running service sends the invitation. Raises ``EmailTaken`` or ``ValueError``."""
    async with work(OPERATOR) as tx:
        if await practice_by_id(PLATFORM, tx) is None:
            # The platform itself: what Vantage admins are members of. In no directory, and nobody can enter it.
            tx.session.add(
                Practice(practice_id=PLATFORM, name="Vantage", time_zone="UTC", version=1, created_at=tx.now, profile={}, origins=[])
            )
            await tx.session.flush()
        return await invite_operator(name, normal_email(email), tx)


async def end_operator(email: str, work: Work) -> bool:
    """Their token stops within seconds. False when there is none with this address."""
    async with work(OPERATOR) as tx:
        member = await member_with_email(normal_email(email), tx)
        if member is None or member.status not in {Status.ACTIVE, Status.INVITED}:
            return False
        member.status, member.ended_by, member.version = Status.DEACTIVATED, BY_PRACTICE, member.version + 1
        tx.emit(UserDeactivated(user_id=member.id))
        await tell_member(member, tx)
        return True
