"""What this service does when a workflow asks: the commands people use, on the patient the request names."""

from __future__ import annotations

from uuid import UUID

from pydantic import BaseModel, Field

from libs.common.actions import Effect
from libs.common.work import Tx
from services.patients.commands.records import PatientNotFound, UpdatePatient, update_patient


class UpdatePatientResult(BaseModel):
    version: int = Field(title="Version", description="The record's version after the change.")


async def perform_update(parameters: UpdatePatient, effect: Effect, tx: Tx) -> UpdatePatientResult:
    view = await update_patient(_patient_of(effect), parameters, tx)
    return UpdatePatientResult(version=view.version)


def _patient_of(effect: Effect) -> UUID:
    if effect.request.patient_id is None:
        raise PatientNotFound
    return effect.request.patient_id
