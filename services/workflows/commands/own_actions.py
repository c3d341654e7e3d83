"""Actions of workflows itself: start another workflow for the run's patient and appointment, or stop one."""

from __future__ import annotations

from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field

from libs.common.actions import Effect
from libs.common.errors import Refused
from libs.common.telemetry import Cause
from libs.common.work import Tx
from libs.contracts.workflows import RunRequested
from services.workflows.commands.controls import steer
from services.workflows.commands.happening import Happening
from services.workflows.commands.manual import PassedOn, manual_workflow, start_requested
from services.workflows.commands.published import PublishedWorkflows
from services.workflows.queries.operations import active_runs, appointment_of

STOPPED_AT_ONCE = 100


class PatientNeeded(Refused):
    """The run is about no patient, so there is nobody to stop a workflow for."""


class StartWorkflow(BaseModel):
    """Which workflow to start, about the patient and the appointment the run is about."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    workflow_id: UUID = Field(title="Workflow", description="One that is started by hand.")
    values: PassedOn = Field(default_factory=dict, title="Values")


class StartWorkflowResult(BaseModel):
    decision: str = Field(title="Decision", description='"started", or why nothing started.')
    run_id: UUID | None = Field(title="Run", description="The run that started, if one did.")


class StopWorkflow(BaseModel):
    """Which workflow's runs for the run's patient to cancel. The run that asks is not among them."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    workflow_id: UUID = Field(title="Workflow", description="The workflow whose runs for this patient end.")


class StopWorkflowResult(BaseModel):
    stopped: int = Field(title="Stopped", description="How many runs ended.")


async def start_workflow(parameters: StartWorkflow, effect: Effect, tx: Tx, published: PublishedWorkflows) -> StartWorkflowResult:
    """The request is what the run follows from: so deep it stands in the chain of runs that cause each other.

    Raises ``WorkflowNotFound``, ``NotPublished``, ``NotManual``.
    """
    workflow = await manual_workflow(parameters.workflow_id, published, tx)
    request = RunRequested(
        workflow_id=parameters.workflow_id, requested_by=f"run:{effect.request.run_id}", patient_id=effect.request.patient_id,
        appointment_id=await appointment_of(effect.request.run_id, tx), values=parameters.values,
    )  # fmt: skip
    cause = Cause(tx.cause.correlation_id, "", tx.cause.traceparent, tx.cause.tracestate)
    occasion = Happening.own(tx.practice_id, tx.new_id(), request, tx.now, cause, causation_id=tx.cause.causation_id)
    came = await start_requested(occasion, workflow, published, tx)
    return StartWorkflowResult(decision=came.decision, run_id=came.run_id)


async def stop_workflow(parameters: StopWorkflow, effect: Effect, tx: Tx, published: PublishedWorkflows) -> StopWorkflowResult:
    """Raises ``PatientNeeded``."""
    request = effect.request
    if request.patient_id is None:
        raise PatientNeeded
    stopped = 0
    while ids := await active_runs(parameters.workflow_id, request.patient_id, request.run_id, STOPPED_AT_ONCE, tx):
        stopped += await steer("cancel", ids, published, tx)
    return StopWorkflowResult(stopped=stopped)
