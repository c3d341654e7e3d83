"""What this service does when a workflow asks: the commands people use, on the patient the request names."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field

from libs.common.actions import Effect
from libs.common.command import LINE_SCHEMA, TEXT_SCHEMA, Text
from libs.common.work import Tx
from services.patients.commands.notes import AddNote, add_note
from services.patients.commands.records import PatientNotFound, UpdatePatient, update_patient
from services.patients.commands.tags import AddTag, TagName, add_tag, remove_tag
from services.patients.rules.details import EMAIL_PATTERN, PHONE_PATTERN


def _says_more(schema: dict[str, Any]) -> None:
    """What the record asks of its fields, for whoever writes a workflow: nothing of it is found out only when a run fails."""
    fields = schema["properties"]
    schema["minProperties"] = 1
    for name in UpdatePatient.required:
        fields[name] = {"type": "string", "maxLength": 200, **LINE_SCHEMA} | {key: fields[name][key] for key in ("title", "description")}
    fields["email"] |= {"format": "email", "pattern": EMAIL_PATTERN}
    fields["phone"] |= {"pattern": PHONE_PATTERN}
    fields["time_zone"] |= {"format": "time-zone"}


class UpdateForRun(UpdatePatient):
    """The parameters of the action ``update_patient``: only the fields given change."""

    model_config = ConfigDict(json_schema_extra=_says_more)


class TagForRun(AddTag):
    """The parameters of the actions ``add_tag`` and ``remove_tag``."""

    tag: TagName = Field(
        title="Tag", description="One of the practice's words for its patients, at most 50 characters.", json_schema_extra=LINE_SCHEMA
    )


class NoteForRun(AddNote):
    """The parameters of the action ``add_note``."""

    text: Text = Field(title="Text", description="Plain text, at most 20,000 characters.", json_schema_extra=TEXT_SCHEMA)


class UpdatePatientResult(BaseModel):
    version: int = Field(title="Version", description="The record's version after the change.")


class AddTagResult(BaseModel):
    tag_id: UUID = Field(title="Tag", description="The tag's id in this practice.")
    added: bool = Field(title="Added", description="False when the patient had it already.")


class RemoveTagResult(BaseModel):
    removed: bool = Field(title="Removed", description="False when the patient did not have it.")


class AddNoteResult(BaseModel):
    note_id: UUID = Field(title="Note", description="The note's id.")


async def perform_update(parameters: UpdateForRun, effect: Effect, tx: Tx) -> UpdatePatientResult:
    view = await update_patient(_patient_of(effect), parameters, tx)
    return UpdatePatientResult(version=view.version)


async def perform_add_tag(parameters: TagForRun, effect: Effect, tx: Tx) -> AddTagResult:
    tag, added = await add_tag(_patient_of(effect), parameters, tx, by=_author(effect))
    return AddTagResult(tag_id=tag.id, added=added)


async def perform_remove_tag(parameters: TagForRun, effect: Effect, tx: Tx) -> RemoveTagResult:
    return RemoveTagResult(removed=await remove_tag(_patient_of(effect), parameters.tag, tx))


async def perform_add_note(parameters: NoteForRun, effect: Effect, tx: Tx) -> AddNoteResult:
    note = await add_note(_patient_of(effect), parameters, tx, by=_author(effect))
    return AddNoteResult(note_id=note.id)


def _patient_of(effect: Effect) -> UUID:
    if effect.request.patient_id is None:
        raise PatientNotFound
    return effect.request.patient_id


def _author(effect: Effect) -> str:
    return f"run:{effect.request.run_id}"
