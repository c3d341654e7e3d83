"""Much work in a process that others need: done in slices, and slower while others have much to do."""

from __future__ import annotations

import asyncio

from libs.common.clock import monotonic

SLICE_SECONDS = 0.005
LONGEST_PAUSE_SECONDS = 0.1


class Pace:
    """Ask between two pieces of work: others of this process go first whenever a slice is over."""

    def __init__(self) -> None:
        self._began = monotonic()

    async def keep(self) -> None:
        if monotonic() - self._began > SLICE_SECONDS:
            await self.give_way()

    async def give_way(self) -> None:
        """Let everybody else go first; who has much to do is left alone for longer."""
        before = monotonic()
        await asyncio.sleep(0)
        others = monotonic() - before
        if others > SLICE_SECONDS / 5:
            await asyncio.sleep(min(2 * others, LONGEST_PAUSE_SECONDS))
        self._began = monotonic()
