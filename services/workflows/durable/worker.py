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

AT_ONCE = {LIVE_QUEUE: 8, BULK_QUEUE: 2}
"""Runs brought on at the same time per process; many at once cannot take the others' connections."""
IN_HAND = 4
"""So many more are fetched beforehand. The others wait at the server, where practices take turns."""
AGAIN_SECONDS = 2.0
FINISH = timedelta(seconds=10)


class RunWorkers:
    """``start`` returns at once: the service is ready while Temporal is away, and what is handed over waits."""

    def __init__(self, connect: Callable[[], Awaitable[Client]], activities: RunActivities) -> None:
        self._connect = connect
        self._activities = activities
        self._running: list[asyncio.Task[None]] = []

    async def start(self) -> None:
        self._running = [asyncio.create_task(self._for_ever(queue, at_once)) for queue, at_once in AT_ONCE.items()]

    async def stop(self) -> None:
        """Activities in hand are finished."""
        for task in self._running:
            task.cancel()
        await asyncio.gather(*self._running, return_exceptions=True)

    async def _for_ever(self, queue: str, at_once: int) -> None:
        while True:
            try:
                worker = Worker(
                    await self._connect(), task_queue=queue, workflows=[RunWorkflow], activities=[self._activities.advance],
                    max_concurrent_local_activities=at_once, max_concurrent_workflow_tasks=at_once + IN_HAND,
                    graceful_shutdown_timeout=FINISH,
                )  # fmt: skip
                await worker.run()
            except Exception as error:  # whatever it is, runs wait for a worker: another one is made
                metrics.BACKOFFS.inc()
                log.warning("temporal.worker_lost", task=queue, exc_info=error)
            await asyncio.sleep(AGAIN_SECONDS)
