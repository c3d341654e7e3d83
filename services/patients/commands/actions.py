"""What this service does when a workflow asks: the commands people use, on the patient the request names."""

from __future__ import annotations

from uuid import UUID

from pydantic import BaseModel, Field

from libs.common.actions import Effect
from libs.common.work import Tx
from services.patients.commands.notes import AddNote, add_note
from services.patients.commands.records import PatientNotFound, UpdatePatient, update_patient
from services.patients.commands.tags import AddTag, add_tag, remove_tag


class UpdatePatientResult(BaseModel):
    version: int = Field(title="Version", description="The record's version after the change.")


class AddTagResult(BaseModel):
    tag_id: UUID = Field(title="Tag", description="The tag's id in this practice.")
    added: bool = Field(title="Added", description="False when the patient had it already.")


class RemoveTagResult(BaseModel):
    removed: bool = Field(title="Removed", description="False when the patient did not have it.")


class AddNoteResult(BaseModel):
    note_id: UUID = Field(title="Note", description="The note's id.")


async def perform_update(parameters: UpdatePatient, effect: Effect, tx: Tx) -> UpdatePatientResult:
    view = await update_patient(_patient_of(effect), parameters, tx)
    return UpdatePatientResult(version=view.version)


async def perform_add_tag(parameters: AddTag, effect: Effect, tx: Tx) -> AddTagResult:
    tag, added = await add_tag(_patient_of(effect), parameters, tx, by=_author(effect))
    return AddTagResult(tag_id=tag.id, added=added)


async def perform_remove_tag(parameters: AddTag, effect: Effect, tx: Tx) -> RemoveTagResult:
    return RemoveTagResult(removed=await remove_tag(_patient_of(effect), parameters.tag, tx))


async def perform_add_note(parameters: AddNote, effect: Effect, tx: Tx) -> AddNoteResult:
    note = await add_note(_patient_of(effect), parameters, tx, by=_author(effect))
    return AddNoteResult(note_id=note.id)


def _patient_of(effect: Effect) -> UUID:
    if effect.request.patient_id is None:
        raise PatientNotFound
    return effect.request.patient_id


def _author(effect: Effect) -> str:
    return f"run:{effect.request.run_id}"
