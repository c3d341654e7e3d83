"""Register and update a patient; show one and leave a trace of the reading."""

from __future__ import annotations

from datetime import date
from typing import Annotated, Any, ClassVar, Self
from uuid import UUID

from pydantic import AfterValidator, BaseModel, Field, model_validator

from libs.common.command import Command, Line
from libs.common.errors import NotFound, Refused, VersionMismatch
from libs.common.work import Tx
from libs.contracts.patients import PatientRecordViewed, PatientRegistered, PatientsListed, PatientUpdated
from services.patients.commands.filters import used_filter
from services.patients.model import Patient
from services.patients.queries.filters import found_by
from services.patients.queries.records import patient_by_id, patients_by_name
from services.patients.rules.details import known_time_zone, normal_email, normal_phone, possible_birth_date

Email = Annotated[str, AfterValidator(normal_email)]
Phone = Annotated[str, AfterValidator(normal_phone)]
TimeZone = Annotated[str, AfterValidator(known_time_zone)]


class PatientNotFound(NotFound):
    """No such patient."""


class BirthDateImpossible(Refused):
    """A birth date lies between 1880 and today."""


class RegisterPatient(Command):
    given_name: Line
    family_name: Line
    email: Email | None = None
    phone: Phone | None = None
    birth_date: date | None = None
    time_zone: TimeZone | None = None


class UpdatePatient(Command):
    """Only the fields given change; null empties a field that may be empty."""

    given_name: Line | None = Field(None, title="Given name", description="Left out: stays as it is.")
    family_name: Line | None = Field(None, title="Family name", description="Left out: stays as it is.")
    email: Email | None = Field(None, title="E-mail address", description="Empty takes it away.")
    phone: Phone | None = Field(None, title="Phone number", description="With its country code; empty takes it away.")
    birth_date: date | None = Field(None, title="Date of birth", description="Year, month, day; empty takes it away.")
    time_zone: TimeZone | None = Field(None, title="Time zone", description="An IANA name, like Europe/Berlin; empty takes it away.")

    required: ClassVar[tuple[str, ...]] = ("given_name", "family_name")

    @model_validator(mode="after")
    def _names_stay(self) -> Self:
        if any(name in self.model_fields_set and getattr(self, name) is None for name in self.required):
            message = "a name cannot be emptied"
            raise ValueError(message)
        return self

    def changes(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in type(self).model_fields if name in self.model_fields_set}


class PatientView(BaseModel):
    """A patient as the API shows it. Times are UTC."""

    id: UUID
    version: int
    given_name: str
    family_name: str
    email: str | None
    phone: str | None
    birth_date: date | None
    time_zone: str | None
    created_at: str
    updated_at: str

    @classmethod
    def of(cls, patient: Patient) -> Self:
        return cls(
            id=patient.id,
            version=patient.version,
            **patient.details().model_dump(),
            created_at=patient.created_at.isoformat(),
            updated_at=patient.updated_at.isoformat(),
        )


async def register_patient(cmd: RegisterPatient, tx: Tx) -> PatientView:
    """A new patient. Raises ``BirthDateImpossible``."""
    _check_birth_date(cmd.birth_date, tx)
    patient = Patient(practice_id=tx.practice_id, id=tx.new_id(), version=1, **cmd.model_dump(), created_at=tx.now, updated_at=tx.now)
    tx.session.add(patient)
    tx.emit(PatientRegistered(patient_id=patient.id, version=1, details=patient.details()))
    return PatientView.of(patient)


async def update_patient(patient_id: UUID, cmd: UpdatePatient, tx: Tx, *, if_version: int | None = None) -> PatientView:
    """Change a record. Raises ``PatientNotFound``, ``VersionMismatch``, ``BirthDateImpossible``."""
    _check_birth_date(cmd.birth_date, tx)
    patient = await patient_by_id(patient_id, tx, for_update=True)
    if patient is None:
        raise PatientNotFound
    if if_version is not None and patient.version != if_version:
        raise VersionMismatch
    changed = patient.change(cmd.changes(), tx.now)
    if changed:
        tx.emit(PatientUpdated(patient_id=patient.id, version=patient.version, changed=changed, details=patient.details()))
    return PatientView.of(patient)


async def show_patient(patient_id: UUID, tx: Tx) -> PatientView:
    """Read a record; that it was read is said in the same transaction. Raises ``PatientNotFound``."""
    patient = await patient_by_id(patient_id, tx)
    if patient is None:
        raise PatientNotFound
    tx.emit(PatientRecordViewed(patient_id=patient.id, view="record"))
    return PatientView.of(patient)


async def list_patients(tx: Tx, *, after: tuple[str, ...] | None, limit: int, saved_filter: UUID | None = None) -> list[PatientView]:
    """One page and one more when there is more; that they were read is said in the same transaction.

    With a ``saved_filter`` those it finds now. Raises ``SavedFilterUnknown``.
    """
    only = found_by((await used_filter(saved_filter, tx)).blocks) if saved_filter is not None else None
    patients = await patients_by_name(tx, after=after, limit=limit, only=only)
    if patients:
        tx.emit(PatientsListed(patient_ids=[patient.id for patient in patients[:limit]]))
    return [PatientView.of(patient) for patient in patients]


def _check_birth_date(day: date | None, tx: Tx) -> None:
    if day is not None and not possible_birth_date(day, tx.now.date()):
        raise BirthDateImpossible(pointer="/birth_date")
