"""The dispatcher of one process: takes planned effects from memory, sends them bounded, records outcomes in batches.

It is only fast, never the truth: what it forgets when the process dies is found by the recovery duty.
"""

from __future__ import annotations

import asyncio
import random
from collections import deque
from collections.abc import Iterable
from typing import Protocol

from libs.common.logging import get_logger
from libs.common.secrets import SecretBox
from libs.common.work import Work
from services.notifications.commands.dispatch import Finished, mark_dispatched, record
from services.notifications.commands.plan import Planned
from services.notifications.rules import Email, ProviderAnswer

log = get_logger()

RECORD_RETRY_SECONDS = 0.5


class Mailer(Protocol):
    """Sends one e-mail; says what came of it, whatever happens."""

    async def send(self, email: Email) -> ProviderAnswer: ...


class Dispatcher:
    def __init__(self, work: Work, mailer: Mailer, box: SecretBox, *, concurrency: int, lookup_after_seconds: float) -> None:
        self._work = work
        self._mailer = mailer
        self._box = box
        self._concurrency = concurrency
        self._lookup_after = lookup_after_seconds
        self._planned: deque[Planned] = deque()
        self._finished: list[Finished] = []
        self._sending: set[asyncio.Task[None]] = set()
        self._marking: asyncio.Task[None] | None = None
        self._something_planned = asyncio.Event()
        self._something_finished = asyncio.Event()
        self._loops: list[asyncio.Task[None]] = []

    def take(self, planned: Iterable[Planned]) -> None:
        """Perform these soon. Called after the commit that planned them."""
        self._planned.extend(planned)
        self._something_planned.set()

    async def start(self) -> None:
        self._loops = [asyncio.create_task(self._send_loop()), asyncio.create_task(self._record_loop())]

    async def stop(self) -> None:
        """Take nothing new, wait for calls in progress, record them. What was never begun stays planned."""
        if not self._loops:
            return
        sender, recorder = self._loops
        self._loops = []
        sender.cancel()
        await asyncio.gather(sender, return_exceptions=True)
        if self._marking is not None:
            # What was just marked is called and recorded, too; otherwise nobody would know whether it was.
            await asyncio.wait([self._marking])
        if self._sending:
            await asyncio.wait(self._sending)
        recorder.cancel()
        await asyncio.gather(recorder, return_exceptions=True)
        if self._finished:
            await self._record_all()

    async def idle(self) -> bool:
        """Whether this process has nothing left to mark, to call or to record."""
        marking = self._marking is not None and not self._marking.done()
        return not (self._planned or marking or self._sending or self._finished)

    async def _send_loop(self) -> None:
        while True:
            await self._something_planned.wait()
            self._something_planned.clear()
            while self._planned and len(self._sending) < self._concurrency:
                free = self._concurrency - len(self._sending)
                batch = [self._planned.popleft() for _ in range(min(free, len(self._planned)))]
                self._marking = asyncio.create_task(self._begin(batch))
                await asyncio.shield(self._marking)

    async def _begin(self, batch: list[Planned]) -> None:
        """Only as many are marked as can be called at once: a marked effect never waits for a slot."""
        try:
            emails, unable = await mark_dispatched(batch, self._work, self._box)
        except Exception as error:  # the database is away: they stay planned, the recovery duty brings them back
            log.warning("dispatch.postponed", batch=len(batch), exc_info=error)
            return
        for finished in unable:
            self._finish(finished)
        for email in emails:
            task = asyncio.create_task(self._send(email))
            self._sending.add(task)
            task.add_done_callback(self._sent)

    async def _send(self, email: Email) -> None:
        answer = await self._mailer.send(email)
        self._finish(Finished(email.practice_id, email.effect_key, answer))

    def _sent(self, task: asyncio.Task[None]) -> None:
        self._sending.discard(task)
        if not task.cancelled() and task.exception() is not None:
            log.error("dispatch.failed", exc_info=task.exception())
        self._something_planned.set()

    def _finish(self, finished: Finished) -> None:
        self._finished.append(finished)
        self._something_finished.set()

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
            await record(batch, self._work, self._lookup_after, random.random())  # noqa: S311 - jitter
            del self._finished[: len(batch)]
