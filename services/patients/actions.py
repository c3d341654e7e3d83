"""What patients offers to workflows."""

from __future__ import annotations

from libs.common.actions import ActionPlugin
from libs.contracts.patients import NoteAdded, PatientTagged, PatientUntagged, PatientUpdated
from services.patients.commands.actions import (
    AddNoteResult,
    AddTagResult,
    NoteForRun,
    RemoveTagResult,
    TagForRun,
    UpdateForRun,
    UpdatePatientResult,
    perform_add_note,
    perform_add_tag,
    perform_remove_tag,
    perform_update,
)

UPDATE_PATIENT = ActionPlugin(
    name="update_patient",
    owner="patients",
    title="Update the patient",
    help="Changes fields of the patient's record. Fields left out stay as they are.",
    parameters=UpdateForRun,
    result=UpdatePatientResult,
    handler=perform_update,
    idempotent=True,
    personal_data=("name", "email", "phone", "birth_date"),
    causes=(PatientUpdated.type,),
    needs_person=True,
)
ADD_TAG = ActionPlugin(
    name="add_tag",
    owner="patients",
    title="Add a tag",
    help="Gives the patient one of the practice's tags; a new word becomes a new tag. A patient who has it keeps it.",
    parameters=TagForRun,
    result=AddTagResult,
    handler=perform_add_tag,
    idempotent=True,
    personal_data=("tag",),
    causes=(PatientTagged.type,),
    needs_person=True,
)
REMOVE_TAG = ActionPlugin(
    name="remove_tag",
    owner="patients",
    title="Remove a tag",
    help="Takes a tag from the patient. A patient who does not have it stays as they are.",
    parameters=TagForRun,
    result=RemoveTagResult,
    handler=perform_remove_tag,
    idempotent=True,
    personal_data=("tag",),
    causes=(PatientUntagged.type,),
    needs_person=True,
)
ADD_NOTE = ActionPlugin(
    name="add_note",
    owner="patients",
    title="Add a note",
    help="Writes a note into the patient's record, signed by the workflow's run.",
    parameters=NoteForRun,
    result=AddNoteResult,
    handler=perform_add_note,
    personal_data=("note",),
    causes=(NoteAdded.type,),
    needs_person=True,
)
