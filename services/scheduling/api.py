"""The HTTP door of scheduling: appointments, Cal.com, the outbound webhook endpoint."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from typing import Annotated
from uuid import UUID

from fastapi import Query, Request, Response
from pydantic import AwareDatetime

from libs.common.auth import Permission, Principal
from libs.common.errors import Unauthenticated
from libs.common.http import CursorQuery, DoorDep, IfMatch, LimitQuery, Page, Routes, WorkDep, needs, public
from libs.common.secrets import SecretBox
from libs.common.telemetry import Cause
from services.scheduling.adapters.calcom import PING, SIGNATURE_HEADER, SetAside, read_notice
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
from services.scheduling.commands.calcom_settings import CalcomSettings, ConfigureCalcom, configure_calcom, show_calcom, valid_secrets
from services.scheduling.commands.contacts import await_contact
from services.scheduling.commands.deliveries import DeliveryView, list_deliveries, send_again
from services.scheduling.commands.endpoint import (
    ConfigureEndpoint,
    EndpointView,
    UrlCheck,
    configure_endpoint,
    remove_endpoint,
    show_endpoint,
)
from services.scheduling.commands.notices import again_when_aborted, set_aside, take_notice
from services.scheduling.rules.signatures import calcom_signature_valid

_NOBODYS_SECRET = secrets.token_hex(32)
"""An unknown practice costs as much time as a wrong signature, and gets the same answer."""


class WebhookRefused(Unauthenticated):
    """The webhook's signature is not valid here."""


def appointment_routes() -> Routes:
    router = Routes(prefix="/v1/appointments", tags=["appointments"])

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
        since: Annotated[AwareDatetime | None, Query(description="Starting at or after; RFC 3339.")] = None,
        until: Annotated[AwareDatetime | None, Query(description="Starting before; RFC 3339.")] = None,
        patient_id: UUID | None = None,
        limit: LimitQuery = 50,
        cursor: CursorQuery = None,
    ) -> Page[AppointmentView]:
        """List appointments by start."""
        async with door.work() as tx:
            views = await list_appointments(tx, since=since, until=until, patient_id=patient_id, after=door.position(cursor), limit=limit)
            return door.page(views, limit, lambda view: (view.starts_at.isoformat(), view.id))

    @router.get("/{appointment_id}", response_model=AppointmentView, **needs(Permission.APPOINTMENTS_READ))
    async def show(appointment_id: UUID, door: DoorDep) -> Response:
        """Show an appointment."""
        async with door.work() as tx:
            view = await show_appointment(appointment_id, tx)
            return await door.answer(tx, view, headers=_etag(view))

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

    return router


def _etag(view: AppointmentView) -> dict[str, str]:
    return {"ETag": f'"{view.version}"'}


def calcom_routes(box: SecretBox) -> Routes:
    router = Routes(tags=["cal.com"])

    @router.put("/v1/calcom-settings", response_model=CalcomSettings, **needs(Permission.INTEGRATIONS_WRITE))
    async def configure(cmd: ConfigureCalcom, door: DoorDep) -> Response:
        """Set the secret Cal.com signs its webhooks with. Practice admins only; it is never shown again."""
        async with door.work() as tx:
            return await door.answer(tx, await configure_calcom(cmd, box, tx))

    @router.get("/v1/calcom-settings", response_model=CalcomSettings, **needs(Permission.INTEGRATIONS_WRITE))
    async def show(door: DoorDep) -> Response:
        """Whether Cal.com is configured, and where its webhooks go. Practice admins only."""
        async with door.work() as tx:
            return await door.answer(tx, await show_calcom(tx))

    @router.post("/webhooks/calcom/{practice_id}", status_code=204, **public("the provider's signature"))
    async def webhook(practice_id: UUID, request: Request, work: WorkDep) -> Response:
        """Cal.com's booking webhooks, signed. Answered when the appointment and its event are durable.

        What is signed but not understood is kept and answered alike: Cal.com would not send it again.
        """
        raw = await request.body()
        signature = request.headers.get(SIGNATURE_HEADER)

        async def take() -> None:
            async with work(Principal.system("calcom", practice_id)) as tx:
                tx.cause = Cause(request.state.correlation_id, "", request.state.traceparent, "")
                if not calcom_signature_valid(raw, signature, await valid_secrets(box, tx) or [_NOBODYS_SECRET]):
                    raise WebhookRefused
                notice = read_notice(raw)
                if not isinstance(notice, SetAside):
                    await take_notice(notice, tx)
                elif notice.reason != PING:
                    await set_aside(notice.reason, notice.trigger, notice.delivery_key, raw, tx)

        await again_when_aborted(take)
        return Response(status_code=204)

    return router


def endpoint_routes(box: SecretBox, check_url: UrlCheck, wake: Callable[[], None]) -> Routes:
    router = Routes(prefix="/v1/webhook-endpoint", tags=["outbound webhooks"])

    @router.put("", response_model=EndpointView, **needs(Permission.WEBHOOKS_WRITE))
    async def configure(cmd: ConfigureEndpoint, door: DoorDep) -> Response:
        """Make or change the practice's webhook endpoint. Practice admins only; the secret is shown once."""
        async with door.work() as tx:
            view = await configure_endpoint(cmd, check_url, box, tx)
            if view.secret is None:
                return await door.answer(tx, view)
        # Not through door.answer: an answer kept for its idempotency key would keep the secret readable.
        return Response(view.model_dump_json(), 200, {"Cache-Control": "no-store"}, "application/json")

    @router.get("", response_model=EndpointView, **needs(Permission.WEBHOOKS_READ))
    async def show(door: DoorDep) -> Response:
        """The practice's webhook endpoint. Practice admins only."""
        async with door.work() as tx:
            return await door.answer(tx, await show_endpoint(tx))

    @router.delete("", status_code=204, **needs(Permission.WEBHOOKS_WRITE))
    async def remove(door: DoorDep) -> Response:
        """Stop sending webhooks. Practice admins only."""
        async with door.work() as tx:
            await remove_endpoint(tx)
            return await door.answer(tx, status=204)

    @router.get("/deliveries", response_model=Page[DeliveryView], **needs(Permission.WEBHOOKS_READ))
    async def log(door: DoorDep, limit: LimitQuery = 50, cursor: CursorQuery = None) -> Page[DeliveryView]:
        """What was sent, newest first, with every attempt. Practice admins only."""
        async with door.work() as tx:
            views = await list_deliveries(tx, after=door.position(cursor), limit=limit)
            return door.page(views, limit, lambda view: (view.created_at.isoformat(), view.id))

    @router.post("/deliveries/{delivery_id}/resend", status_code=202, **needs(Permission.WEBHOOKS_WRITE))
    async def again(delivery_id: UUID, door: DoorDep) -> Response:
        """Send one delivery again, with the same webhook-id. Practice admins only."""
        async with door.work() as tx:
            await send_again(delivery_id, tx)
            tx.after_commit(wake)
            return await door.answer(tx, status=202)

    return router
