"""Book, confirm, reschedule and cancel an appointment of our own; show and list all of them."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Self
from uuid import UUID

from pydantic import AfterValidator, BaseModel, StringConstraints, model_validator
from sqlalchemy.exc import DBAPIError

from libs.common.command import Command, Line, Moment
from libs.common.db import SERIALIZATION_FAILURES
from libs.common.errors import Conflict, NotFound, VersionMismatch
from libs.common.work import Tx
from libs.contracts.scheduling import (
    AppointmentBooked,
    AppointmentCancelled,
    AppointmentConfirmed,
    AppointmentRescheduled,
    AppointmentStatus,
    AppointmentsViewed,
)
from services.scheduling.model import Appointment
from services.scheduling.queries import appointment_by_id, appointments_between, is_contact, lock, lock_keys, patient_of
from services.scheduling.rules.appointments import check_time_zone, check_times
from services.scheduling.rules.attendees import AttendeeDetails, normal_email, normal_phone

EXCLUSION_VIOLATION = "23P01"
Resource = Annotated[str, StringConstraints(min_length=1, max_length=100, pattern=r"^[A-Za-z0-9][A-Za-z0-9 ._-]*$")]


class AppointmentNotFound(NotFound):
    """No such appointment."""


class SlotTaken(Conflict):
    """Somebody has this time on this resource already."""


class PatientUnknown(NotFound):
    """No such patient."""


def _must_be(normal: Any, message: str) -> AfterValidator:
    def check(text: str) -> str:
        found: str | None = normal(text)
        if found is None:
            raise ValueError(message)
        return found

    return AfterValidator(check)


class AttendeeCommand(Command):
    """Somebody who is not a patient yet, or whom we are to find among the patients."""

    name: Line
    email: Annotated[str, _must_be(normal_email, "this is not an e-mail address")] | None = None
    phone: Annotated[str, _must_be(normal_phone, "a phone number is written with its country code, like +12025550123")] | None = None


class BookAppointment(Command):
    """For a patient, or for an attendee who is matched to one now or when they are registered."""

    starts_at: Moment
    ends_at: Moment
    resource: Resource
    title: Line
    time_zone: Line = "UTC"
    patient_id: UUID | None = None
    attendee: AttendeeCommand | None = None

    @model_validator(mode="after")
    def _for_somebody(self) -> Self:
        if (self.patient_id is None) == (self.attendee is None):
            message = "an appointment is either for a patient or for an attendee"
            raise ValueError(message)
        return self


class RescheduleAppointment(Command):
    starts_at: Moment
    ends_at: Moment


class CancelAppointment(Command):
    reason: Line | None = None


class AppointmentView(BaseModel):
    """An appointment as the API shows it. Times are UTC; ``patient_id`` is null while nobody was matched."""

    id: UUID
    version: int
    status: str
    source: str
    resource: str
    title: str
    starts_at: datetime
    ends_at: datetime
    time_zone: str
    patient_id: UUID | None
    attendee_name: str
    attendee_email: str | None
    attendee_phone: str | None
    external_id: str | None
    double_booked: bool
    created_at: datetime
    updated_at: datetime

    @classmethod
    def of(cls, appointment: Appointment) -> Self:
        return cls.model_validate(appointment, from_attributes=True)


async def book_appointment(cmd: BookAppointment, tx: Tx) -> AppointmentView:
    """Raises ``EndsBeforeStart``, ``AppointmentTooLong``, ``TimeZoneUnknown``, ``PatientUnknown``, ``SlotTaken``.

    Who gets a slot that several want is decided by the database: exactly one of them.
    """
    check_times(cmd.starts_at, cmd.ends_at)
    check_time_zone(cmd.time_zone)
    attendee = AttendeeDetails(**cmd.attendee.model_dump()) if cmd.attendee else AttendeeDetails()
    appointment = Appointment(
        practice_id=tx.practice_id, id=tx.new_id(), version=1, status="booked", source="local", resource=cmd.resource, title=cmd.title,
        starts_at=cmd.starts_at, ends_at=cmd.ends_at, time_zone=cmd.time_zone, patient_id=await _patient(cmd, attendee, tx),
        attendee_name=attendee.name, attendee_email=attendee.email, attendee_phone=attendee.phone, exclusive=True, double_booked=False,
        created_at=tx.now, updated_at=tx.now,
    )  # fmt: skip
    tx.session.add(appointment)
    await _write(tx)
    tx.emit(AppointmentBooked(**appointment.state(), attendee=appointment.attendee))
    return AppointmentView.of(appointment)


async def _patient(cmd: BookAppointment, attendee: AttendeeDetails, tx: Tx) -> UUID | None:
    if cmd.patient_id is not None:
        if not await is_contact(cmd.patient_id, tx):
            raise PatientUnknown(pointer="/patient_id")
        return cmd.patient_id
    await lock(lock_keys(tx.practice_id, contacts=(attendee.email, attendee.phone)), tx)
    return await patient_of(attendee, tx)


async def confirm_appointment(appointment_id: UUID, tx: Tx, *, if_version: int | None = None) -> AppointmentView:
    """Raises what ``Appointment.confirm`` does, ``AppointmentNotFound``, ``VersionMismatch``."""
    appointment = await appointment_for_change(appointment_id, tx, if_version)
    appointment.confirm(tx.now)
    tx.emit(AppointmentConfirmed(**appointment.state()))
    return AppointmentView.of(appointment)


async def reschedule_appointment(
    appointment_id: UUID, cmd: RescheduleAppointment, tx: Tx, *, if_version: int | None = None
) -> AppointmentView:
    """Raises what ``Appointment.move`` does, ``AppointmentNotFound``, ``VersionMismatch``, ``SlotTaken``, ``EndsBeforeStart``."""
    check_times(cmd.starts_at, cmd.ends_at)
    appointment = await appointment_for_change(appointment_id, tx, if_version)
    before = {"previous_starts_at": appointment.starts_at, "previous_ends_at": appointment.ends_at}
    appointment.move(cmd.starts_at, cmd.ends_at, tx.now)
    await _write(tx)
    tx.emit(AppointmentRescheduled(**appointment.state(), **before))
    return AppointmentView.of(appointment)


async def cancel_appointment(appointment_id: UUID, cmd: CancelAppointment, tx: Tx, *, if_version: int | None = None) -> AppointmentView:
    """Raises what ``Appointment.cancel`` does, ``AppointmentNotFound``, ``VersionMismatch``."""
    appointment = await appointment_for_change(appointment_id, tx, if_version)
    appointment.cancel(tx.now)
    tx.emit(AppointmentCancelled(**appointment.state(), reason=cmd.reason))
    return AppointmentView.of(appointment)


async def show_appointment(appointment_id: UUID, tx: Tx) -> AppointmentView:
    """Read one; that it was read is said in the same transaction. Raises ``AppointmentNotFound``."""
    appointment = await appointment_by_id(appointment_id, tx)
    if appointment is None:
        raise AppointmentNotFound
    tx.emit(AppointmentsViewed(appointment_ids=[appointment.id], view="record"))
    return AppointmentView.of(appointment)


async def list_appointments(
    tx: Tx,
    *,
    since: datetime | None,
    until: datetime | None,
    patient_id: UUID | None,
    status: AppointmentStatus | None,
    after: tuple[str, ...] | None,
    limit: int,
) -> list[AppointmentView]:
    """By start; one more than ``limit`` when there is more. That they were read is said in the same transaction."""
    found = await appointments_between(tx, since=since, until=until, patient_id=patient_id, status=status, after=after, limit=limit)
    if found:
        tx.emit(AppointmentsViewed(appointment_ids=[appointment.id for appointment in found[:limit]], view="list"))
    return [AppointmentView.of(appointment) for appointment in found]


async def appointment_for_change(appointment_id: UUID, tx: Tx, if_version: int | None) -> Appointment:
    """Held until the transaction ends. Raises ``AppointmentNotFound``, ``VersionMismatch``."""
    appointment = await appointment_by_id(appointment_id, tx, for_update=True)
    if appointment is None:
        raise AppointmentNotFound
    if if_version is not None and appointment.version != if_version:
        raise VersionMismatch
    return appointment


async def _write(tx: Tx) -> None:
    """Let the database judge the time now. Raises ``SlotTaken``.

    Two moves that want each other's slot wait in a circle: the database ends one of them, and its slot is taken.
    """
    try:
        await tx.session.flush()
    except DBAPIError as error:
        if getattr(error.orig, "sqlstate", None) in {EXCLUSION_VIOLATION, *SERIALIZATION_FAILURES}:
            raise SlotTaken(pointer="/starts_at") from error
        raise
