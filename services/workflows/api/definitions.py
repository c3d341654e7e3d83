"""Over HTTP: definitions, from draft to published, and the actions they may use."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any
from uuid import UUID

from fastapi import Query, Response

from libs.common.auth import Permission
from libs.common.http import CursorQuery, DoorDep, IfMatch, LimitQuery, Page, Routes, needs
from libs.common.paging import CursorInvalid
from services.workflows.adapters.trial import Trial
from services.workflows.commands.checks import Validation, refuse
from services.workflows.commands.definitions import (
    PublishedView,
    PublishWorkflow,
    SaveWorkflow,
    WorkflowView,
    create_workflow,
    edit_workflow,
    publish_workflow,
    show_workflow,
    unpublish_workflow,
    validate_workflow,
)
from services.workflows.commands.listing import WorkflowOverview, list_workflows
from services.workflows.model import WorkflowStatus
from services.workflows.queries.definitions import catalogue
from services.workflows.queries.overview import Order, TriggerKind, Wanted

SearchQuery = Annotated[str | None, Query(min_length=1, max_length=100, description="A part of the name.")]
ActionQuery = Annotated[str | None, Query(min_length=1, max_length=100, description="An action that one of its steps asks for.")]


def etag(view: WorkflowView) -> dict[str, str]:
    """The version of the draft, for If-Match."""
    return {"ETag": f'"{view.version}"'}


def definition_routes(trial: Trial, wake: Callable[[], None]) -> Routes:
    """What is saved is tried out first, in a process of its own: no expression that was not evaluated there is evaluated here."""
    router = Routes(prefix="/v1/workflows", tags=["workflows"])

    @router.post("", status_code=201, response_model=WorkflowView, **needs(Permission.WORKFLOWS_WRITE))
    async def create(cmd: SaveWorkflow, door: DoorDep) -> Response:
        """Save a new draft. Practice admins only; expressions are checked against the event's fields."""
        refuse(await trial.findings(cmd.definition))
        async with door.work() as tx:
            view = await create_workflow(cmd, tx)
            return await door.answer(tx, view, status=201, headers=etag(view))

    @router.get("", response_model=Page[WorkflowOverview], **needs(Permission.WORKFLOWS_READ))
    async def list_page(
        door: DoorDep,
        status: WorkflowStatus | None = None,
        trigger: TriggerKind | None = None,
        action: ActionQuery = None,
        search: SearchQuery = None,
        sort: Order = Order.NAME,
        limit: LimitQuery = 50,
        cursor: CursorQuery = None,
    ) -> Page[WorkflowOverview]:
        """List workflows with how their runs went, by name unless `sort` says otherwise."""
        after = door.position(cursor)
        if after is not None and after[0] != sort:
            raise CursorInvalid(pointer="/cursor")
        async with door.work() as tx:
            wanted = Wanted(status, trigger, action, search)
            found = await list_workflows(tx, wanted, sort, after=after[1:] if after else None, limit=limit)
            page = door.page(found, limit, lambda one: (sort, one[0], one[1].id))
            return Page(items=[view for _, view in page.items], next_cursor=page.next_cursor)

    @router.get("/{workflow_id}", response_model=WorkflowView, **needs(Permission.WORKFLOWS_READ))
    async def show(workflow_id: UUID, door: DoorDep) -> Response:
        """Show a workflow: its draft, and which version is in force."""
        async with door.work() as tx:
            view = await show_workflow(workflow_id, tx)
            return await door.answer(tx, view, headers=etag(view))

    @router.put("/{workflow_id}", response_model=WorkflowView, **needs(Permission.WORKFLOWS_WRITE))
    async def edit(workflow_id: UUID, cmd: SaveWorkflow, door: DoorDep, if_match: IfMatch) -> Response:
        """Replace the draft. Practice admins only; what is published stays in force."""
        refuse(await trial.findings(cmd.definition))
        async with door.work() as tx:
            view = await edit_workflow(workflow_id, cmd, tx, if_version=if_match)
            return await door.answer(tx, view, headers=etag(view))

    _publishing(router, wake)
    return router


def _publishing(router: Routes, wake: Callable[[], None]) -> None:
    @router.post("/{workflow_id}/validate", response_model=Validation, **needs(Permission.WORKFLOWS_READ))
    async def validate(workflow_id: UUID, door: DoorDep) -> Response:
        """Everything that would stop the draft from being published, and what may be meant otherwise."""
        async with door.work() as tx:
            return await door.answer(tx, await validate_workflow(workflow_id, tx))

    @router.post("/{workflow_id}/publish", response_model=PublishedView, **needs(Permission.WORKFLOWS_WRITE))
    async def publish(workflow_id: UUID, door: DoorDep, if_match: IfMatch, cmd: PublishWorkflow | None = None) -> Response:
        """Put the draft in force. Practice admins only. With `If-Match`, 409 when the draft is not the one that was looked at.

        A workflow that runs before or after appointments takes up those that are booked already, as a job with progress, unless
        `include_existing` is false; `validate` says how many.
        """
        async with door.work() as tx:
            view = await publish_workflow(workflow_id, tx, cmd, if_version=if_match)
            tx.after_commit(wake)
            return await door.answer(tx, view, headers=etag(view))

    @router.post("/{workflow_id}/unpublish", response_model=WorkflowView, **needs(Permission.WORKFLOWS_WRITE))
    async def unpublish(workflow_id: UUID, door: DoorDep) -> Response:
        """Start no new runs. Practice admins only; runs in flight go on."""
        async with door.work() as tx:
            return await door.answer(tx, await unpublish_workflow(workflow_id, tx))


def action_routes() -> Routes:
    router = Routes(prefix="/v1", tags=["runs"])

    @router.get("/actions", response_model=dict[str, Any], **needs(Permission.WORKFLOWS_READ))
    async def actions(door: DoorDep) -> Response:
        """The actions steps may use, with the JSON Schema of their parameters."""
        async with door.work() as tx:
            return await door.answer(tx, {"items": list((await catalogue(tx)).values())})

    return router
