"""Over HTTP: definitions, from draft to published, and the actions they may use."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from fastapi import Response

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
from services.workflows.queries.definitions import catalogue, workflows


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


def action_routes() -> Routes:
    router = Routes(prefix="/v1", tags=["runs"])

    @router.get("/actions", response_model=dict[str, Any], **needs(Permission.WORKFLOWS_READ))
    async def actions(door: DoorDep) -> Response:
        """The actions steps may use, with the JSON Schema of their parameters."""
        async with door.work() as tx:
            return await door.answer(tx, {"items": list((await catalogue(tx)).values())})

    return router
