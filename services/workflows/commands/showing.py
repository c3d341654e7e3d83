"""A run as people read it: its steps with what went in and came out, why somebody has to look, and what people said."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID

from pydantic import BaseModel

from libs.common.work import Tx
from libs.contracts.workflows import RunViewed
from services.workflows.commands.runs import RunNotFound
from services.workflows.queries.resolutions import resolutions_of
from services.workflows.queries.runs import run_by_id, steps_of, stuck_causes


class RunView(BaseModel):
    """A run. ``held``: paused with its workflow; ``rerun`` counts how often it was run again before. Times are UTC."""

    id: UUID
    workflow_id: UUID
    workflow_name: str
    version: int
    trigger_event_id: UUID
    trigger_type: str
    patient_id: UUID | None
    appointment_id: UUID | None
    status: str
    paused: bool
    held: bool
    error_code: str | None
    failed_step: str | None
    rerun: int
    correlation_id: str
    started_at: datetime
    finished_at: datetime | None


class StepView(BaseModel):
    """A step a run came to. ``attempt`` counts from 0; ``started_at`` is that of the last one. ``input`` as the owner was asked."""

    step_id: str
    kind: str
    status: str
    action: str | None
    effect_key: UUID | None
    attempt: int
    due_at: datetime | None
    detail: str | None
    input: Any
    output: Any
    error_code: str | None
    started_at: datetime
    finished_at: datetime | None


class ResolutionView(BaseModel):
    """What a person said became of an attempt whose outcome was unknown, and what its owner said later, if it did."""

    step_id: str
    effect_key: UUID
    outcome: str
    note: str | None
    resolved_by: str
    resolved_at: datetime
    answer: str | None
    answer_code: str | None
    answered_at: datetime | None


class StuckView(BaseModel):
    """Why somebody has to look: ``no_answer``, ``unknown_outcome``, ``nothing_to_wait_for``, ``engine_silent`` or ``keeps_failing``."""

    step_id: str
    code: str
    since: datetime


class RunDetail(RunView):
    steps: list[StepView]
    stuck: list[StuckView]
    resolutions: list[ResolutionView]


async def show_run(run_id: UUID, tx: Tx) -> RunDetail:
    """That it was read is said in the same transaction: steps hold what was written to patients. Raises ``RunNotFound``."""
    row = await run_by_id(run_id, tx)
    if row is None:
        raise RunNotFound
    tx.emit(RunViewed(run_id=run_id, patient_id=row["patient_id"]))
    return RunDetail(
        **RunView.model_validate(dict(row)).model_dump(),
        steps=[StepView.model_validate(dict(step)) for step in await steps_of(run_id, tx)],
        stuck=[StuckView.model_validate(dict(cause)) for cause in await stuck_causes(run_id, tx)],
        resolutions=[ResolutionView.model_validate(dict(one)) for one in await resolutions_of(run_id, tx)],
    )
