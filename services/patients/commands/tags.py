"""Tags: a practice's own words for its patients. A word is one tag however it is capitalised."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Self
from uuid import UUID

from pydantic import AfterValidator, BaseModel, Field, StringConstraints

from libs.common.command import Command, Line
from libs.common.errors import NotFound, Refused
from libs.common.work import Tx
from libs.contracts.patients import PatientRecordViewed, PatientTagged, PatientUntagged
from services.patients.commands.records import PatientNotFound
from services.patients.queries.records import patient_by_id, tags_of, tags_of_practice
from services.patients.rules.details import TAG_LENGTH, TAGS_OF_A_PATIENT, normal_tag, tag_key

TagName = Annotated[Line, StringConstraints(max_length=TAG_LENGTH), AfterValidator(normal_tag)]

_TAG = """
INSERT INTO tag (practice_id, id, key, name, created_at) VALUES ($1, $2, $3, $4, $5)
ON CONFLICT (practice_id, key) DO UPDATE SET key = excluded.key RETURNING id, name
"""
_ADD = """
INSERT INTO patient_tag (practice_id, patient_id, tag_id, added_at, added_by) VALUES ($1, $2, $3, $4, $5)
ON CONFLICT DO NOTHING RETURNING true
"""
_REMOVE = "DELETE FROM patient_tag WHERE practice_id = $1 AND patient_id = $2 AND tag_id = $3 RETURNING true"
_KNOWN = "SELECT id, name FROM tag WHERE practice_id = $1 AND (key = $2 OR id = $3)"
_COUNT = "SELECT count(*) FROM patient_tag WHERE practice_id = $1 AND patient_id = $2"


class TagNotFound(NotFound):
    """The patient has no such tag."""


class TooManyTags(Refused):
    """A patient has at most 50 tags."""


class AddTag(Command):
    tag: TagName = Field(title="Tag", description="One of the practice's words for its patients, at most 50 characters.")


class TagView(BaseModel):
    """A patient's tag. Times are UTC."""

    id: UUID
    name: str
    added_at: datetime
    added_by: str

    @classmethod
    def of(cls, row: Any) -> Self:
        return cls(id=row["id"], name=row["name"], added_at=row["added_at"], added_by=row["added_by"])


class PracticeTagView(BaseModel):
    """One of the practice's tags, and how many patients have it."""

    id: UUID
    name: str
    patients: int


async def add_tag(patient_id: UUID, cmd: AddTag, tx: Tx, *, by: str | None = None) -> tuple[TagView, bool]:
    """The tag, and whether it is new to the patient. Raises ``PatientNotFound``, ``TooManyTags``."""
    # The patient is held: two tags at once count each other, and the patient cannot go meanwhile.
    if await patient_by_id(patient_id, tx, for_update=True) is None:
        raise PatientNotFound
    tag = await tx.row(_TAG, tx.practice_id, tx.new_id(), tag_key(cmd.tag), cmd.tag, tx.now)
    assert tag is not None
    added = await tx.value(_ADD, tx.practice_id, patient_id, tag["id"], tx.now, by or tx.principal.actor)
    if added:
        if await tx.value(_COUNT, tx.practice_id, patient_id) > TAGS_OF_A_PATIENT:
            raise TooManyTags(pointer="/tag")
        tx.emit(PatientTagged(patient_id=patient_id, tag_id=tag["id"], tag=tag["name"]))
    (found,) = [row for row in await tags_of(patient_id, tx) if row["id"] == tag["id"]]
    return TagView.of(found), bool(added)


async def remove_tag(patient_id: UUID, tag: UUID | str, tx: Tx) -> bool:
    """By id or by name; returns whether the patient had it. Raises ``PatientNotFound``."""
    if await patient_by_id(patient_id, tx, for_update=True) is None:
        raise PatientNotFound
    key, tag_id = (tag_key(tag), None) if isinstance(tag, str) else (None, tag)
    known = await tx.row(_KNOWN, tx.practice_id, key, tag_id)
    if known is None or not await tx.value(_REMOVE, tx.practice_id, patient_id, known["id"]):
        return False
    tx.emit(PatientUntagged(patient_id=patient_id, tag_id=known["id"], tag=known["name"]))
    return True


async def show_tags(patient_id: UUID, tx: Tx) -> list[TagView]:
    """All of a patient's tags, by name. Raises ``PatientNotFound``."""
    if await patient_by_id(patient_id, tx) is None:
        raise PatientNotFound
    tx.emit(PatientRecordViewed(patient_id=patient_id, view="tags"))
    return [TagView.of(row) for row in await tags_of(patient_id, tx)]


async def list_tags(tx: Tx, *, after: tuple[str, ...] | None, limit: int) -> list[PracticeTagView]:
    """By name, one more than ``limit`` when there is more."""
    return [PracticeTagView(**dict(row)) for row in await tags_of_practice(tx, after=after, limit=limit)]
