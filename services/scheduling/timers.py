"""What scheduling does by the clock."""

from __future__ import annotations

from libs.common.secrets import SecretBox
from libs.common.work import Work
from services.scheduling.commands.webhooks import CLAIM, Sender, deliver_due


async def deliver_webhooks(work: Work, sender: Sender, box: SecretBox, first_retry_seconds: float) -> float | None:
    """Attempt what is due; at once again while there is a full load of it."""
    return 0.0 if await deliver_due(work, sender, box, first_retry_seconds) >= CLAIM else None
