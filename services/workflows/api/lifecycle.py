"""Over HTTP: what becomes of a workflow beside its draft: copies, the archive, its history."""

from __future__ import annotations

from typing import Annotated
from uuid import UUID

from fastapi import Path, Query, Response

from libs.common.auth import Permission
from libs.common.http import CursorQuery, DoorDep, IfMatch, LimitQuery, Page, Routes, needs
from services.workflows.api.definitions import etag
from services.workflows.commands.definitions import WorkflowView
from services.workflows.commands.lifecycle import (
    Comparison,
    DuplicateWorkflow,
    RevertWorkflow,
    VersionDetail,
    VersionView,
    archive_workflow,
    compare,
    duplicate_workflow,
    history,
    restore_workflow,
    revert_workflow,
    show_version,
)

Version = Annotated[int, Path(ge=1, le=2**31 - 1)]
_SIDE = r"^(draft|[1-9][0-9]{0,8})$"
Earlier = Annotated[str | None, Query(alias="from", pattern=_SIDE, description="`draft` or a version; what is in force without.")]
Later = Annotated[str, Query(alias="to", pattern=_SIDE, description="`draft` or a version.")]


def lifecycle_routes() -> Routes:
    router = Routes(prefix="/v1/workflows/{workflow_id}", tags=["workflows"])

    @router.post("/duplicate", status_code=201, response_model=WorkflowView, **needs(Permission.WORKFLOWS_WRITE))
    async def duplicate(workflow_id: UUID, door: DoorDep, cmd: DuplicateWorkflow | None = None) -> Response:
        """Copy the draft to a new workflow. Practice admins only."""
        async with door.work() as tx:
            view = await duplicate_workflow(workflow_id, cmd or DuplicateWorkflow(), tx)
            return await door.answer(tx, view, status=201, headers=etag(view))

    @router.post("/archive", response_model=WorkflowView, **needs(Permission.WORKFLOWS_WRITE))
    async def archive(workflow_id: UUID, door: DoorDep, if_match: IfMatch) -> Response:
        """Put away: unpublished, not to be edited or published. Practice admins only; runs in flight go on."""
        async with door.work() as tx:
            return await door.answer(tx, await archive_workflow(workflow_id, tx, if_version=if_match))

    @router.post("/restore", response_model=WorkflowView, **needs(Permission.WORKFLOWS_WRITE))
    async def restore(workflow_id: UUID, door: DoorDep) -> Response:
        """Take out of the archive, as a draft. Practice admins only."""
        async with door.work() as tx:
            return await door.answer(tx, await restore_workflow(workflow_id, tx))

    @router.post("/revert", response_model=WorkflowView, **needs(Permission.WORKFLOWS_WRITE))
    async def revert(workflow_id: UUID, cmd: RevertWorkflow, door: DoorDep, if_match: IfMatch) -> Response:
        """Make a published version the draft again. Practice admins only; what is in force stays."""
        async with door.work() as tx:
            view = await revert_workflow(workflow_id, cmd, tx, if_version=if_match)
            return await door.answer(tx, view, headers=etag(view))

    @router.get("/versions", response_model=Page[VersionView], **needs(Permission.WORKFLOWS_READ))
    async def versions(workflow_id: UUID, door: DoorDep, limit: LimitQuery = 50, cursor: CursorQuery = None) -> Page[VersionView]:
        """List what was published, by whom and why, newest first."""
        async with door.work() as tx:
            after = door.position(cursor)
            found = await history(workflow_id, tx, before=int(after[0]) if after else None, limit=limit)
            return door.page(found, limit, lambda version: (version.version,))

    @router.get("/versions/{version}", response_model=VersionDetail, **needs(Permission.WORKFLOWS_READ))
    async def version(workflow_id: UUID, version: Version, door: DoorDep) -> Response:
        """Show a version as it was published; it never changes."""
        async with door.work() as tx:
            return await door.answer(tx, await show_version(workflow_id, version, tx))

    @router.get("/diff", response_model=Comparison, **needs(Permission.WORKFLOWS_READ))
    async def diff(workflow_id: UUID, door: DoorDep, earlier: Earlier = None, later: Later = "draft") -> Response:
        """What is different between two versions, or the draft, by JSON pointer; steps are matched by id."""
        async with door.work() as tx:
            return await door.answer(tx, await compare(workflow_id, earlier, later, tx))

    return router
