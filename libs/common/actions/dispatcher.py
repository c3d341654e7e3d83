"""The dispatcher of one process: takes planned effects from memory, performs them bounded, records outcomes in batches.

It is only fast, never the truth: what it forgets when the process dies is found by the recovery duty. Each action has a lane
of its own: calls to a slow receiver hold up nobody else's. In a lane practices take turns: what one asks for by the thousand
delays another's first by one round of calls.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Sequence
from functools import partial
from typing import Protocol

from libs.common.actions.effects import Finished, Key
from libs.common.logging import get_logger
from libs.common.turns import Turns

log = get_logger()

RECORD_RETRY_SECONDS = 0.5


class Performs(Protocol):
    """Marks effects and says how each is called; records what became of them."""

    async def begin(self, keys: Sequence[Key]) -> list[Callable[[], Awaitable[Finished]]]: ...

    async def record(self, finished: Sequence[Finished]) -> None: ...


class Dispatcher:
    """``concurrency`` calls at the same time in each lane."""

    def __init__(self, performs: Performs, *, concurrency: int) -> None:
        self._performs = performs
        self._concurrency = concurrency
        self._planned: dict[str, Turns[Key]] = {}
        self._busy: Counter[str] = Counter()
        self._finished: list[Finished] = []
        self._calling: set[asyncio.Task[None]] = set()
        self._marking: asyncio.Task[None] | None = None
        self._something_planned = asyncio.Event()
        self._something_finished = asyncio.Event()
        self._loops: list[asyncio.Task[None]] = []

    def take(self, planned: Iterable[Key]) -> None:
        """Perform these soon. Called after the commit that planned them."""
        for key in planned:
            self._planned.setdefault(key.action, Turns()).put(key.practice_id, key)
        self._something_planned.set()

    def forget(self) -> None:
        """Leave what was taken and not begun to the recovery duty."""
        self._planned.clear()

    async def start(self) -> None:
        self._loops = [asyncio.create_task(self._call_loop()), asyncio.create_task(self._record_loop())]

    async def stop(self) -> None:
        """Take nothing new, wait for calls in progress, record them. What was never begun stays planned."""
        if not self._loops:
            return
        caller, recorder = self._loops
        self._loops = []
        caller.cancel()
        await asyncio.gather(caller, return_exceptions=True)
        if self._marking is not None:
            # What was just marked is called and recorded, too; otherwise nobody would know whether it was.
            await asyncio.wait([self._marking])
        if self._calling:
            await asyncio.wait(self._calling)
        recorder.cancel()
        await asyncio.gather(recorder, return_exceptions=True)
        if self._finished:
            await self._record_all()

    async def idle(self) -> bool:
        """Whether this process has nothing left to mark, to call or to record."""
        marking = self._marking is not None and not self._marking.done()
        return not (self._planned or marking or self._calling or self._finished)

    async def _call_loop(self) -> None:
        while True:
            await self._something_planned.wait()
            self._something_planned.clear()
            while (lane := self._free_lane()) is not None:
                waiting = self._planned.pop(lane)
                free = self._concurrency - self._busy[lane]
                batch = waiting.take(free, share=max(1, free // waiting.lines))
                if len(waiting):
                    self._planned[lane] = waiting  # behind the others
                self._marking = asyncio.create_task(self._begin(lane, batch))
                await asyncio.shield(self._marking)

    def _free_lane(self) -> str | None:
        return next((lane for lane in self._planned if self._busy[lane] < self._concurrency), None)

    async def _begin(self, lane: str, batch: list[Key]) -> None:
        """Only as many are marked as can be called at once: a marked effect never waits for a slot."""
        try:
            calls = await self._performs.begin(batch)
        except Exception as error:  # the database is away: they stay planned, the recovery duty brings them back
            log.warning("dispatch.postponed", batch=len(batch), exc_info=error)
            return
        for call in calls:
            task = asyncio.create_task(self._call(call))
            self._calling.add(task)
            self._busy[lane] += 1
            task.add_done_callback(partial(self._called, lane))

    async def _call(self, call: Callable[[], Awaitable[Finished]]) -> None:
        self._finished.append(await call())
        self._something_finished.set()

    def _called(self, lane: str, task: asyncio.Task[None]) -> None:
        self._calling.discard(task)
        self._busy[lane] -= 1
        if not task.cancelled() and task.exception() is not None:
            log.error("dispatch.failed", exc_info=task.exception())
        self._something_planned.set()

    async def _record_loop(self) -> None:
        while True:
            await self._something_finished.wait()
            self._something_finished.clear()
            try:
                await self._record_all()
            except Exception as error:  # kept in memory and tried again; if we die, the effects become unknown
                log.warning("record.postponed", batch=len(self._finished), exc_info=error)
                await asyncio.sleep(RECORD_RETRY_SECONDS)
                self._something_finished.set()

    async def _record_all(self) -> None:
        batch = list(self._finished)
        if batch:
            await self._performs.record(batch)
            del self._finished[: len(batch)]
