"""Notes about a patient: written once, never changed; one written by mistake is taken back, and that is remembered."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Self
from uuid import UUID

from pydantic import BaseModel, Field

from libs.common.command import Command, Text
from libs.common.errors import NotFound
from libs.common.work import Tx
from libs.contracts.patients import NoteAdded, NoteRemoved, PatientRecordViewed
from services.patients.commands.records import PatientNotFound
from services.patients.queries.records import notes_of, patient_by_id

_ADD = "INSERT INTO note (practice_id, id, patient_id, text, added_at, added_by) VALUES ($1, $2, $3, $4, $5, $6)"
_REMOVE = """
UPDATE note SET removed_at = $4, removed_by = $5 WHERE practice_id = $1 AND patient_id = $2 AND id = $3 AND removed_at IS NULL RETURNING true
"""


class NoteNotFound(NotFound):
    """No such note."""


class AddNote(Command):
    text: Text = Field(title="Text", description="Plain text, at most 20,000 characters.")


class NoteView(BaseModel):
    """A note. ``added_by`` is a person, a key, or the run of a workflow. Times are UTC."""

    id: UUID
    text: str
    added_at: datetime
    added_by: str

    @classmethod
    def of(cls, row: Any) -> Self:
        return cls(id=row["id"], text=row["text"], added_at=row["added_at"], added_by=row["added_by"])


async def add_note(patient_id: UUID, cmd: AddNote, tx: Tx, *, by: str | None = None) -> NoteView:
    """Raises ``PatientNotFound``."""
    if await patient_by_id(patient_id, tx) is None:
        raise PatientNotFound
    view = NoteView(id=tx.new_id(), text=cmd.text, added_at=tx.now, added_by=by or tx.principal.actor)
    await tx.execute(_ADD, tx.practice_id, view.id, patient_id, view.text, view.added_at, view.added_by)
    tx.emit(NoteAdded(patient_id=patient_id, note_id=view.id))
    return view


async def remove_note(patient_id: UUID, note_id: UUID, tx: Tx) -> None:
    """It is no longer shown; the row stays. Raises ``NoteNotFound``."""
    if not await tx.value(_REMOVE, tx.practice_id, patient_id, note_id, tx.now, tx.principal.actor):
        raise NoteNotFound
    tx.emit(NoteRemoved(patient_id=patient_id, note_id=note_id))


async def show_notes(patient_id: UUID, tx: Tx, *, after: tuple[str, ...] | None, limit: int) -> list[NoteView]:
    """Newest first, one more than ``limit`` when there is more; the reading is said. Raises ``PatientNotFound``."""
    if await patient_by_id(patient_id, tx) is None:
        raise PatientNotFound
    tx.emit(PatientRecordViewed(patient_id=patient_id, view="notes"))
    return [NoteView.of(row) for row in await notes_of(patient_id, tx, after=after, limit=limit)]
