"""What workflows offers to workflows."""

from __future__ import annotations

from libs.common.actions import ActionPlugin
from libs.contracts.workflows import RunFinished, RunRequested, RunStarted
from services.workflows.commands.own_actions import (
    StartWorkflow,
    StartWorkflowResult,
    StopWorkflow,
    StopWorkflowResult,
    start_workflow,
    stop_workflow,
)

START_WORKFLOW = ActionPlugin(
    name="start_workflow",
    owner="workflows",
    title="Start another workflow",
    help="Starts a workflow that is started by hand, for the same patient, and passes values on to it.",
    parameters=StartWorkflow,
    result=StartWorkflowResult,
    handler=start_workflow,
    idempotent=True,
    causes=(RunRequested.type, RunStarted.type, RunFinished.type),
)

STOP_WORKFLOW = ActionPlugin(
    name="stop_workflow",
    owner="workflows",
    title="Stop a workflow",
    help="Ends the runs of a workflow that go on for the same patient. What they asked for already is not taken back.",
    parameters=StopWorkflow,
    result=StopWorkflowResult,
    handler=stop_workflow,
    idempotent=True,
    needs_person=True,
    causes=(RunFinished.type,),
)
