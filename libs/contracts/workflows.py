"""What the workflows service says: definitions published, runs started and finished."""

from __future__ import annotations

from datetime import date
from enum import StrEnum
from typing import Any
from uuid import UUID

from pydantic import AwareDatetime

from libs.contracts.actions import ActionDescribed, ActionRequest, ActionResult
from libs.contracts.envelope import Event
from libs.contracts.marks import Personal
from libs.contracts.scheduling import AppointmentState

__all__ = [
    "ActionDescribed",
    "ActionFinished",
    "AppointmentIncluded",
    "ExplanationsViewed",
    "PerformAction",
    "RunFinished",
    "RunOutcome",
    "RunRequested",
    "RunStarted",
    "RunStuck",
    "ScheduleReached",
    "ScheduleStuck",
    "StepResolved",
    "WebhookReceived",
    "WorkflowArchived",
    "WorkflowDuplicated",
    "WorkflowPublished",
    "WorkflowRestored",
    "WorkflowReverted",
    "WorkflowUnpublished",
]


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


class WorkflowDuplicated(Event, type="vantage.workflows.workflow-duplicated.v1", subject="workflow/{workflow_id}"):
    """A draft was made of a copy of another workflow."""

    workflow_id: UUID
    source_id: UUID
    name: str


class WorkflowReverted(Event, type="vantage.workflows.workflow-reverted.v1", subject="workflow/{workflow_id}"):
    """The draft is what was published as ``version``; what is in force stays. ``draft`` is the draft's new number."""

    workflow_id: UUID
    version: int
    draft: int


class WorkflowArchived(Event, type="vantage.workflows.workflow-archived.v1", subject="workflow/{workflow_id}"):
    """Put away: nothing of it starts any more."""

    workflow_id: UUID
    name: str


class WorkflowRestored(Event, type="vantage.workflows.workflow-restored.v1", subject="workflow/{workflow_id}"):
    """Taken out again, as a draft."""

    workflow_id: UUID
    name: str


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


class StepResolved(Event, type="vantage.workflows.step-resolved.v1", subject="run/{run_id}"):
    """A person said what became of an action whose outcome was unknown. The run goes by it, whatever its owner says later."""

    run_id: UUID
    workflow_id: UUID
    step_id: str
    action: str
    effect_key: UUID
    outcome: str
    note: Personal[str | None] = None


class RunStuck(Event, type="vantage.workflows.run-stuck.v1", subject="run/{run_id}"):
    """A run waits for nothing that could still come, or too long for an answer. Somebody has to look.

    ``code`` says which: ``nothing_to_wait_for``, ``no_answer``, ``unknown_outcome``, ``engine_silent`` (what was handed over to its engine
    is not taken up), ``keeps_failing`` (what would bring it on fails every time).
    """

    run_id: UUID
    workflow_id: UUID
    workflow_name: str
    version: int
    step_id: str
    code: str
    since: AwareDatetime


class ScheduleStuck(Event, type="vantage.workflows.schedule-stuck.v1", subject="workflow/{workflow_id}"):
    """The turn of a workflow's schedule fails every time (``keeps_failing``): nothing starts. Somebody has to look."""

    workflow_id: UUID
    workflow_name: str
    version: int
    code: str
    since: AwareDatetime


class ScheduleReached(Event, type="vantage.workflows.schedule-reached.v1", subject="workflow/{workflow_id}"):
    """A time of a workflow's schedule has come, for one patient or for the practice. Date and weekday (1 is Monday) are local."""

    workflow_id: UUID
    due_at: AwareDatetime
    local_date: date
    month_day: str
    weekday: int
    patient_id: UUID | None = None


class RunRequested(Event, type="vantage.workflows.run-requested.v1", subject="workflow/{workflow_id}"):
    """A person, or another workflow, wants a run."""

    workflow_id: UUID
    requested_by: str
    patient_id: UUID | None = None
    appointment_id: UUID | None = None
    values: Personal[dict[str, Any]]


class WebhookReceived(Event, type="vantage.workflows.webhook-received.v1", subject="workflow/{workflow_id}"):
    """A signed call from outside to a workflow's own address."""

    workflow_id: UUID
    body: Personal[dict[str, Any]]
    patient_id: UUID | None = None


class AppointmentIncluded(AppointmentState, type="vantage.workflows.appointment-included.v1", subject="workflow/{workflow_id}"):
    """A workflow takes up an appointment that was booked before it was published. The appointment is told as it is then.

    ``again``: a run of the workflow was about it before, for a time that is no longer its, or until it was cancelled.
    """

    workflow_id: UUID
    again: bool = False


class PerformAction(ActionRequest, type="vantage.workflows.perform-action.v1", subject="effect/{effect_key}"):
    """Asks the workflows service itself for one of its actions: to start or to stop another workflow."""


class ActionFinished(ActionResult, type="vantage.workflows.action-finished.v1", subject="effect/{effect_key}"):
    """What became of an action of the workflows service."""


class RunViewed(Event, type="vantage.workflows.run-viewed.v1", subject="run/{run_id}"):
    """Somebody read what a run asked for and what came of it."""

    run_id: UUID
    patient_id: UUID | None = None


class PatientsPreviewed(Event, type="vantage.workflows.patients-previewed.v1", subject="workflow/{workflow_id}"):
    """Somebody looked whom a filter finds. ``patient_ids`` are those shown by name."""

    workflow_id: UUID
    patient_ids: list[UUID]


class ExplanationsViewed(Event, type="vantage.workflows.explanations-viewed.v1", subject="explanations/viewed"):
    """Somebody read what was decided about events and what was known then. ``view``: explanations, dry_run or backtest.

    ``event_ids`` holds those shown, at most 100.
    """

    event_ids: list[UUID]
    patient_id: UUID | None = None
    view: str
