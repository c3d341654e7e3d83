"""The HTTP door of workflows: definitions, runs, the action catalogue."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID

from fastapi import Response
from pydantic import BaseModel

from libs.common.auth import Permission
from libs.common.http import CursorQuery, DoorDep, IfMatch, LimitQuery, Page, Routes, needs
from services.workflows.commands.definitions import (
    SaveWorkflow,
    Validation,
    WorkflowView,
    create_workflow,
    edit_workflow,
    publish_workflow,
    show_workflow,
    unpublish_workflow,
    validate_workflow,
)
from services.workflows.commands.published import PublishedWorkflows
from services.workflows.commands.runs import RunNotFound, cancel_run
from services.workflows.queries import catalogue, run_by_id, runs, steps_of, workflows
from services.workflows.rules.interpreter import Status


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


def definition_routes() -> Routes:
    router = Routes(prefix="/v1/workflows", tags=["workflows"])

    @router.post("", status_code=201, response_model=WorkflowView, **needs(Permission.WORKFLOWS_WRITE))
    async def create(cmd: SaveWorkflow, door: DoorDep) -> Response:
        """Save a new draft. Practice admins only; expressions are checked against the event's fields."""
        async with door.work() as tx:
            view = await create_workflow(cmd, tx)
            return await door.answer(tx, view, status=201, headers={"ETag": f'"{view.version}"'})

    @router.get("", response_model=Page[WorkflowView], **needs(Permission.WORKFLOWS_READ))
    async def list_page(door: DoorDep, limit: LimitQuery = 50, cursor: CursorQuery = None) -> Page[WorkflowView]:
        """List workflows by name."""
        async with door.work() as tx:
            views = [WorkflowView.of(workflow) for workflow in await workflows(tx, after=door.position(cursor), limit=limit)]
            return door.page(views, limit, lambda view: (view.name, view.id))

    @router.get("/{workflow_id}", response_model=WorkflowView, **needs(Permission.WORKFLOWS_READ))
    async def show(workflow_id: UUID, door: DoorDep) -> Response:
        """Show a workflow: its draft, and which version is in force."""
        async with door.work() as tx:
            view = await show_workflow(workflow_id, tx)
            return await door.answer(tx, view, headers={"ETag": f'"{view.version}"'})

    @router.put("/{workflow_id}", response_model=WorkflowView, **needs(Permission.WORKFLOWS_WRITE))
    async def edit(workflow_id: UUID, cmd: SaveWorkflow, door: DoorDep, if_match: IfMatch) -> Response:
        """Replace the draft. Practice admins only; what is published stays in force."""
        async with door.work() as tx:
            view = await edit_workflow(workflow_id, cmd, tx, if_version=if_match)
            return await door.answer(tx, view, headers={"ETag": f'"{view.version}"'})

    @router.post("/{workflow_id}/validate", response_model=Validation, **needs(Permission.WORKFLOWS_READ))
    async def validate(workflow_id: UUID, door: DoorDep) -> Response:
        """Everything that would stop the draft from being published."""
        async with door.work() as tx:
            return await door.answer(tx, await validate_workflow(workflow_id, tx))

    @router.post("/{workflow_id}/publish", response_model=WorkflowView, **needs(Permission.WORKFLOWS_WRITE))
    async def publish(workflow_id: UUID, door: DoorDep) -> Response:
        """Put the draft in force. Practice admins only."""
        async with door.work() as tx:
            return await door.answer(tx, await publish_workflow(workflow_id, tx))

    @router.post("/{workflow_id}/unpublish", response_model=WorkflowView, **needs(Permission.WORKFLOWS_WRITE))
    async def unpublish(workflow_id: UUID, door: DoorDep) -> Response:
        """Start no new runs. Practice admins only; runs in flight go on."""
        async with door.work() as tx:
            return await door.answer(tx, await unpublish_workflow(workflow_id, tx))

    return router


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

    @router.get("/actions", response_model=dict[str, Any], **needs(Permission.WORKFLOWS_READ))
    async def actions(door: DoorDep) -> Response:
        """The actions steps may use, with the JSON Schema of their parameters."""
        async with door.work() as tx:
            return await door.answer(tx, {"items": list((await catalogue(tx)).values())})

    return router
