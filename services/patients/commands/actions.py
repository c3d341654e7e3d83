"""Actions that workflows ask of this service: each effect key is performed once, and its outcome is said once."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel

from libs.common.actions import ActionUnknown, parameters_of
from libs.common.errors import Trouble
from libs.common.messaging import Received
from libs.common.work import Tx
from libs.contracts.actions import ActionError, Outcome
from libs.contracts.patients import ActionFinished, PerformAction
from services.patients.commands.records import PatientNotFound, UpdatePatient, update_patient

_REMEMBER = """
INSERT INTO effect (practice_id, effect_key, action, performed_at) VALUES ($1, $2, $3, $4) ON CONFLICT DO NOTHING RETURNING true
"""


class UpdatePatientResult(BaseModel):
    version: int


async def perform_action(event: Received[PerformAction], tx: Tx) -> None:
    """Perform one requested action in the transaction that marks its message. A refusal is an outcome, not an error."""
    request = event.data
    if await tx.value(_REMEMBER, event.practice_id, request.effect_key, request.action, tx.now) is None:
        return
    error: ActionError | None = None
    result: dict[str, Any] = {}
    try:
        result = UpdatePatientResult(version=await _update(request, tx)).model_dump()
    except Trouble as trouble:
        error = ActionError(code=trouble.code, message=trouble.message)
    tx.emit(
        ActionFinished(
            effect_key=request.effect_key,
            action=request.action,
            run_id=request.run_id,
            step_id=request.step_id,
            outcome=Outcome.FAILED if error else Outcome.SUCCEEDED,
            error=error,
            result=result,
        ),
        because=event,
    )


async def _update(request: PerformAction, tx: Tx) -> int:
    if request.action != "update_patient":
        raise ActionUnknown(action=request.action)
    if request.patient_id is None:
        raise PatientNotFound
    view = await update_patient(request.patient_id, parameters_of(request, UpdatePatient), tx)
    return view.version
