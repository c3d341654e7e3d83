"""What patients offers to workflows."""

from __future__ import annotations

from libs.common.actions import ActionPlugin
from services.patients.commands.actions import UpdatePatientResult, perform_update
from services.patients.commands.records import UpdatePatient

UPDATE_PATIENT = ActionPlugin(
    name="update_patient",
    owner="patients",
    title="Update the patient",
    help="Changes fields of the patient's record. Fields left out stay as they are.",
    parameters=UpdatePatient,
    result=UpdatePatientResult,
    handler=perform_update,
    idempotent=True,
    personal_data=("name", "email", "phone", "birth_date"),
)
