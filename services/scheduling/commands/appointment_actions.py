"""What workflows ask of appointments: book one for the run's patient, cancel one. The commands people use do the work."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Annotated
from uuid import UUID

from pydantic import BaseModel, Field, StringConstraints

from libs.common.actions import Effect, NewsAwaited
from libs.common.command import LINE_SCHEMA, Command, Line
from libs.common.errors import Refused
from libs.common.work import Tx
from services.scheduling.commands.appointments import (
    AppointmentNotFound,
    BookAppointment,
    CancelAppointment,
    Resource,
    book_appointment,
    cancel_appointment,
)
from services.scheduling.queries import appointment_by_id, is_contact
from services.scheduling.rules.appointments import AlreadyCancelled, start_of

SHORTEST_MINUTES, LONGEST_MINUTES = 5, 24 * 60


class BookForPatient(Command):
    """The parameters of the action ``book_appointment``."""

    resource: Resource = Field(title="Resource", description="Whose time, or which room, is taken.")
    title: Line = Field(title="Title", description="What the appointment is about.", json_schema_extra=LINE_SCHEMA)
    starts_at: Annotated[str, StringConstraints(min_length=1, max_length=100)] = Field(
        title="Starts at",
        description="Date and time, ISO 8601; without an offset it is the time of day in the time zone below.",
        examples=["2030-01-07T09:00:00+01:00", "{{event.values.starts_at}}"],
        json_schema_extra={"format": "local-date-time"},
    )
    duration_minutes: Annotated[int, Field(ge=SHORTEST_MINUTES, le=LONGEST_MINUTES)] = Field(
        default=30, title="Minutes", description="How long it takes."
    )
    time_zone: Line = Field(
        default="UTC", title="Time zone", description="IANA name, like Europe/Berlin.", json_schema_extra={"format": "time-zone"}
    )


class BookForPatientResult(BaseModel):
    appointment_id: UUID = Field(title="Appointment", description="The appointment's id.")
    starts_at: datetime = Field(title="Starts at", description="UTC.")
    ends_at: datetime = Field(title="Ends at", description="UTC.")


class CancelForRun(Command):
    """The parameters of the action ``cancel_appointment``."""

    appointment_id: UUID = Field(title="Appointment", description="The run's own: {{appointment.id}}.", examples=["{{appointment.id}}"])
    reason: Line | None = Field(default=None, title="Reason", description="At most 200 characters.")


class CancelForRunResult(BaseModel):
    appointment_id: UUID = Field(title="Appointment", description="The appointment's id.")
    was_cancelled_already: bool = Field(title="Was cancelled already", description="Somebody else had cancelled it before.")


class PatientUnknown(NewsAwaited):
    """No such patient, or news of them is still on its way."""


class PatientMissing(Refused):
    """An appointment is booked for a patient; none was named."""


class AppointmentOfAnotherPatient(Refused):
    """The appointment is not this patient's."""


async def book_for_patient(parameters: BookForPatient, effect: Effect, tx: Tx) -> BookForPatientResult:
    """Raises ``PatientMissing``, ``PatientUnknown``, ``StartUnreadable`` and what ``book_appointment`` does."""
    patient_id = effect.request.patient_id
    if patient_id is None:
        raise PatientMissing
    if not await is_contact(patient_id, tx):
        raise PatientUnknown
    starts_at = start_of(parameters.starts_at, parameters.time_zone)
    view = await book_appointment(
        BookAppointment(
            starts_at=starts_at, ends_at=starts_at + timedelta(minutes=parameters.duration_minutes), resource=parameters.resource,
            title=parameters.title, time_zone=parameters.time_zone, patient_id=patient_id,
        ),
        tx,
    )  # fmt: skip
    return BookForPatientResult(appointment_id=view.id, starts_at=view.starts_at, ends_at=view.ends_at)


async def cancel_for_run(parameters: CancelForRun, effect: Effect, tx: Tx) -> CancelForRunResult:
    """Raises ``AppointmentNotFound``, ``AppointmentOfAnotherPatient``, ``KeptByCalcom``. One that is cancelled already stays so."""
    appointment = await appointment_by_id(parameters.appointment_id, tx)
    if appointment is None:
        raise AppointmentNotFound(pointer="/appointment_id")
    if None not in {effect.request.patient_id, appointment.patient_id} and effect.request.patient_id != appointment.patient_id:
        raise AppointmentOfAnotherPatient(pointer="/appointment_id")
    try:
        await cancel_appointment(parameters.appointment_id, CancelAppointment(reason=parameters.reason), tx)
    except AlreadyCancelled:
        return CancelForRunResult(appointment_id=parameters.appointment_id, was_cancelled_already=True)
    return CancelForRunResult(appointment_id=parameters.appointment_id, was_cancelled_already=False)
