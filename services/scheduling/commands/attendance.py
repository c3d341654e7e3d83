"""Whether the patient came: complete an appointment, mark it as no-show, and take a wrong mark back."""

from __future__ import annotations

from uuid import UUID

from libs.common.work import Tx
from libs.contracts.scheduling import AppointmentCompleted, AppointmentMarkedNoShow, AppointmentReopened
from services.scheduling.commands.appointments import AppointmentView, appointment_for_change


async def complete_appointment(appointment_id: UUID, tx: Tx, *, if_version: int | None = None) -> AppointmentView:
    """Raises what ``Appointment.complete`` does, ``AppointmentNotFound``, ``VersionMismatch``."""
    appointment = await appointment_for_change(appointment_id, tx, if_version)
    appointment.complete(tx.now)
    tx.emit(AppointmentCompleted(**appointment.state()))
    return AppointmentView.of(appointment)


async def mark_no_show(appointment_id: UUID, tx: Tx, *, if_version: int | None = None) -> AppointmentView:
    """Raises what ``Appointment.miss`` does, ``AppointmentNotFound``, ``VersionMismatch``."""
    appointment = await appointment_for_change(appointment_id, tx, if_version)
    appointment.miss(tx.now)
    tx.emit(AppointmentMarkedNoShow(**appointment.state()))
    return AppointmentView.of(appointment)


async def reopen_appointment(appointment_id: UUID, tx: Tx, *, if_version: int | None = None) -> AppointmentView:
    """It is booked or confirmed again, as it was. Raises what ``Appointment.reopen`` does, ``AppointmentNotFound``, ``VersionMismatch``."""
    appointment = await appointment_for_change(appointment_id, tx, if_version)
    mark = appointment.reopen(tx.now)
    tx.emit(AppointmentReopened(**appointment.state(), previous_status=mark))
    return AppointmentView.of(appointment)
