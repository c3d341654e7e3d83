"""What practices does by the clock: have invitations sent."""

from __future__ import annotations

from libs.common.work import Work
from services.practices.commands.sending import CLAIM, Inviter, send_due


async def send_invitations(work: Work, inviter: Inviter) -> float | None:
    """At once again while there is a full load of them."""
    return 0.0 if await send_due(work, inviter) >= CLAIM else None
