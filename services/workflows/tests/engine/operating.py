"""How drivers do what people and duties do to many runs, and what starts runs besides events. The same for every engine."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID

from libs.common.auth import Principal
from libs.common.messaging.batches import Batches
from libs.common.work import Work
from libs.contracts.workflows import ActionFinished, PerformAction
from libs.testing.fixtures import incoming
from services.workflows.commands import jobs, schedules
from services.workflows.commands.bulk import BulkRuns, open_bulk
from services.workflows.commands.jobs import show_job
from services.workflows.commands.manual import RequestRun, request_run
from services.workflows.commands.pausing import pause_workflow, resume_workflow
from services.workflows.commands.published import PublishedWorkflows
from services.workflows.commands.reruns import rerun_run
from services.workflows.commands.watchdog import look_after
from services.workflows.commands.webhooks import take_webhook
from services.workflows.rules.expressions.engines import ENGINES
from services.workflows.timers import jobs as kinds_of

_OWN = """
SELECT * FROM outbox WHERE practice_id = $1 AND type = ANY($2::text[]) AND id NOT IN (SELECT event_id FROM inbox) ORDER BY seq
"""
_KINDS: dict[str, type[PerformAction | ActionFinished]] = {kind.type: kind for kind in (PerformAction, ActionFinished)}
CEL = ENGINES["cel-cpp"]


class Operating:
    """What a driver brings besides: its practice, clock, work and what is published."""

    practice: UUID
    now: datetime
    work: Work
    admin: Principal
    published: PublishedWorkflows
    batches: Batches

    async def settle(self) -> None:
        """Until whatever was begun has come to rest."""

    async def finish(self, job_id: UUID) -> int:
        """Until the job has ended; returns how many it did something to."""
        do = kinds_of(CEL, self.published)
        while True:
            async with self.work(self.admin) as tx:
                job = await show_job(job_id, tx)
            if job.status != "running":
                await self.settle()
                return job.done
            if not await jobs.work_on(self.work, do):
                self.now += jobs.PACE

    async def pause_workflow(self, workflow_id: UUID) -> int:
        async with self.work(self.admin) as tx:
            held = (await pause_workflow(workflow_id, tx)).held
        await self.settle()
        return held

    async def resume_workflow(self, workflow_id: UUID) -> None:
        async with self.work(self.admin) as tx:
            backlog = await resume_workflow(workflow_id, tx)
        if backlog.job_id is not None:
            await self.finish(backlog.job_id)
        await self.settle()

    async def bulk(self, verb: str, **wanted: Any) -> int:
        async with self.work(self.admin) as tx:
            job = await open_bulk(BulkRuns.model_validate({"verb": verb, **wanted}), tx)
        return await self.finish(job.id)

    async def rerun(self, run_id: UUID, version: int | None = None) -> UUID:
        async with self.work(self.admin) as tx:
            again = await rerun_run(run_id, version, self.published, tx)
        await self.settle()
        return again

    async def start(self, workflow_id: UUID, **wish: Any) -> str:
        async with self.work(self.admin) as tx:
            came = await request_run(workflow_id, RequestRun.model_validate(wish), CEL, self.published, tx)
        if came.job is not None:
            await self.finish(came.job.id)
        await self.settle()
        return came.decision

    async def take_turns(self) -> None:
        for _ in range(50):
            await schedules.take_turns(self.work, self.published)
            async with self.work(self.admin) as tx:
                due = await tx.value("SELECT min(due_at) FROM schedule WHERE practice_id = $1", self.practice)
            if due is None or due > self.now + schedules.PACE:
                break
            self.now = max(self.now, due)
        await self.settle()

    async def called(self, workflow_id: UUID, call_id: str, body: dict[str, Any]) -> None:
        async with self.work(Principal.system("webhooks", self.practice)) as tx:
            await take_webhook(workflow_id, call_id, body, self.published, tx)
        await self.settle()

    async def perform_own(self) -> None:
        while True:
            async with self.work(self.admin) as tx:
                rows = await tx.rows(_OWN, self.practice, list(_KINDS))
            if not rows:
                return
            await self.batches.handle(
                [
                    incoming(
                        _KINDS[row["type"]].model_validate(row["payload"]), self.practice, ce_id=str(row["id"]), ce_time=self.now.isoformat(),
                        correlation_id=row["correlation_id"], causation_id=row["causation_id"],
                    )
                    for row in rows
                ]
            )  # fmt: skip
            await self.settle()

    async def look_after(self) -> int:
        raised = (await look_after([self.practice], self.work, self.published)).raised
        await self.settle()
        return raised

    async def lose_timers(self) -> None:
        for table in ("timer", "durable_timer"):
            async with self.work(self.admin) as tx:
                await tx.execute(f"DELETE FROM {table} WHERE practice_id = $1", self.practice)
