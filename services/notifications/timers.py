"""What notifications does by the clock."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from libs.common.secrets import SecretBox
from libs.common.work import Work
from services.notifications.commands.plan import Planned
from services.notifications.commands.recover import CLAIM, Finder, recover_due


async def recover(
    work: Work, finder: Finder, box: SecretBox, take: Callable[[Iterable[Planned]], None], lookup_after_seconds: float
) -> float | None:
    """Take up what is due; at once again while there is a full load of it."""
    return 0.0 if await recover_due(work, finder, box, take, lookup_after_seconds) >= CLAIM else None
