"""Book, confirm, reschedule and cancel an appointment of our own."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Self
from uuid import UUID

from pydantic import AfterValidator, AwareDatetime, BaseModel, StringConstraints, model_validator
from sqlalchemy.exc import IntegrityError

from libs.common.command import Command, Line
from libs.common.errors import Conflict, NotFound, VersionMismatch
from libs.common.work import Tx
from libs.contracts.scheduling import (
    AppointmentBooked,
    AppointmentCancelled,
    AppointmentConfirmed,
    AppointmentRescheduled,
)
from services.scheduling.model import Appointment
from services.scheduling.queries import appointment_by_id

EXCLUSION_VIOLATION = "23P01"
Utc = Annotated[AwareDatetime, AfterValidator(lambda moment: moment.astimezone(UTC))]
Resource = Annotated[str, StringConstraints(min_length=1, max_length=100, pattern=r"^[A-Za-z0-9][A-Za-z0-9 ._-]*$")]


class AppointmentNotFound(NotFound):
    """No such appointment."""


class SlotTaken(Conflict):
    """Somebody has this time on this resource already."""


class PatientUnknown(NotFound):
    """No such patient."""


class _Time(Command):
    starts_at: Utc
    ends_at: Utc

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if self.ends_at <= self.starts_at:
            message = "an appointment ends after it starts"
            raise ValueError(message)
        return self


class BookAppointment(_Time):
    patient_id: UUID
    resource: Resource
    title: Line
    time_zone: Line = "UTC"


class RescheduleAppointment(_Time):
    pass


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
    double_booked: bool
    created_at: datetime
    updated_at: datetime

    @classmethod
    def of(cls, appointment: Appointment) -> Self:
        return cls.model_validate(appointment, from_attributes=True)


async def book_appointment(cmd: BookAppointment, tx: Tx) -> AppointmentView:
    """Raises ``PatientUnknown``, ``SlotTaken`` (the database decides, whoever commits first)."""
    if await tx.value("SELECT 1 FROM contact WHERE practice_id = $1 AND patient_id = $2", tx.practice_id, cmd.patient_id) is None:
        raise PatientUnknown(pointer="/patient_id")
    appointment = Appointment(
        practice_id=tx.practice_id, id=tx.new_id(), version=1, status="booked", source="local", attendee_name="",
        **cmd.model_dump(), created_at=tx.now, updated_at=tx.now,
    )  # fmt: skip
    tx.session.add(appointment)
    await _write(tx)
    tx.emit(AppointmentBooked(**appointment.state(), attendee=appointment.attendee))
    return AppointmentView.of(appointment)


async def confirm_appointment(appointment_id: UUID, tx: Tx, *, if_version: int | None = None) -> AppointmentView:
    """Raises ``AppointmentNotFound``, ``VersionMismatch``, ``AlreadyConfirmed``, ``AppointmentIsCancelled``."""
    appointment = await _for_change(appointment_id, tx, if_version)
    appointment.confirm(tx.now)
    tx.emit(AppointmentConfirmed(**appointment.state()))
    return AppointmentView.of(appointment)


async def reschedule_appointment(appointment_id: UUID, cmd: RescheduleAppointment, tx: Tx, *, if_version: int | None = None) -> AppointmentView:
    """Raises ``AppointmentNotFound``, ``VersionMismatch``, ``AppointmentIsCancelled``, ``SlotTaken``."""
    appointment = await _for_change(appointment_id, tx, if_version)
    before = {"previous_starts_at": appointment.starts_at, "previous_ends_at": appointment.ends_at}
    appointment.move(cmd.starts_at, cmd.ends_at, tx.now)
    await _write(tx)
    tx.emit(AppointmentRescheduled(**appointment.state(), **before))
    return AppointmentView.of(appointment)


async def cancel_appointment(appointment_id: UUID, cmd: CancelAppointment, tx: Tx, *, if_version: int | None = None) -> AppointmentView:
    """Raises ``AppointmentNotFound``, ``VersionMismatch``, ``AppointmentIsCancelled``."""
    appointment = await _for_change(appointment_id, tx, if_version)
    appointment.cancel(tx.now)
    tx.emit(AppointmentCancelled(**appointment.state(), reason=cmd.reason))
    return AppointmentView.of(appointment)


async def show_appointment(appointment_id: UUID, tx: Tx) -> AppointmentView:
    """Raises ``AppointmentNotFound``."""
    appointment = await appointment_by_id(appointment_id, tx)
    if appointment is None:
        raise AppointmentNotFound
    return AppointmentView.of(appointment)


async def _for_change(appointment_id: UUID, tx: Tx, if_version: int | None) -> Appointment:
    appointment = await appointment_by_id(appointment_id, tx, for_update=True)
    if appointment is None:
        raise AppointmentNotFound
    if if_version is not None and appointment.version != if_version:
        raise VersionMismatch
    return appointment


async def _write(tx: Tx) -> None:
    """Let the database judge the time now. Raises ``SlotTaken``."""
    try:
        await tx.session.flush()
    except IntegrityError as error:
        if getattr(error.orig, "sqlstate", None) == EXCLUSION_VIOLATION:
            raise SlotTaken(pointer="/starts_at") from error
        raise
