"""Actions that workflows ask of this service: each effect key is performed once, and its outcome is said once."""

from __future__ import annotations

from pydantic import BaseModel

from libs.common.actions import ActionUnknown, parameters_of
from libs.common.errors import Trouble
from libs.common.messaging import Received
from libs.common.work import Tx, json_text
from libs.contracts.actions import ActionError, Outcome
from libs.contracts.patients import ActionFinished, PerformAction
from services.patients.commands.records import PatientNotFound, UpdatePatient, update_patient

_REMEMBER = """
INSERT INTO effect (practice_id, effect_key, patient_id, outcome, result) VALUES ($1, $2, $3, $4, $5) ON CONFLICT DO NOTHING
RETURNING true
"""


class UpdatePatientResult(BaseModel):
    version: int


async def perform_action(event: Received[PerformAction], tx: Tx) -> None:
    """Perform one requested action in the transaction that marks its message. A refusal is an outcome, not an error."""
    request = event.data
    try:
        version = await _update(request, tx)
    except Trouble as trouble:
        error = ActionError(code=trouble.code, message=trouble.message)
        outcome, result = Outcome.FAILED, {}
    else:
        error, outcome, result = None, Outcome.SUCCEEDED, UpdatePatientResult(version=version).model_dump()
    patient_id = request.patient_id or event.id
    if await tx.value(_REMEMBER, event.practice_id, request.effect_key, patient_id, outcome, json_text(result)) is None:
        return
    tx.emit(
        ActionFinished(
            effect_key=request.effect_key,
            action=request.action,
            run_id=request.run_id,
            step_id=request.step_id,
            outcome=outcome,
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
