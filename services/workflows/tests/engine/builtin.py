"""The built-in engine under the suite: the real consumer and timers on a real Postgres, the backbone played by hand."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

from sqlalchemy.ext.asyncio import AsyncEngine

from libs.common.access import Access, follow_access
from libs.common.actions.performing import Performing
from libs.common.auth import Principal, Role
from libs.common.db import TenancySigner
from libs.common.messaging import Consumer, Incoming
from libs.common.messaging.batches import Batches
from libs.common.messaging.redrive import Redrive
from libs.common.work import Work
from libs.contracts import notifications, patients, scheduling
from libs.contracts.access import PracticeAccessChanged
from libs.contracts.actions import ActionError, ActionRequest, Outcome
from libs.contracts.envelope import MESSAGES, PLATFORM, Message
from libs.contracts.workflows import ActionFinished, PerformAction
from libs.testing.fixtures import incoming
from libs.testing.postgres import TENANCY_KEY
from services.workflows import consumers
from services.workflows.actions import START_WORKFLOW, STOP_WORKFLOW
from services.workflows.commands.controls import cancel_run, pause_run, resume_run, retry_run
from services.workflows.commands.definitions import (
    PublishWorkflow,
    SaveWorkflow,
    create_workflow,
    edit_workflow,
    publish_workflow,
    unpublish_workflow,
)
from services.workflows.commands.published import PublishedWorkflows
from services.workflows.commands.resolving import ResolveStep, resolve_step
from services.workflows.commands.suppression import SuppressPatient, admit_patient, suppress_patient
from services.workflows.commands.timers import CLAIM, SYSTEM, fire_due
from services.workflows.queries.runs import runs, steps_of
from services.workflows.rules.runs.orchestration import Orchestration
from services.workflows.tests.engine.driver import RunRecord, Said
from services.workflows.tests.engine.operating import Operating
from services.workflows.tests.engine.world import SEND_EMAIL, UPDATE_PATIENT

_FINISHED = {
    "notifications": notifications.ActionFinished, "patients": patients.ActionFinished, "scheduling": scheduling.ActionFinished,
    "workflows": ActionFinished,
}  # fmt: skip


class BuiltinDriver(Operating):
    def __init__(self, engine: AsyncEngine, practice: UUID | None = None) -> None:
        self.practice = practice or uuid4()
        self.now = datetime.now(UTC)
        self.work = Work("workflows", engine, TenancySigner(TENANCY_KEY), clock=lambda: self.now)
        self.admin = Principal("user", str(uuid4()), Role.PRACTICE_ADMIN, self.practice)
        self._access_version = 0
        self.orchestration = Orchestration()
        self._start()

    def _start(self) -> None:
        self.published = PublishedWorkflows(orchestration=self.orchestration)
        self.consumer = Consumer("workflows")
        plugins = [START_WORKFLOW, STOP_WORKFLOW]
        performing = Performing(self.work, plugins, (PerformAction, ActionFinished), {"published": self.published})
        consumers.subscribe(self.consumer, self.published, Access(self.work), performing)
        follow_access(self.consumer)
        self.batches = Batches(self.consumer, self.work)
        self.redrive = Redrive(self.consumer, self.work, self.batches)

    async def learn_catalogue(self) -> None:
        own = START_WORKFLOW.description(), STOP_WORKFLOW.description()
        await self.batches.handle([incoming(action, PLATFORM) for action in (SEND_EMAIL, UPDATE_PATIENT, *own)])

    async def publish(self, definition: dict[str, Any], workflow_id: UUID | None = None, *, include_existing: bool | None = None) -> UUID:
        async with self.work(self.admin) as tx:
            cmd = SaveWorkflow.model_validate({"name": "Under test", "definition": definition})
            view = await (create_workflow(cmd, tx) if workflow_id is None else edit_workflow(workflow_id, cmd, tx))
            await tx.flush()
            including = (await publish_workflow(view.id, tx, PublishWorkflow(include_existing=include_existing))).including
        if including is not None:
            await self.finish(including.id)
        return view.id

    async def edit(self, workflow_id: UUID, definition: dict[str, Any]) -> None:
        async with self.work(self.admin) as tx:
            await edit_workflow(workflow_id, SaveWorkflow.model_validate({"name": "Under test", "definition": definition}), tx)

    async def unpublish(self, workflow_id: UUID) -> None:
        async with self.work(self.admin) as tx:
            await unpublish_workflow(workflow_id, tx)

    def record(self, said: Said, practice: UUID | None = None) -> Incoming:
        return incoming(said.message, practice or self.practice, ce_id=str(said.id), ce_time=self.now.isoformat())

    async def deliver(self, *said: Said) -> None:
        await self.deliver_elsewhere(self.practice, *said)

    async def deliver_later(self, after: timedelta, *said: Said) -> None:
        self.now += after
        await self.deliver(*said)

    async def deliver_elsewhere(self, practice: UUID, *said: Said) -> None:
        await self.batches.handle([self.record(one, practice) for one in said])
        await self.redrive.due()

    async def answer(
        self, request: ActionRequest, outcome: Outcome, error_code: str | None = None, *, times: int = 1, retryable: bool = False
    ) -> None:
        error = ActionError(code=error_code, message="It did not work.", retryable=retryable) if error_code else None
        finished = _FINISHED[request.owner](
            effect_key=request.effect_key,
            action=request.action,
            run_id=request.run_id,
            step_id=request.step_id,
            outcome=outcome,
            error=error,
        )
        for _ in range(times):
            await self.deliver(Said(uuid4(), finished))

    async def pass_time(self, duration: timedelta) -> None:
        end = self.now + duration
        while (due := await self._next_timer(end)) is not None:
            self.now = due
            await self._fire()
        self.now = end
        await self._fire()

    async def _fire(self) -> None:
        while await fire_due(self.work, self.published) >= CLAIM:
            pass
        await self.redrive.due()

    async def _next_timer(self, end: datetime) -> datetime | None:
        sql = "SELECT min(due_at) FROM timer WHERE practice_id = $1 AND NOT held AND due_at > $2 AND due_at <= $3"
        async with self.work.batch([], SYSTEM) as tx:
            due: datetime | None = await tx.value(sql, self.practice, self.now, end)
            return due

    async def suspend(self, *, suspended: bool = True) -> None:
        self._access_version += 1
        news = PracticeAccessChanged(changed_practice_id=self.practice, suspended=suspended, origins=[], version=self._access_version)
        await self.deliver(Said(uuid4(), news))
        await self.pass_time(timedelta())

    async def cancel(self, run_id: UUID) -> None:
        async with self.work(self.admin) as tx:
            await cancel_run(run_id, self.published, tx)

    async def pause(self, run_id: UUID) -> None:
        async with self.work(self.admin) as tx:
            await pause_run(run_id, self.published, tx)

    async def resume(self, run_id: UUID) -> None:
        async with self.work(self.admin) as tx:
            await resume_run(run_id, self.published, tx)
        await self._fire()

    async def retry(self, run_id: UUID) -> None:
        async with self.work(self.admin) as tx:
            await retry_run(run_id, self.published, tx)

    async def resolve(self, run_id: UUID, step_id: str, outcome: str, note: str | None = None) -> None:
        async with self.work(self.admin) as tx:
            said = ResolveStep.model_validate({"outcome": outcome, "note": note})
            await resolve_step(run_id, step_id, said, self.published, tx)

    async def suppress(self, patient_id: UUID) -> None:
        async with self.work(self.admin) as tx:
            await suppress_patient(patient_id, SuppressPatient(reason="asked for it"), self.published, tx)

    async def admit(self, patient_id: UUID) -> None:
        async with self.work(self.admin) as tx:
            await admit_patient(patient_id, tx)

    async def restart(self, away: timedelta = timedelta()) -> None:
        self._start()
        if away:
            self.now += away
            await self._fire()

    async def requests(self) -> list[ActionRequest]:
        return [message for message in await self._outbox() if isinstance(message, ActionRequest)]

    async def said(self, message_type: type[Message]) -> list[Message]:
        return [message for message in await self._outbox() if isinstance(message, message_type)]

    async def _outbox(self) -> list[Message]:
        async with self.work(self.admin) as tx:
            rows = await tx.rows("SELECT type, payload FROM outbox WHERE practice_id = $1 ORDER BY seq", self.practice)
        return [MESSAGES[row["type"]].model_validate(row["payload"]) for row in rows]

    async def runs(self) -> list[RunRecord]:
        async with self.work(self.admin) as tx:
            found = await runs(tx, after=None, limit=1000)
            return [
                RunRecord(
                    row["id"], row["workflow_id"], row["version"], row["status"], row["error_code"],
                    tuple((step["step_id"], step["status"]) for step in await steps_of(row["id"], tx)),
                )
                for row in reversed(found)
            ]  # fmt: skip

    async def parked(self) -> list[str]:
        """Why messages of this practice wait."""
        async with self.work(self.admin) as tx:
            rows = await tx.rows("SELECT code FROM parked WHERE practice_id = $1 AND state = 'parked' ORDER BY seq", self.practice)
        return [row["code"] for row in rows]
