"""What audit does by the clock: sign what was appended."""

from __future__ import annotations

from libs.common.work import Work
from services.audit.commands.checkpoints import ROUND, Signer, sign_changed


async def sign_checkpoints(work: Work, signer: Signer) -> float | None:
    """At most one checkpoint per log and round; at once again while there is a full round of logs."""
    return 0.0 if await sign_changed(work, signer) >= ROUND else None
