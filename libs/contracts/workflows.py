"""What the workflows service says: definitions published, runs started and finished."""

from __future__ import annotations

from enum import StrEnum
from uuid import UUID

from libs.contracts.actions import ActionDescribed
from libs.contracts.envelope import Event

__all__ = ["ActionDescribed", "RunFinished", "RunOutcome", "RunStarted", "WorkflowPublished", "WorkflowUnpublished"]


class RunOutcome(StrEnum):
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"


class WorkflowPublished(Event, type="vantage.workflows.workflow-published.v1", subject="workflow/{workflow_id}"):
    """A version is in force: new runs take it."""

    workflow_id: UUID
    version: int
    name: str
    trigger: str


class WorkflowUnpublished(Event, type="vantage.workflows.workflow-unpublished.v1", subject="workflow/{workflow_id}"):
    """No new runs start; runs in flight go on."""

    workflow_id: UUID
    version: int


class RunStarted(Event, type="vantage.workflows.run-started.v1", subject="run/{run_id}"):
    """A workflow began for one trigger event."""

    run_id: UUID
    workflow_id: UUID
    workflow_name: str
    version: int
    trigger_event_id: UUID
    patient_id: UUID | None = None


class RunFinished(Event, type="vantage.workflows.run-finished.v1", subject="run/{run_id}"):
    """A run ended. ``error_code`` is set when it failed."""

    run_id: UUID
    workflow_id: UUID
    workflow_name: str
    version: int
    outcome: RunOutcome
    patient_id: UUID | None = None
    error_code: str | None = None
