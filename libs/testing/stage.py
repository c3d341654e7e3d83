"""One action plug-in at work by itself: on a real database, with the machinery its owner uses, and nothing else around."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Mapping
from datetime import timedelta
from typing import Any, Self, cast
from uuid import UUID, uuid4

from libs.common.actions import ActionPlugin
from libs.common.actions.performing import Performing
from libs.common.auth import Principal
from libs.common.messaging import Consumer
from libs.common.messaging.batches import Batches
from libs.common.work import Work
from libs.contracts.actions import ActionRequest, ActionResult
from libs.contracts.envelope import MESSAGES, Message
from libs.testing.fixtures import incoming

_DUE = "UPDATE effect_due SET due_at = $2 WHERE practice_id = $1"
_DISPATCHED = "UPDATE effect SET state = 'dispatched', attempts = attempts + 1 WHERE practice_id = $1 AND state = 'planned'"
_EFFECTS = "SELECT state, attempts, request FROM effect WHERE practice_id = $1 ORDER BY planned_at"
_SAID = "SELECT type, payload FROM outbox WHERE practice_id = $1 ORDER BY seq"


class Stage:
    """``async with Stage(...) as stage``: ask it, wait, see what was said. ``seconds`` replaces the plug-in's time-out."""

    def __init__(
        self, work: Work, plugin: ActionPlugin, practice: UUID, tools: Mapping[str, Any] | None = None, *, seconds: float | None = None
    ) -> None:
        self.plugin = plugin if seconds is None else dataclasses.replace(plugin, timeout_seconds=seconds)
        self.practice = practice
        self._work = work
        self.request = cast("type[ActionRequest]", MESSAGES[f"vantage.{plugin.owner}.perform-action.v1"])
        self.finished = cast("type[ActionResult]", MESSAGES[f"vantage.{plugin.owner}.action-finished.v1"])
        self.performing = Performing(work, [self.plugin], (self.request, self.finished), tools or {}, lookup_after_seconds=0.0)
        consumer = Consumer(plugin.owner)
        consumer.on_batch(self.request)(self.performing.take)
        self._batches = Batches(consumer, work)

    async def __aenter__(self) -> Self:
        await self.performing.dispatcher.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.performing.dispatcher.stop()

    def asking(self, parameters: dict[str, Any], patient_id: UUID | None, *, effect_key: UUID | None = None) -> ActionRequest:
        return self.request(
            effect_key=effect_key or uuid4(), action=self.plugin.name, run_id=uuid4(), step_id="step", patient_id=patient_id,
            parameters=parameters,
        )  # fmt: skip

    async def ask(self, *requests: ActionRequest) -> None:
        """Bring the requests, in one batch, and wait until nothing is being done about them."""
        await self._batches.handle([incoming(request, self.practice) for request in requests])
        await self.quiet()

    async def later(self) -> None:
        """The time of everything that waits has come."""
        async with self._work(Principal.system("test", self.practice)) as tx:
            await tx.execute(_DUE, self.practice, tx.now - timedelta(days=1))
        await self.performing.recover()
        await self.quiet()

    async def die_after_the_mark(self, request: ActionRequest) -> None:
        """The request is planned and marked by a process that dies before the call or before its record."""
        await self.performing.dispatcher.stop()
        await self._batches.handle([incoming(request, self.practice)])
        async with self._work(Principal.system("test", self.practice)) as tx:
            await tx.execute(_DISPATCHED, self.practice)
        self.performing.dispatcher.forget()
        await self.performing.dispatcher.start()

    async def quiet(self) -> None:
        async with asyncio.timeout(30):
            while not await self.performing.dispatcher.idle():  # noqa: ASYNC110 - the dispatcher has no signal for "nothing left"
                await asyncio.sleep(0)

    async def effects(self) -> list[tuple[str, int, Any]]:
        """State, tries and kept request of each effect, in the order they were asked for."""
        async with self._work(Principal.system("test", self.practice)) as tx:
            return [(row["state"], row["attempts"], row["request"]) for row in await tx.rows(_EFFECTS, self.practice)]

    async def said(self) -> list[Message]:
        async with self._work(Principal.system("test", self.practice)) as tx:
            return [MESSAGES[row["type"]].model_validate(row["payload"]) for row in await tx.rows(_SAID, self.practice)]

    async def outcomes(self) -> list[ActionResult]:
        """What was said about effects, oldest first."""
        return [message for message in await self.said() if isinstance(message, ActionResult)]
