"""What workflows ask of appointments: book one for the run's patient, cancel one.

What is ours is done here, in the transaction of the request, by the commands people use. What Cal.com keeps is written down
here and handed on to ``calcom_actions``.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Annotated, Any, Self
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, model_validator

from libs.common.actions import Effect, NewsAwaited
from libs.common.command import LINE_SCHEMA, Command, Line, not_both
from libs.common.errors import Refused
from libs.common.work import Tx
from libs.contracts.scheduling import AppointmentSource, AppointmentStatus
from services.scheduling.commands.appointments import (
    AppointmentNotFound,
    BookAppointment,
    CancelAppointment,
    Resource,
    book_appointment,
    cancel_appointment,
)
from services.scheduling.commands.calcom_settings import EventTypeId
from services.scheduling.queries import appointment_by_id, calcom_settings, contact
from services.scheduling.rules.appointments import OVER, AppointmentIsOver, start_of
from services.scheduling.rules.bookings import CalcomNotConfigured, EventTypeMissing, PatientHasNoEmail, SeatKeptByCalcom, StartIsPast

SHORTEST_MINUTES, LONGEST_MINUTES, USUAL_MINUTES = 5, 24 * 60, 30

_ASK = """
INSERT INTO booking_request (practice_id, effect_key, patient_id, event_type_id, starts_at, minutes, title, attendee_name, attendee_email,
                             time_zone, asked_at)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)
"""


class BookForPatient(Command):
    """The parameters of the action ``book_appointment``. Without a resource it is Cal.com that books."""

    model_config = ConfigDict(
        json_schema_extra=not_both("resource", "event_type_id", "either a resource here or an event type at Cal.com is booked")
    )

    resource: Resource | None = Field(
        default=None, title="Resource", description="Whose time, or which room, is taken here. Left out, Cal.com books."
    )
    event_type_id: EventTypeId | None = Field(
        default=None, title="Cal.com event type", description="What Cal.com books; the practice's own when left out."
    )
    title: Line = Field(title="Title", description="What the appointment is about.", json_schema_extra=LINE_SCHEMA)
    starts_at: Annotated[str, StringConstraints(min_length=1, max_length=100)] = Field(
        title="Starts at",
        description="Date and time, ISO 8601; without an offset it is the time of day in the time zone below.",
        examples=["2030-01-07T09:00:00+01:00", "{{event.values.starts_at}}"],
        json_schema_extra={"format": "local-date-time"},
    )
    duration_minutes: Annotated[int, Field(ge=SHORTEST_MINUTES, le=LONGEST_MINUTES)] | None = Field(
        default=None, title="Minutes", description="How long it takes. Left out: 30, or at Cal.com as long as the event type says."
    )
    time_zone: Line = Field(
        default="UTC", title="Time zone", description="IANA name, like Europe/Berlin.", json_schema_extra={"format": "time-zone"}
    )

    @model_validator(mode="after")
    def _here_or_at_calcom(self) -> Self:
        if self.resource is not None and self.event_type_id is not None:
            message = "either a resource here or an event type at Cal.com is booked"
            raise ValueError(message)
        return self


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


async def book_for_patient(parameters: BookForPatient, effect: Effect, tx: Tx) -> BookForPatientResult | None:
    """Book here, or write down whom Cal.com is to book and return None.

    Raises ``PatientMissing``, ``PatientUnknown``, ``StartUnreadable``, ``TimeZoneUnknown``, what ``book_appointment`` does; for
    Cal.com ``CalcomNotConfigured``, ``EventTypeMissing``, ``PatientHasNoEmail``, ``StartIsPast``.
    """
    patient_id = effect.request.patient_id
    if patient_id is None:
        raise PatientMissing
    patient = await contact(patient_id, tx)
    if patient is None:
        raise PatientUnknown
    starts_at = start_of(parameters.starts_at, parameters.time_zone)
    if parameters.resource is None:
        await _ask_calcom(parameters, effect, patient, starts_at, tx)
        return None
    minutes = USUAL_MINUTES if parameters.duration_minutes is None else parameters.duration_minutes
    view = await book_appointment(
        BookAppointment(
            starts_at=starts_at, ends_at=starts_at + timedelta(minutes=minutes), resource=parameters.resource, title=parameters.title,
            time_zone=parameters.time_zone, patient_id=patient_id,
        ),
        tx,
    )  # fmt: skip
    return BookForPatientResult(appointment_id=view.id, starts_at=view.starts_at, ends_at=view.ends_at)


async def _ask_calcom(parameters: BookForPatient, effect: Effect, patient: Any, starts_at: datetime, tx: Tx) -> None:
    """Whom the booking is for is settled now: a lost answer is looked up by the address it was made with."""
    settings = await calcom_settings(tx)
    if settings is None or settings["api_key"] is None:
        raise CalcomNotConfigured
    event_type_id = parameters.event_type_id or settings["event_type_id"]
    if event_type_id is None:
        raise EventTypeMissing(pointer="/event_type_id")
    if patient["email"] is None:
        raise PatientHasNoEmail
    if starts_at <= tx.now:
        raise StartIsPast(pointer="/starts_at")
    await tx.execute(
        _ASK, tx.practice_id, effect.key, patient["patient_id"], event_type_id, starts_at, parameters.duration_minutes, parameters.title,
        patient["shown_name"] or patient["name"].title(), patient["email"], patient["time_zone"] or parameters.time_zone, tx.now,
    )  # fmt: skip


async def cancel_for_run(parameters: CancelForRun, effect: Effect, tx: Tx) -> CancelForRunResult | None:
    """Cancel one of ours; None for one that has to be cancelled at Cal.com. One that is cancelled already stays so.

    Raises ``AppointmentNotFound``, ``AppointmentOfAnotherPatient``, ``AppointmentIsOver``; for Cal.com ``CalcomNotConfigured``, ``SeatKeptByCalcom``.
    """
    appointment = await appointment_by_id(parameters.appointment_id, tx, for_update=True)
    if appointment is None:
        raise AppointmentNotFound(pointer="/appointment_id")
    if None not in {effect.request.patient_id, appointment.patient_id} and effect.request.patient_id != appointment.patient_id:
        raise AppointmentOfAnotherPatient(pointer="/appointment_id")
    if appointment.status == AppointmentStatus.CANCELLED:
        return CancelForRunResult(appointment_id=appointment.id, was_cancelled_already=True)
    if appointment.status in OVER:
        raise AppointmentIsOver(pointer="/appointment_id")
    if appointment.source == AppointmentSource.LOCAL:
        await cancel_appointment(appointment.id, CancelAppointment(reason=parameters.reason), tx)
        return CancelForRunResult(appointment_id=appointment.id, was_cancelled_already=False)
    if appointment.external_key != appointment.external_id:
        raise SeatKeptByCalcom(pointer="/appointment_id")
    settings = await calcom_settings(tx)
    if settings is None or settings["api_key"] is None:
        raise CalcomNotConfigured
    return None
