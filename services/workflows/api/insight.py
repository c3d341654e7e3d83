"""Over HTTP: why and why not, dry runs, backtests. Admins only: all of it shows what is known of patients."""

from __future__ import annotations

from typing import Annotated
from uuid import UUID

from fastapi import Query, Response
from pydantic import AwareDatetime

from libs.common.auth import Permission
from libs.common.http import CursorQuery, DoorDep, LimitQuery, Page, Routes, needs
from services.workflows.commands.backtest import (
    AskForBacktest,
    BacktestView,
    ask_for_backtest,
    cancel_backtest,
    list_backtests,
    show_backtest,
)
from services.workflows.commands.dry_run import DryRun, DryRunView, dry_run
from services.workflows.commands.explain import About, explain
from services.workflows.commands.explained import Explanation
from services.workflows.commands.published import PublishedWorkflows
from services.workflows.rules.expressions.engines import Engine

FewQuery = Annotated[int, Query(ge=1, le=20, description="Events per page.")]
FromQuery = Annotated[AwareDatetime | None, Query(alias="from", description="Events handled from then on.")]
ToQuery = Annotated[AwareDatetime | None, Query(alias="to", description="Events handled before; at most 40 days behind `from`.")]


def explanation_routes(published: PublishedWorkflows) -> Routes:
    """To be added before the routes of definitions, whose ids would take its name."""
    router = Routes(prefix="/v1/workflows", tags=["insight"])

    @router.get("/explanations", response_model=Page[Explanation], **needs(Permission.EXPLANATIONS_READ))
    async def explanations(
        door: DoorDep,
        patient_id: UUID | None = None,
        event_id: UUID | None = None,
        run_id: UUID | None = None,
        since: FromQuery = None,
        until: ToQuery = None,
        limit: FewQuery = 10,
        cursor: CursorQuery = None,
    ) -> Page[Explanation]:
        """Why workflows started and why not, why runs went on, wait or ended: event by event. Practice admins only; kept 40 days."""
        about = About(patient_id, event_id, run_id)
        async with door.work() as tx:
            found = await explain(published, tx, about, span=(since, until), after=door.position(cursor), limit=limit)
            return door.page(found, limit, lambda one: (one.recorded_at.isoformat(), one.event_id))

    return router


def insight_routes(engine: Engine) -> Routes:
    router = Routes(prefix="/v1/workflows", tags=["insight"])

    @router.post("/{workflow_id}/dry-run", response_model=DryRunView, **needs(Permission.WORKFLOWS_WRITE))
    async def try_it(workflow_id: UUID, cmd: DryRun, door: DoorDep) -> Response:
        """Try the draft or a version on one event, under a virtual clock. Practice admins only; nothing is performed or kept."""
        async with door.work() as tx:
            return await door.answer(tx, await dry_run(workflow_id, cmd, engine, tx))

    @router.post("/{workflow_id}/backtests", status_code=202, response_model=BacktestView, **needs(Permission.WORKFLOWS_WRITE))
    async def ask(workflow_id: UUID, cmd: AskForBacktest, door: DoorDep) -> Response:
        """Try the draft on the events of the last days, beside a published version. Practice admins only; one at a time per practice."""
        async with door.work() as tx:
            view = await ask_for_backtest(workflow_id, cmd, engine, tx)
            return await door.answer(tx, view, status=202, headers={"Location": f"/v1/backtests/{view.id}"})

    @router.get("/{workflow_id}/backtests", response_model=Page[BacktestView], **needs(Permission.WORKFLOWS_WRITE))
    async def list_page(workflow_id: UUID, door: DoorDep, limit: LimitQuery = 50, cursor: CursorQuery = None) -> Page[BacktestView]:
        """List backtests of a workflow, newest first, without their results. Practice admins only."""
        async with door.work() as tx:
            views = await list_backtests(workflow_id, tx, after=door.position(cursor), limit=limit)
            return door.page(views, limit, lambda view: (view.created_at.isoformat(), view.id))

    return router


def backtest_routes() -> Routes:
    router = Routes(prefix="/v1/backtests", tags=["insight"])

    @router.get("/{backtest_id}", response_model=BacktestView, **needs(Permission.WORKFLOWS_WRITE))
    async def show(backtest_id: UUID, door: DoorDep) -> Response:
        """Show a backtest: its progress, then what it found. Practice admins only; kept 40 days."""
        async with door.work() as tx:
            return await door.answer(tx, await show_backtest(backtest_id, tx))

    @router.post("/{backtest_id}/cancel", status_code=204, **needs(Permission.WORKFLOWS_WRITE))
    async def cancel(backtest_id: UUID, door: DoorDep) -> Response:
        """Call a backtest off. Practice admins only."""
        async with door.work() as tx:
            await cancel_backtest(backtest_id, tx)
            return await door.answer(tx, status=204)

    return router
