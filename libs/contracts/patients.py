"""What the patients service says and is asked: people, and changes to their record."""

from __future__ import annotations

from datetime import date
from enum import StrEnum
from uuid import UUID

from pydantic import BaseModel, ConfigDict

from libs.contracts.actions import ActionRequest, ActionResult
from libs.contracts.conditions import Blocks
from libs.contracts.envelope import Event
from libs.contracts.marks import Personal


class PatientDetails(BaseModel):
    """The person as of the event. E-mail is lower-cased, phone is E.164, ``time_zone`` an IANA name, None where it is the practice's."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    given_name: str
    family_name: str
    email: str | None = None
    phone: str | None = None
    birth_date: date | None = None
    time_zone: str | None = None


class PatientRegistered(Event, type="vantage.patients.patient-registered.v1", subject="patient/{patient_id}"):
    """A practice knows a new patient. ``bulk``: one of many at once, such as an import."""

    patient_id: UUID
    version: int
    details: Personal[PatientDetails]
    bulk: bool = False


class PatientUpdated(Event, type="vantage.patients.patient-updated.v1", subject="patient/{patient_id}"):
    """A patient's record changed: ``changed`` names the fields, ``details`` is the whole record after the change.

    ``bulk``: one of many changes at once, such as an import.
    """

    patient_id: UUID
    version: int
    changed: list[str]
    details: Personal[PatientDetails]
    bulk: bool = False


class PatientRecordViewed(Event, type="vantage.patients.patient-record-viewed.v1", subject="patient/{patient_id}"):
    """Somebody read a patient's record. ``view`` names the operation."""

    patient_id: UUID
    view: str


class PatientsListed(Event, type="vantage.patients.patients-listed.v1", subject="patients/list"):
    """Somebody read a page of patients. ``patient_ids`` holds those shown, at most 100."""

    patient_ids: list[UUID]


class PatientTagged(Event, type="vantage.patients.patient-tagged.v1", subject="patient/{patient_id}"):
    """A patient was given a tag of the practice."""

    patient_id: UUID
    tag_id: UUID
    tag: Personal[str]


class PatientUntagged(Event, type="vantage.patients.patient-untagged.v1", subject="patient/{patient_id}"):
    """A tag was taken from a patient."""

    patient_id: UUID
    tag_id: UUID
    tag: Personal[str]


class NoteAdded(Event, type="vantage.patients.note-added.v1", subject="patient/{patient_id}"):
    """Somebody wrote a note about a patient. Its text stays where it was written."""

    patient_id: UUID
    note_id: UUID


class NoteRemoved(Event, type="vantage.patients.note-removed.v1", subject="patient/{patient_id}"):
    """A note written by mistake is no longer shown."""

    patient_id: UUID
    note_id: UUID


class FilterVisibility(StrEnum):
    """A private filter is its owner's alone, a shared one everybody's in the practice."""

    PRIVATE = "private"
    SHARED = "shared"


class PatientFilterState(Event):
    """A saved filter as of the event. ``owned_by`` is the actor who saved it first. Its words may name people."""

    filter_id: UUID
    version: int
    owned_by: str
    visibility: FilterVisibility
    name: Personal[str]
    condition: Personal[Blocks]


class PatientFilterSaved(PatientFilterState, type="vantage.patients.patient-filter-saved.v1", subject="patient-filter/{filter_id}"):
    """Somebody keeps a filter over patients under a name."""


class PatientFilterChanged(PatientFilterState, type="vantage.patients.patient-filter-changed.v1", subject="patient-filter/{filter_id}"):
    """A saved filter is another one now: ``changed`` names the fields that differ."""

    changed: list[str]


class PatientFilterRemoved(Event, type="vantage.patients.patient-filter-removed.v1", subject="patient-filter/{filter_id}"):
    """A saved filter is gone."""

    filter_id: UUID
    version: int


class PatientFiltersViewed(Event, type="vantage.patients.patient-filters-viewed.v1", subject="patient-filters/viewed"):
    """Somebody read saved filters, whose words may name people. ``filter_ids`` holds those shown, at most 100."""

    filter_ids: list[UUID]


class PerformAction(ActionRequest, type="vantage.patients.perform-action.v1", subject="effect/{effect_key}"):
    """Asks the patients service for one of its actions (``update_patient``, ``add_tag``, ...)."""


class ActionFinished(ActionResult, type="vantage.patients.action-finished.v1", subject="effect/{effect_key}"):
    """What became of an action of the patients service."""
