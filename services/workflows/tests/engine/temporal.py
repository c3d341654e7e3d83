"""Temporal under the suite: the same consumer and Postgres, runs kept going by a real Temporal server that skips time.

Two clocks: transactions go by the driver's, Temporal's timers by the server's, which may only run ahead. A timer that rings
early by the driver's clock is told how long it still has to wait, so the driver's clock decides.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from datetime import datetime, timedelta
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncEngine
from temporalio import activity
from temporalio.client import Client
from temporalio.testing import WorkflowEnvironment
from temporalio.worker import Worker

from libs.common.secrets import SecretBox
from libs.testing.fixtures import SECRETS_KEYS
from libs.testing.probe import until_async
from services.workflows.adapters.temporal import RunsOnTemporal, sealing
from services.workflows.commands.handover import SYSTEM, call_runs
from services.workflows.durable.activities import RunActivities
from services.workflows.durable.workflow import RunWorkflow
from services.workflows.rules.runs.orchestration import ADVANCE, BULK_QUEUE, LIVE_QUEUE, TEMPORAL, Orchestration, RunRef, Standing
from services.workflows.tests.engine.builtin import BuiltinDriver
from services.workflows.tests.engine.driver import Said

_OPEN = """
SELECT (SELECT count(*) FROM run_call WHERE practice_id = $1 AND NOT s) AS called,
  (SELECT count(*) FROM durable_timer WHERE practice_id = $1 AND due_at <= $2 AND NOT held AND NOT s) AS due
FROM (SELECT EXISTS (SELECT FROM access_practice WHERE practice_id = $1 AND suspended) AS s) suspended
"""
_NEXT = """
SELECT min(due_at) FROM (SELECT practice_id, held, due_at FROM timer UNION ALL SELECT practice_id, held, due_at FROM durable_timer) AS t
WHERE practice_id = $1 AND NOT held AND due_at > $2 AND due_at <= $3
"""
ADVANCED_SECONDS = 0.1
"""How long to wait for a run that was told, before looking whether all is settled."""


class Skipping:
    """One server and its workers for many drivers: what comes to the workers goes to the driver whose practice it is."""

    def __init__(self, environment: WorkflowEnvironment) -> None:
        self.environment = environment
        self.drivers: dict[UUID, TemporalDriver] = {}
        self.advanced = 0

    @property
    def client(self) -> Client:
        return self.environment.client

    async def connect(self) -> Client:
        return self.client

    @activity.defn(name=ADVANCE)
    async def advance(self, run: RunRef) -> Standing:
        driver = self.drivers.get(UUID(run.practice_id))
        if driver is None:
            return Standing(ended=True)  # its test is over
        self.advanced += 1
        standing = await RunActivities(driver.work, driver.published).advance(run)
        driver.moved.set()
        return standing


@asynccontextmanager
async def skipping(program: str) -> AsyncIterator[Skipping]:
    """Temporal's test server with workers on both queues, payloads sealed as in the service."""
    converter = sealing(SecretBox.local(SECRETS_KEYS))
    async with await WorkflowEnvironment.start_time_skipping(
        test_server_existing_path=program, test_server_startup_timeout=timedelta(seconds=60), data_converter=converter
    ) as environment:
        server = Skipping(environment)
        workers = [
            Worker(
                environment.client,
                task_queue=queue,
                workflows=[RunWorkflow],
                activities=[server.advance],
                max_concurrent_local_activities=4,
            )
            for queue in (LIVE_QUEUE, BULK_QUEUE)
        ]
        async with workers[0], workers[1]:
            yield server


class TemporalDriver(BuiltinDriver):
    def __init__(self, engine: AsyncEngine, server: Skipping, practice: UUID | None = None) -> None:
        super().__init__(engine, practice)
        self.server = server
        self.orchestrator = RunsOnTemporal(server.connect)
        self.moved = asyncio.Event()
        server.drivers[self.practice] = self
        self.begin_on_temporal()

    def begin_on_temporal(self) -> None:
        self.orchestration = Orchestration(TEMPORAL)
        self._start()

    def begin_on_builtin(self) -> None:
        self.orchestration = Orchestration()
        self._start()

    async def settle(self) -> None:
        """Until every run of this practice has taken up what was handed over to it and what is due."""
        await until_async(self._settled, within=30, what="settling")

    async def _settled(self) -> bool:
        if not any(await self._open()):
            return True
        self.moved.clear()
        if await call_runs(self.work, self.orchestrator):
            with suppress(TimeoutError):
                async with asyncio.timeout(ADVANCED_SECONDS):
                    await self.moved.wait()
        called, due = await self._open()
        if due and not called:  # its workflow set the timer after the server's clock had passed it
            await self.server.environment.sleep(timedelta(seconds=1))
        return not due and not called

    async def _open(self) -> tuple[int, int]:
        """How many runs were called and have yet to look; how many timers are due."""
        async with self.work.batch([self.practice], SYSTEM) as tx:
            row = await tx.row(_OPEN, self.practice, self.now)
        assert row is not None
        return row["called"], row["due"]

    async def deliver_elsewhere(self, practice: UUID, *said: Said) -> None:
        await super().deliver_elsewhere(practice, *said)
        await self.settle()

    async def pass_time(self, duration: timedelta) -> None:
        end = self.now + duration
        while (due := await self._next_timer(end)) is not None:
            await self._skip_to(due)
        await self._skip_to(end)

    async def _skip_to(self, moment: datetime) -> None:
        step, self.now = moment - self.now, moment
        await self._fire()
        if step:
            await self.server.environment.sleep(step)
        await self.settle()

    async def _next_timer(self, end: datetime) -> datetime | None:
        async with self.work.batch([], SYSTEM) as tx:
            due: datetime | None = await tx.value(_NEXT, self.practice, self.now, end)
            return due

    async def cancel(self, run_id: UUID) -> None:
        await super().cancel(run_id)
        await self.settle()

    async def pause(self, run_id: UUID) -> None:
        await super().pause(run_id)
        await self.settle()

    async def resume(self, run_id: UUID) -> None:
        await super().resume(run_id)
        await self.settle()

    async def suppress(self, patient_id: UUID) -> None:
        await super().suppress(patient_id)
        await self.settle()

    async def retry(self, run_id: UUID) -> None:
        await super().retry(run_id)
        await self.settle()

    async def resolve(self, run_id: UUID, step_id: str, outcome: str, note: str | None = None) -> None:
        await super().resolve(run_id, step_id, outcome, note)
        await self.settle()

    async def restart(self, away: timedelta = timedelta()) -> None:
        self._start()
        if away:
            await self._skip_to(self.now + away)
