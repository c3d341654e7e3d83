"""Over HTTP: runs."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from fastapi import Response
from pydantic import BaseModel

from libs.common.auth import Permission
from libs.common.http import CursorQuery, DoorDep, LimitQuery, Page, Routes, needs
from services.workflows.commands.controls import cancel_run
from services.workflows.commands.published import PublishedWorkflows
from services.workflows.commands.runs import RunNotFound
from services.workflows.queries.runs import run_by_id, runs, steps_of
from services.workflows.rules.states import Status


class RunView(BaseModel):
    """A run. Times are UTC."""

    id: UUID
    workflow_id: UUID
    workflow_name: str
    version: int
    trigger_event_id: UUID
    trigger_type: str
    patient_id: UUID | None
    appointment_id: UUID | None
    status: str
    error_code: str | None
    correlation_id: str
    started_at: datetime
    finished_at: datetime | None


class StepView(BaseModel):
    step_id: str
    kind: str
    status: str
    action: str | None
    effect_key: UUID | None
    due_at: datetime | None
    error_code: str | None
    started_at: datetime
    finished_at: datetime | None


class RunDetail(RunView):
    steps: list[StepView]


def run_routes(published: PublishedWorkflows) -> Routes:
    router = Routes(prefix="/v1", tags=["runs"])

    @router.get("/runs", response_model=Page[RunView], **needs(Permission.RUNS_READ))
    async def list_page(
        door: DoorDep,
        workflow_id: UUID | None = None,
        patient_id: UUID | None = None,
        status: Status | None = None,
        limit: LimitQuery = 50,
        cursor: CursorQuery = None,
    ) -> Page[RunView]:
        """List runs, newest first."""
        async with door.work() as tx:
            found = await runs(tx, workflow_id=workflow_id, patient_id=patient_id, status=status, after=door.position(cursor), limit=limit)
            views = [RunView.model_validate(dict(row)) for row in found]
            return door.page(views, limit, lambda view: (view.started_at.isoformat(), view.id))

    @router.get("/runs/{run_id}", response_model=RunDetail, **needs(Permission.RUNS_READ))
    async def show(run_id: UUID, door: DoorDep) -> Response:
        """Show a run and its steps."""
        async with door.work() as tx:
            row = await run_by_id(run_id, tx)
            if row is None:
                raise RunNotFound
            steps = [StepView.model_validate(dict(step)) for step in await steps_of(run_id, tx)]
            return await door.answer(tx, RunDetail(**RunView.model_validate(dict(row)).model_dump(), steps=steps))

    @router.post("/runs/{run_id}/cancel", status_code=204, **needs(Permission.RUNS_WRITE))
    async def cancel(run_id: UUID, door: DoorDep) -> Response:
        """Stop a run. Practice admins only; what was asked for already is not taken back."""
        async with door.work() as tx:
            await cancel_run(run_id, published, tx)
            return await door.answer(tx, status=204)

    return router
