"""What runs say: that they began and ended, and what they ask owners to do."""

from __future__ import annotations

from typing import cast

from libs.contracts.actions import ActionRequest
from libs.contracts.envelope import MESSAGES
from libs.contracts.workflows import RunFinished, RunOutcome, RunStarted
from services.workflows.commands.rows import RunRow, effect_key
from services.workflows.rules.runs.states import Finished, Perform, Status

_OUTCOMES = {Status.COMPLETED: RunOutcome.COMPLETED, Status.FAILED: RunOutcome.FAILED, Status.CANCELLED: RunOutcome.CANCELLED}


def started(run: RunRow) -> RunStarted:
    return RunStarted(
        run_id=run.id, workflow_id=run.workflow_id, workflow_name=run.workflow_name, version=run.version,
        trigger_event_id=run.trigger_event_id, patient_id=run.patient_id,
    )  # fmt: skip


def finished(run: RunRow, effect: Finished) -> RunFinished:
    return RunFinished(
        run_id=run.id, workflow_id=run.workflow_id, workflow_name=run.workflow_name, version=run.version,
        outcome=_OUTCOMES[effect.status], patient_id=run.patient_id, error_code=effect.error_code,
    )  # fmt: skip


def request(run: RunRow, effect: Perform, owner: str) -> ActionRequest:
    """The command to the action's owner. The catalogue knew the action when the version was published."""
    kind = cast("type[ActionRequest]", MESSAGES[f"vantage.{owner}.perform-action.v1"])
    return kind(
        effect_key=effect_key(run.id, effect.step_id, effect.attempt), action=effect.action, run_id=run.id, step_id=effect.step_id,
        patient_id=run.patient_id, parameters=effect.parameters,
    )  # fmt: skip
