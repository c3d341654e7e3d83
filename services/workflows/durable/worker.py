"""Workers of the durable engine: one per load class, running as long as the service does, whether Temporal is there or not."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta

from temporalio.client import Client
from temporalio.worker import Worker

from libs.common import metrics
from libs.common.logging import get_logger
from services.workflows.durable.activities import RunActivities
from services.workflows.durable.workflow import RunWorkflow
from services.workflows.rules.runs.orchestration import BULK_QUEUE, LIVE_QUEUE

log = get_logger()

IN_HAND = {LIVE_QUEUE: 64, BULK_QUEUE: 16}
"""Runs a process takes from Temporal at the same time: eight times what it works on, so that practices take turns here as well.

More would cost the server: each that waits here says every eight seconds that it still does.
"""
AGAIN_SECONDS = 2.0
FINISH = timedelta(seconds=10)


class RunWorkers:
    """``start`` returns at once: the service is ready while Temporal is away, and what is handed over waits."""

    def __init__(self, connect: Callable[[], Awaitable[Client]], activities: RunActivities) -> None:
        self._connect = connect
        self._activities = activities
        self._running: list[asyncio.Task[None]] = []

    async def start(self) -> None:
        self._running = [asyncio.create_task(self._for_ever(queue, in_hand)) for queue, in_hand in IN_HAND.items()]

    async def stop(self) -> None:
        """Activities in hand are finished."""
        for task in self._running:
            task.cancel()
        await asyncio.gather(*self._running, return_exceptions=True)

    async def _for_ever(self, queue: str, in_hand: int) -> None:
        while True:
            try:
                worker = Worker(
                    await self._connect(), task_queue=queue, workflows=[RunWorkflow], activities=[self._activities.advance],
                    max_concurrent_local_activities=in_hand, max_concurrent_workflow_tasks=in_hand, graceful_shutdown_timeout=FINISH,
                )  # fmt: skip
                await worker.run()
            except Exception as error:  # whatever it is, runs wait for a worker: another one is made
                metrics.BACKOFFS.inc()
                log.warning("temporal.worker_lost", task=queue, exc_info=error)
            await asyncio.sleep(AGAIN_SECONDS)
