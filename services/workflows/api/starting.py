"""Over HTTP: starting runs by hand, pausing a whole workflow, and who goes through none."""

from __future__ import annotations

from collections.abc import Callable
from uuid import UUID

from fastapi import Response

from libs.common.auth import Permission
from libs.common.http import CursorQuery, DoorDep, LimitQuery, Page, Routes, needs
from services.workflows.commands.manual import FilterPreview, PreviewFilter, Requested, RequestRun, preview_filter, request_run
from services.workflows.commands.pausing import Backlog, backlog, pause_workflow, resume_workflow
from services.workflows.commands.published import PublishedWorkflows
from services.workflows.commands.suppression import Suppression, SuppressPatient, admit_patient, suppress_patient
from services.workflows.queries.operations import suppressions
from services.workflows.rules.expressions.engines import Engine


def starting_routes(engine: Engine, published: PublishedWorkflows, wake: Callable[[], None]) -> Routes:
    router = Routes(prefix="/v1/workflows", tags=["workflows"])

    @router.post("/{workflow_id}/runs", status_code=201, response_model=Requested, **needs(Permission.RUNS_WRITE))
    async def start(workflow_id: UUID, cmd: RequestRun, door: DoorDep) -> Response:
        """Start a workflow by hand, for one patient or for all that a filter finds. Practice admins only.

        For one patient the answer names the run, or says why there is none. For a filter it is a job with progress.
        """
        async with door.work() as tx:
            came = await request_run(workflow_id, cmd, engine, published, tx)
            tx.after_commit(wake)
            return await door.answer(tx, came, status=201)

    @router.post("/{workflow_id}/runs/preview", response_model=FilterPreview, **needs(Permission.RUNS_WRITE))
    async def preview(workflow_id: UUID, cmd: PreviewFilter, door: DoorDep) -> Response:
        """How many patients a filter finds now, and the first ten. Practice admins only; nothing happens."""
        async with door.work() as tx:
            return await door.answer(tx, await preview_filter(workflow_id, cmd, engine, tx))

    @router.post("/{workflow_id}/pause", response_model=Backlog, **needs(Permission.RUNS_WRITE))
    async def pause(workflow_id: UUID, door: DoorDep) -> Response:
        """Hold a whole workflow. Practice admins only; its runs stand still, new ones begin held, nothing is lost."""
        async with door.work() as tx:
            return await door.answer(tx, await pause_workflow(workflow_id, tx))

    @router.post("/{workflow_id}/resume", response_model=Backlog, **needs(Permission.RUNS_WRITE))
    async def resume(workflow_id: UUID, door: DoorDep) -> Response:
        """Let a workflow go on. Practice admins only; held runs are let go in chunks, by what their steps say of times that are over."""
        async with door.work() as tx:
            found = await resume_workflow(workflow_id, tx)
            tx.after_commit(wake)
            return await door.answer(tx, found)

    @router.get("/{workflow_id}/backlog", response_model=Backlog, **needs(Permission.WORKFLOWS_READ))
    async def held(workflow_id: UUID, door: DoorDep) -> Response:
        """Whether a workflow is paused, how many runs it holds, and since when the oldest waits."""
        async with door.work() as tx:
            return await door.answer(tx, await backlog(workflow_id, tx))

    return router


def suppression_routes(published: PublishedWorkflows) -> Routes:
    router = Routes(prefix="/v1/workflows/suppressions", tags=["workflows"])

    @router.get("", response_model=Page[Suppression], **needs(Permission.WORKFLOWS_READ))
    async def list_page(door: DoorDep, limit: LimitQuery = 50, cursor: CursorQuery = None) -> Page[Suppression]:
        """List the patients who go through no workflow."""
        async with door.work() as tx:
            found = await suppressions(tx, after=door.position(cursor), limit=limit)
            return door.page([Suppression.model_validate(dict(row)) for row in found], limit, lambda view: (view.patient_id,))

    @router.put("/{patient_id}", response_model=Suppression, **needs(Permission.WORKFLOWS_WRITE))
    async def suppress(patient_id: UUID, cmd: SuppressPatient, door: DoorDep) -> Response:
        """Nothing more happens for a patient: no workflow starts, runs in flight end as `suppressed`. Practice admins only."""
        async with door.work() as tx:
            return await door.answer(tx, await suppress_patient(patient_id, cmd, published, tx))

    @router.delete("/{patient_id}", status_code=204, **needs(Permission.WORKFLOWS_WRITE))
    async def admit(patient_id: UUID, door: DoorDep) -> Response:
        """Take a patient off the list; runs that ended stay ended. Practice admins only."""
        async with door.work() as tx:
            await admit_patient(patient_id, tx)
            return await door.answer(tx, status=204)

    return router
