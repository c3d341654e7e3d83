"""The HTTP door of scheduling: appointments, Cal.com, the outbound webhook endpoint."""

from __future__ import annotations

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Query, Request, Response
from pydantic import AwareDatetime

from libs.common.auth import Principal, Role
from libs.common.http import CursorQuery, DoorDep, IfMatch, LimitQuery, Page, WorkDep
from libs.common.secrets import SecretBox
from libs.common.telemetry import Cause
from services.scheduling.adapters import calcom
from services.scheduling.commands.appointments import (
    AppointmentView,
    BookAppointment,
    CancelAppointment,
    RescheduleAppointment,
    book_appointment,
    cancel_appointment,
    confirm_appointment,
    reschedule_appointment,
    show_appointment,
)
from services.scheduling.commands.calcom import CalcomSettings, ConfigureCalcom, check_signature, configure_calcom, show_calcom, take_notice
from services.scheduling.commands.webhooks import (
    ConfigureEndpoint,
    DeliveryView,
    EndpointView,
    configure_endpoint,
    remove_endpoint,
    resend,
    show_endpoint,
)
from services.scheduling.queries import appointments_between, deliveries


def appointment_routes() -> APIRouter:
    router = APIRouter(prefix="/v1/appointments", tags=["appointments"])

    @router.post("", status_code=201, response_model=AppointmentView)
    async def book(cmd: BookAppointment, door: DoorDep) -> Response:
        """Book an appointment. The database refuses a second one at the same time on the same resource."""
        async with door.work() as tx:
            view = await book_appointment(cmd, tx)
            return await door.answer(tx, view, status=201, headers={"ETag": f'"{view.version}"'})

    @router.get("", response_model=Page[AppointmentView])
    async def list_page(
        door: DoorDep,
        since: Annotated[AwareDatetime | None, Query(description="Starting at or after; RFC 3339.")] = None,
        until: Annotated[AwareDatetime | None, Query(description="Starting before; RFC 3339.")] = None,
        patient_id: UUID | None = None,
        limit: LimitQuery = 50,
        cursor: CursorQuery = None,
    ) -> Page[AppointmentView]:
        """List appointments by start."""
        async with door.work() as tx:
            found = await appointments_between(tx, since=since, until=until, patient_id=patient_id, after=door.position(cursor), limit=limit)
            views = [AppointmentView.of(appointment) for appointment in found]
            return door.page(views, limit, lambda view: (view.starts_at.isoformat(), view.id))

    @router.get("/{appointment_id}", response_model=AppointmentView)
    async def show(appointment_id: UUID, door: DoorDep) -> Response:
        """Show an appointment."""
        async with door.work() as tx:
            view = await show_appointment(appointment_id, tx)
            return await door.answer(tx, view, headers={"ETag": f'"{view.version}"'})

    @router.post("/{appointment_id}/confirm", response_model=AppointmentView)
    async def confirm(appointment_id: UUID, door: DoorDep, if_match: IfMatch) -> Response:
        """Confirm an appointment."""
        async with door.work() as tx:
            return await door.answer(tx, await confirm_appointment(appointment_id, tx, if_version=if_match))

    @router.post("/{appointment_id}/reschedule", response_model=AppointmentView)
    async def reschedule(appointment_id: UUID, cmd: RescheduleAppointment, door: DoorDep, if_match: IfMatch) -> Response:
        """Move an appointment; it is to be confirmed anew."""
        async with door.work() as tx:
            return await door.answer(tx, await reschedule_appointment(appointment_id, cmd, tx, if_version=if_match))

    @router.post("/{appointment_id}/cancel", response_model=AppointmentView)
    async def cancel(appointment_id: UUID, cmd: CancelAppointment, door: DoorDep, if_match: IfMatch) -> Response:
        """Cancel an appointment."""
        async with door.work() as tx:
            return await door.answer(tx, await cancel_appointment(appointment_id, cmd, tx, if_version=if_match))

    return router


def calcom_routes(box: SecretBox) -> APIRouter:
    router = APIRouter(tags=["cal.com"])

    @router.put("/v1/calcom-settings", response_model=CalcomSettings)
    async def configure(cmd: ConfigureCalcom, door: DoorDep) -> Response:
        """Set the secret Cal.com signs its webhooks with. Practice admins only; it is never shown again."""
        door.require(Role.PRACTICE_ADMIN)
        async with door.work() as tx:
            return await door.answer(tx, await configure_calcom(cmd, box, tx))

    @router.get("/v1/calcom-settings", response_model=CalcomSettings)
    async def show(door: DoorDep) -> Response:
        """Whether Cal.com is configured, and where its webhooks go."""
        async with door.work() as tx:
            return await door.answer(tx, await show_calcom(tx))

    @router.post("/webhooks/calcom/{practice_id}", status_code=204)
    async def webhook(practice_id: UUID, request: Request, work: WorkDep) -> Response:
        """Cal.com's booking webhooks. Answered when the appointment and its event are durable."""
        raw = await request.body()
        async with work(Principal.system("calcom", practice_id)) as tx:
            tx.cause = Cause(request.state.correlation_id, "", request.state.traceparent, "")
            await check_signature(lambda secret: calcom.verify(raw, request.headers.get(calcom.SIGNATURE_HEADER), secret), box, tx)
            notice = calcom.read(raw)
            if notice is not None:
                await take_notice(notice, tx)
        return Response(status_code=204)

    return router


def endpoint_routes(box: SecretBox) -> APIRouter:
    router = APIRouter(prefix="/v1/webhook-endpoint", tags=["outbound webhooks"])

    @router.put("", response_model=EndpointView)
    async def configure(cmd: ConfigureEndpoint, door: DoorDep) -> Response:
        """Make or change the practice's webhook endpoint. Practice admins only; the secret is shown once."""
        door.require(Role.PRACTICE_ADMIN)
        async with door.work() as tx:
            return await door.answer(tx, await configure_endpoint(cmd, box, tx))

    @router.get("", response_model=EndpointView)
    async def show(door: DoorDep) -> Response:
        """The practice's webhook endpoint."""
        async with door.work() as tx:
            return await door.answer(tx, await show_endpoint(tx))

    @router.delete("", status_code=204)
    async def remove(door: DoorDep) -> Response:
        """Stop sending webhooks. Practice admins only."""
        door.require(Role.PRACTICE_ADMIN)
        async with door.work() as tx:
            await remove_endpoint(tx)
            return await door.answer(tx, status=204)

    @router.get("/deliveries", response_model=Page[DeliveryView])
    async def log(door: DoorDep, limit: LimitQuery = 50, cursor: CursorQuery = None) -> Page[DeliveryView]:
        """What was sent, newest first, with every attempt."""
        async with door.work() as tx:
            views = [DeliveryView.model_validate(dict(row)) for row in await deliveries(tx, after=door.position(cursor), limit=limit)]
            return door.page(views, limit, lambda view: (view.id,))

    @router.post("/deliveries/{delivery_id}/resend", status_code=202)
    async def again(delivery_id: UUID, door: DoorDep) -> Response:
        """Send one delivery again, with the same webhook-id. Practice admins only."""
        door.require(Role.PRACTICE_ADMIN)
        async with door.work() as tx:
            await resend(delivery_id, tx)
            return await door.answer(tx, status=202)

    return router
