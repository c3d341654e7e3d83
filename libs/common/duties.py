"""Periodic duties: what a service does by the clock. A failing duty is logged, counted and tried again.

A duty runs one at a time per process. It must be safe to run in several processes and to be cut off anywhere.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from libs.common import metrics
from libs.common.logging import get_logger
from libs.common.telemetry import span

log = get_logger()

FAILURE_PAUSE_SECONDS = 1.0

Run = Callable[[], Awaitable[float | None]]
"""One round. Returns the seconds until it wants to run again when that is sooner than its period, else None."""


class Duty:
    """One periodic duty; ``wake`` makes it run at once."""

    def __init__(self, name: str, period_seconds: float, run: Run) -> None:
        self.name = name
        self._period = period_seconds
        self._run = run
        self._woken = asyncio.Event()
        self._stopping = False

    def wake(self) -> None:
        self._woken.set()

    async def forever(self) -> None:
        """Rounds until ``stop``; a round in progress is finished."""
        while not self._stopping:
            self._woken.clear()
            pause = await self._round()
            try:
                async with asyncio.timeout(pause):
                    await self._woken.wait()
            except TimeoutError:
                pass

    def stop(self) -> None:
        self._stopping = True
        self._woken.set()

    async def _round(self) -> float:
        try:
            with span(f"duty {self.name}"):
                sooner = await self._run()
        except Exception as error:
            metrics.DUTY_FAILURES.labels(self.name).inc()
            log.warning("duty.failed", duty=self.name, exc_info=error)
            return max(self._period, FAILURE_PAUSE_SECONDS)
        return self._period if sooner is None else max(0.0, min(sooner, self._period))
