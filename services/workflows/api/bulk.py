"""Over HTTP: many runs at once, what failed alike, and the jobs that do it."""

from __future__ import annotations

from collections.abc import Callable
from uuid import UUID

from fastapi import Response

from libs.common.auth import Permission
from libs.common.http import CursorQuery, DoorDep, LimitQuery, Page, Routes, needs
from services.workflows.commands.bulk import BulkPreview, BulkRuns, FailuresList, list_failures, open_bulk, preview_bulk
from services.workflows.commands.jobs import JobView, show_job, stop_job
from services.workflows.queries.jobs import jobs


def bulk_routes(wake: Callable[[], None]) -> Routes:
    router = Routes(prefix="/v1/runs", tags=["runs"])

    @router.get("/failures", response_model=FailuresList, **needs(Permission.RUNS_READ))
    async def failed(door: DoorDep, workflow_id: UUID | None = None) -> Response:
        """Failed runs in groups that failed alike: the same workflow, step and code. Those run again since are left out."""
        async with door.work() as tx:
            return await door.answer(tx, await list_failures(workflow_id, tx))

    @router.post("/bulk/preview", response_model=BulkPreview, **needs(Permission.RUNS_WRITE))
    async def preview(cmd: BulkRuns, door: DoorDep) -> Response:
        """How many runs it would be about, and the first ten. Practice admins only; nothing happens."""
        async with door.work() as tx:
            return await door.answer(tx, await preview_bulk(cmd, tx))

    @router.post("/bulk", status_code=201, response_model=JobView, **needs(Permission.RUNS_WRITE))
    async def begin(cmd: BulkRuns, door: DoorDep) -> Response:
        """Cancel, retry, run again, pause or resume many runs, as a job with progress. Practice admins only."""
        async with door.work() as tx:
            job = await open_bulk(cmd, tx)
            tx.after_commit(wake)
            return await door.answer(tx, job, status=201)

    @router.get("/jobs", response_model=Page[JobView], **needs(Permission.RUNS_READ))
    async def list_page(door: DoorDep, limit: LimitQuery = 50, cursor: CursorQuery = None) -> Page[JobView]:
        """List jobs over many runs or patients, newest first."""
        async with door.work() as tx:
            views = [JobView.of(row) for row in await jobs(tx, after=door.position(cursor), limit=limit)]
            return door.page(views, limit, lambda view: (view.created_at.isoformat(), view.id))

    @router.get("/jobs/{job_id}", response_model=JobView, **needs(Permission.RUNS_READ))
    async def show(job_id: UUID, door: DoorDep) -> Response:
        """How far a job is."""
        async with door.work() as tx:
            return await door.answer(tx, await show_job(job_id, tx))

    @router.post("/jobs/{job_id}/cancel", response_model=JobView, **needs(Permission.RUNS_WRITE))
    async def stop(job_id: UUID, door: DoorDep) -> Response:
        """Do no more of a job. Practice admins only; what was done stays."""
        async with door.work() as tx:
            return await door.answer(tx, await stop_job(job_id, tx))

    return router
