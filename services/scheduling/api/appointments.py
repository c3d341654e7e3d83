"""Appointments: book one, show and list them; and what becomes of one: confirmed, moved, cancelled, completed, missed."""

from __future__ import annotations

from typing import Annotated
from uuid import UUID

from fastapi import Query, Response

from libs.common.auth import Permission
from libs.common.command import Moment
from libs.common.http import CursorQuery, DoorDep, IfMatch, LimitQuery, Page, Routes, WorkDep, needs
from libs.contracts.scheduling import AppointmentStatus
from services.scheduling.commands.appointments import (
    AppointmentView,
    BookAppointment,
    CancelAppointment,
    RescheduleAppointment,
    book_appointment,
    cancel_appointment,
    confirm_appointment,
    list_appointments,
    reschedule_appointment,
    show_appointment,
)
from services.scheduling.commands.attendance import complete_appointment, mark_no_show, reopen_appointment
from services.scheduling.commands.contacts import await_contact


def appointment_routes() -> Routes:
    router = Routes(prefix="/v1/appointments", tags=["appointments"])
    _keep(router)
    _change(router)
    _attendance(router)
    return router


def _keep(router: Routes) -> None:
    @router.post("", status_code=201, response_model=AppointmentView, **needs(Permission.APPOINTMENTS_WRITE))
    async def book(cmd: BookAppointment, door: DoorDep, work: WorkDep) -> Response:
        """Book an appointment. The database refuses a second one at the same time on the same resource."""
        if cmd.patient_id is not None:
            await await_contact(cmd.patient_id, door.practice_id, work)
        async with door.work() as tx:
            view = await book_appointment(cmd, tx)
            return await door.answer(tx, view, status=201, headers=_etag(view))

    @router.get("", response_model=Page[AppointmentView], **needs(Permission.APPOINTMENTS_READ))
    async def list_page(
        door: DoorDep,
        since: Annotated[Moment | None, Query(description="Starting at or after; RFC 3339.")] = None,
        until: Annotated[Moment | None, Query(description="Starting before; RFC 3339.")] = None,
        patient_id: UUID | None = None,
        status: AppointmentStatus | None = None,
        limit: LimitQuery = 50,
        cursor: CursorQuery = None,
    ) -> Page[AppointmentView]:
        """List appointments by start."""
        async with door.work() as tx:
            views = await list_appointments(
                tx, since=since, until=until, patient_id=patient_id, status=status, after=door.position(cursor), limit=limit
            )
            return door.page(views, limit, lambda view: (view.starts_at.isoformat(), view.id))

    @router.get("/{appointment_id}", response_model=AppointmentView, **needs(Permission.APPOINTMENTS_READ))
    async def show(appointment_id: UUID, door: DoorDep) -> Response:
        """Show an appointment."""
        async with door.work() as tx:
            view = await show_appointment(appointment_id, tx)
            return await door.answer(tx, view, headers=_etag(view))


def _change(router: Routes) -> None:
    @router.post("/{appointment_id}/confirm", response_model=AppointmentView, **needs(Permission.APPOINTMENTS_WRITE))
    async def confirm(appointment_id: UUID, door: DoorDep, if_match: IfMatch) -> Response:
        """Confirm an appointment."""
        async with door.work() as tx:
            view = await confirm_appointment(appointment_id, tx, if_version=if_match)
            return await door.answer(tx, view, headers=_etag(view))

    @router.post("/{appointment_id}/reschedule", response_model=AppointmentView, **needs(Permission.APPOINTMENTS_WRITE))
    async def reschedule(appointment_id: UUID, cmd: RescheduleAppointment, door: DoorDep, if_match: IfMatch) -> Response:
        """Move an appointment; it is to be confirmed anew."""
        async with door.work() as tx:
            view = await reschedule_appointment(appointment_id, cmd, tx, if_version=if_match)
            return await door.answer(tx, view, headers=_etag(view))

    @router.post("/{appointment_id}/cancel", response_model=AppointmentView, **needs(Permission.APPOINTMENTS_WRITE))
    async def cancel(appointment_id: UUID, cmd: CancelAppointment, door: DoorDep, if_match: IfMatch) -> Response:
        """Cancel an appointment."""
        async with door.work() as tx:
            view = await cancel_appointment(appointment_id, cmd, tx, if_version=if_match)
            return await door.answer(tx, view, headers=_etag(view))


def _attendance(router: Routes) -> None:
    @router.post("/{appointment_id}/complete", response_model=AppointmentView, **needs(Permission.APPOINTMENTS_WRITE))
    async def complete(appointment_id: UUID, door: DoorDep, if_match: IfMatch) -> Response:
        """Complete an appointment that has begun: the patient came. One marked as no-show becomes completed."""
        async with door.work() as tx:
            view = await complete_appointment(appointment_id, tx, if_version=if_match)
            return await door.answer(tx, view, headers=_etag(view))

    @router.post("/{appointment_id}/no-show", response_model=AppointmentView, **needs(Permission.APPOINTMENTS_WRITE))
    async def no_show(appointment_id: UUID, door: DoorDep, if_match: IfMatch) -> Response:
        """Mark an appointment that has begun as no-show: the patient did not come. Here only; Cal.com is not told."""
        async with door.work() as tx:
            view = await mark_no_show(appointment_id, tx, if_version=if_match)
            return await door.answer(tx, view, headers=_etag(view))

    @router.post("/{appointment_id}/reopen", response_model=AppointmentView, **needs(Permission.APPOINTMENTS_WRITE))
    async def reopen(appointment_id: UUID, door: DoorDep, if_match: IfMatch) -> Response:
        """Take back that an appointment was completed or missed; it is booked or confirmed again, as it was before."""
        async with door.work() as tx:
            view = await reopen_appointment(appointment_id, tx, if_version=if_match)
            return await door.answer(tx, view, headers=_etag(view))


def _etag(view: AppointmentView) -> dict[str, str]:
    return {"ETag": f'"{view.version}"'}
