"""Over HTTP: runs."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated
from uuid import UUID

from fastapi import Path, Query, Response
from pydantic import BaseModel, Field

from libs.common.auth import Permission
from libs.common.command import Command
from libs.common.http import CursorQuery, DoorDep, LimitQuery, Page, Routes, needs
from services.workflows.commands.controls import cancel_run, pause_run, resume_run, retry_run
from services.workflows.commands.published import PublishedWorkflows
from services.workflows.commands.reruns import rerun_run
from services.workflows.commands.resolving import ResolveStep, resolve_step
from services.workflows.commands.showing import RunDetail, RunView, show_run
from services.workflows.queries.runs import runs, unknown_effects
from services.workflows.queries.silent import everything_stuck
from services.workflows.rules.definitions.steps import STEP_ID
from services.workflows.rules.runs.states import Status

StepName = Annotated[str, Path(pattern=STEP_ID, description="The step, as the definition names it.")]
Word = Annotated[str | None, Query(max_length=200)]


class StuckCause(BaseModel):
    """One cause why somebody has to look at a run; without ``run_id`` at a schedule, whose turn ``keeps_failing``."""

    run_id: UUID | None
    workflow_id: UUID
    workflow_name: str
    version: int
    step_id: str | None
    code: str
    since: datetime
    raised_at: datetime

    @property
    def place(self) -> str:
        """Among those raised at one moment, as ``everything_stuck`` has it."""
        return "/".join(str(one) for one in (self.workflow_id, self.run_id, self.step_id, self.code) if one is not None)


class UnknownEffect(BaseModel):
    """A step whose outcome nobody knows. ``since`` is when it was asked for; by ``effect_key`` the other side knows it."""

    run_id: UUID
    workflow_id: UUID
    workflow_name: str
    version: int
    patient_id: UUID | None
    run_status: str
    step_id: str
    action: str | None
    effect_key: UUID | None
    attempt: int
    error_code: str | None
    since: datetime


class RerunRun(Command):
    """Which version to take; without one, that in force."""

    version: int | None = Field(default=None, ge=1, le=2**31 - 1)


class Rerun(BaseModel):
    run_id: UUID


def run_routes() -> Routes:
    """Looking at runs."""
    router = Routes(prefix="/v1", tags=["runs"])

    @router.get("/runs", response_model=Page[RunView], **needs(Permission.RUNS_READ))
    async def list_page(
        door: DoorDep,
        workflow_id: UUID | None = None,
        patient_id: UUID | None = None,
        status: Status | None = None,
        error_code: Word = None,
        failed_step: Word = None,
        trigger: Annotated[str | None, Query(max_length=200, description="The event type that started it.")] = None,
        stuck: Annotated[bool | None, Query(description="Those somebody has to look at, or the others.")] = None,
        limit: LimitQuery = 50,
        cursor: CursorQuery = None,
    ) -> Page[RunView]:
        """List runs, newest first."""
        wanted = {
            "workflow_id": workflow_id, "patient_id": patient_id, "status": status, "error_code": error_code, "failed_step": failed_step,
            "trigger": trigger, "stuck": stuck,
        }  # fmt: skip
        async with door.work() as tx:
            found = await runs(tx, **wanted, after=door.position(cursor), limit=limit)
            views = [RunView.model_validate(dict(row)) for row in found]
            return door.page(views, limit, lambda view: (view.started_at.isoformat(), view.id))

    _to_look_at(router)

    @router.get("/runs/{run_id}", response_model=RunDetail, **needs(Permission.RUNS_READ))
    async def show(run_id: UUID, door: DoorDep) -> Response:
        """Show a run and its steps, with what went in and came out. The reading is recorded."""
        async with door.work() as tx:
            return await door.answer(tx, await show_run(run_id, tx))

    return router


def _to_look_at(router: Routes) -> None:
    """Before the routes that take an id: these words are none."""

    @router.get("/runs/stuck", response_model=Page[StuckCause], **needs(Permission.RUNS_READ))
    async def stuck(door: DoorDep, limit: LimitQuery = 50, cursor: CursorQuery = None) -> Page[StuckCause]:
        """List what somebody has to look at, runs and schedules, and why; the oldest first. It leaves the list when the cause is gone."""
        async with door.work() as tx:
            found = await everything_stuck(tx, after=door.position(cursor), limit=limit)
            views = [StuckCause.model_validate(dict(row)) for row in found]
            return door.page(views, limit, lambda view: (view.raised_at.isoformat(), view.place))

    @router.get("/runs/unknown-effects", response_model=Page[UnknownEffect], **needs(Permission.RUNS_READ))
    async def unknown(door: DoorDep, limit: LimitQuery = 50, cursor: CursorQuery = None) -> Page[UnknownEffect]:
        """List what was asked for and never answered for: steps whose outcome is unknown, the oldest first."""
        async with door.work() as tx:
            found = await unknown_effects(tx, after=door.position(cursor), limit=limit)
            views = [UnknownEffect.model_validate(dict(row)) for row in found]
            return door.page(views, limit, lambda view: (view.since.isoformat(), view.run_id, view.step_id))


def steering_routes(published: PublishedWorkflows) -> Routes:
    """What people do to a run."""
    router = Routes(prefix="/v1", tags=["runs"])

    @router.post("/runs/{run_id}/cancel", status_code=204, **needs(Permission.RUNS_WRITE))
    async def cancel(run_id: UUID, door: DoorDep) -> Response:
        """Stop a run. Practice admins only; what was asked for already is not taken back. Repeating changes nothing."""
        async with door.work() as tx:
            await cancel_run(run_id, published, tx)
            return await door.answer(tx, status=204)

    @router.post("/runs/{run_id}/pause", status_code=204, **needs(Permission.RUNS_WRITE))
    async def pause(run_id: UUID, door: DoorDep) -> Response:
        """Begin nothing more of a run until it is resumed. Practice admins only; answers still count."""
        async with door.work() as tx:
            await pause_run(run_id, published, tx)
            return await door.answer(tx, status=204)

    @router.post("/runs/{run_id}/resume", status_code=204, **needs(Permission.RUNS_WRITE))
    async def resume(run_id: UUID, door: DoorDep) -> Response:
        """Let a paused run go on. Practice admins only; a time that passed meanwhile counts as past due."""
        async with door.work() as tx:
            await resume_run(run_id, published, tx)
            return await door.answer(tx, status=204)

    @router.post("/runs/{run_id}/retry", status_code=204, **needs(Permission.RUNS_WRITE))
    async def retry(run_id: UUID, door: DoorDep) -> Response:
        """Try the step a run failed at again, as a new attempt. Practice admins only."""
        async with door.work() as tx:
            await retry_run(run_id, published, tx)
            return await door.answer(tx, status=204)

    @router.post("/runs/{run_id}/steps/{step_id}/resolve", status_code=204, **needs(Permission.RUNS_WRITE))
    async def resolve(run_id: UUID, step_id: StepName, cmd: ResolveStep, door: DoorDep) -> Response:
        """Say what became of a step whose outcome is unknown. Practice admins only; it counts for good. Repeating changes nothing."""
        async with door.work() as tx:
            await resolve_step(run_id, step_id, cmd, published, tx)
            return await door.answer(tx, status=204)

    @router.post("/runs/{run_id}/rerun", status_code=201, response_model=Rerun, **needs(Permission.RUNS_WRITE))
    async def rerun(run_id: UUID, cmd: RerunRun, door: DoorDep) -> Response:
        """Run again from what started the run, on the version in force or a chosen one. Practice admins only; its effects are new ones."""
        async with door.work() as tx:
            return await door.answer(tx, Rerun(run_id=await rerun_run(run_id, cmd.version, published, tx)), status=201)

    return router
