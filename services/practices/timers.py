"""What practices does by the clock: have invitations sent, compare with the identity provider."""

from __future__ import annotations

from libs.common.logging import get_logger
from libs.common.work import Work
from services.practices.commands.reconcile import Provider, reconcile
from services.practices.commands.sending import CLAIM, Inviter, send_due

log = get_logger()

RECONCILE_SECONDS = 3600.0


async def send_invitations(work: Work, inviter: Inviter) -> float | None:
    """At once again while there is a full load of them."""
    return 0.0 if await send_due(work, inviter) >= CLAIM else None


async def reconcile_people(work: Work, provider: Provider) -> float | None:
    """Reports of changes are sent once and may get lost: every hour everybody is compared."""
    drifts = await reconcile(work, provider)
    if drifts:
        log.warning("people.repaired", count=len(drifts))
    return None
