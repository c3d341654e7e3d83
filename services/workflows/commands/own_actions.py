"""Actions of workflows itself: start another workflow for the run's patient, or stop one. Each effect key is performed once."""

from __future__ import annotations

from typing import Annotated, Any
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field

from libs.common.actions import ActionUnknown, parameters_of
from libs.common.errors import Refused, Trouble
from libs.common.messaging import Received
from libs.common.telemetry import Cause
from libs.common.work import Tx
from libs.contracts.actions import ActionError, Outcome
from libs.contracts.workflows import ActionFinished, PerformAction, RunRequested
from services.workflows.commands.controls import steer
from services.workflows.commands.happening import Happening
from services.workflows.commands.manual import PassedOn, manual_workflow, start_requested
from services.workflows.commands.published import PublishedWorkflows
from services.workflows.queries.operations import active_runs

START, STOP = "start_workflow", "stop_workflow"
STOPPED_AT_ONCE = 100


class PatientNeeded(Refused):
    """This run is about no patient, so there is nobody to stop it for."""


class StartWorkflow(BaseModel):
    """Which workflow to start for the run's patient; it needs a manual trigger. ``values`` is what it sees as event.values."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    workflow_id: UUID
    values: PassedOn = Field(default_factory=dict)


class StartWorkflowResult(BaseModel):
    """``decision`` is "started", or why nothing started."""

    decision: str
    run_id: UUID | None


class StopWorkflow(BaseModel):
    """Which workflow's runs for the run's patient to cancel. The run that asks is not among them."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    workflow_id: Annotated[UUID, Field(description="The workflow whose runs end.")]


class StopWorkflowResult(BaseModel):
    stopped: int


async def perform_own(event: Received[PerformAction], published: PublishedWorkflows, tx: Tx) -> None:
    """Perform one requested action in the transaction that marks its message. A refusal is an outcome, not an error."""
    request = event.data
    tx.serve(event)
    if not await tx.once("effect", str(request.effect_key)):
        return
    error: ActionError | None = None
    result: dict[str, Any] = {}
    try:
        result = await _perform(event, published, tx)
    except Trouble as trouble:
        error = ActionError(code=trouble.code, message=trouble.message)
    finished = ActionFinished(
        effect_key=request.effect_key, action=request.action, run_id=request.run_id, step_id=request.step_id,
        outcome=Outcome.FAILED if error else Outcome.SUCCEEDED, error=error, result=result,
    )  # fmt: skip
    tx.emit(finished, because=event)


async def _perform(event: Received[PerformAction], published: PublishedWorkflows, tx: Tx) -> dict[str, Any]:
    match event.data.action:
        case "start_workflow":
            return (await _start(event, parameters_of(event.data, StartWorkflow), published, tx)).model_dump(mode="json")
        case "stop_workflow":
            return (await _stop(event.data, parameters_of(event.data, StopWorkflow), published, tx)).model_dump(mode="json")
    raise ActionUnknown(action=event.data.action)


async def _start(event: Received[PerformAction], wanted: StartWorkflow, published: PublishedWorkflows, tx: Tx) -> StartWorkflowResult:
    """The request is what the run follows from: so deep it stands in the chain of runs that cause each other."""
    workflow = await manual_workflow(wanted.workflow_id, published, tx)
    request = RunRequested(
        workflow_id=wanted.workflow_id, requested_by=f"run:{event.data.run_id}", patient_id=event.data.patient_id, values=wanted.values
    )
    cause = Cause(event.correlation_id, "", event.cause.traceparent, event.cause.tracestate)
    occasion = Happening.own(tx.practice_id, tx.new_id(), request, tx.now, cause, causation_id=str(event.id))
    came = await start_requested(occasion, workflow, published, tx)
    return StartWorkflowResult(decision=came.decision, run_id=came.run_id)


async def _stop(request: PerformAction, wanted: StopWorkflow, published: PublishedWorkflows, tx: Tx) -> StopWorkflowResult:
    if request.patient_id is None:
        raise PatientNeeded
    stopped = 0
    while ids := await active_runs(wanted.workflow_id, request.patient_id, request.run_id, STOPPED_AT_ONCE, tx):
        stopped += await steer("cancel", ids, published, tx)
    return StopWorkflowResult(stopped=stopped)
