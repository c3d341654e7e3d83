"""Cal.com: the secret shared with it, and its notices."""

from __future__ import annotations

from uuid import UUID

from fastapi import Request, Response

from libs.common.actions.performing import Performing
from libs.common.auth import Permission, Principal
from libs.common.http import DoorDep, Routes, WorkDep, needs, public
from libs.common.secrets import SecretBox
from libs.common.telemetry import Cause
from libs.common.work import Tx
from services.scheduling.adapters.calcom import NO_SHOW, PING, SIGNATURE_HEADER, read_notice
from services.scheduling.api.refusals import NOBODYS_SECRET, WebhookRefused
from services.scheduling.commands.bookings import hear_of_booking
from services.scheduling.commands.calcom_settings import CalcomSettings, ConfigureCalcom, configure_calcom, show_calcom, valid_secrets
from services.scheduling.commands.no_shows import take_no_show
from services.scheduling.commands.notices import again_when_aborted, set_aside
from services.scheduling.rules.no_shows import NoShowNotice
from services.scheduling.rules.notices import BookingNotice, SetAside
from services.scheduling.rules.signatures import calcom_signature_valid


def calcom_routes(box: SecretBox, performing: Performing) -> Routes:
    router = Routes(tags=["cal.com"])
    _settings(router, box)
    _webhook(router, box, performing)
    return router


def _settings(router: Routes, box: SecretBox) -> None:
    @router.put("/v1/calcom-settings", response_model=CalcomSettings, **needs(Permission.INTEGRATIONS_WRITE))
    async def configure(cmd: ConfigureCalcom, door: DoorDep) -> Response:
        """Set the secret of Cal.com's webhooks, the API key and the event type to book with. Practice admins only; never shown again.

        What is left out stays as it is.
        """
        async with door.work() as tx:
            return await door.answer(tx, await configure_calcom(cmd, box, tx))

    @router.get("/v1/calcom-settings", response_model=CalcomSettings, **needs(Permission.INTEGRATIONS_WRITE))
    async def show(door: DoorDep) -> Response:
        """Whether Cal.com is configured, and where its webhooks go. Practice admins only."""
        async with door.work() as tx:
            return await door.answer(tx, await show_calcom(tx))


def _webhook(router: Routes, box: SecretBox, performing: Performing) -> None:
    async def act_upon(notice: BookingNotice | NoShowNotice | SetAside, raw: bytes, tx: Tx) -> None:
        match notice:
            case BookingNotice():
                await hear_of_booking(notice, performing.record_in, tx)
            case NoShowNotice():
                reason = await take_no_show(notice, tx)
                if reason is not None:
                    await set_aside("calcom", SetAside(reason, NO_SHOW, notice.delivery_key), raw, tx)
            case SetAside() if notice.reason != PING:
                await set_aside("calcom", notice, raw, tx)

    @router.post("/webhooks/calcom/{practice_id}", status_code=204, **public("the provider's signature"))
    async def webhook(practice_id: UUID, request: Request, work: WorkDep) -> Response:
        """Cal.com's booking and no-show webhooks, signed. Answered when the appointment and its event are durable.

        What is signed but not understood is kept and answered alike: Cal.com would not send it again.
        """
        raw = await request.body()
        signature = request.headers.get(SIGNATURE_HEADER)

        async def take() -> None:
            async with work(Principal.system("calcom", practice_id)) as tx:
                tx.cause = Cause(request.state.correlation_id, "", request.state.traceparent, "")
                if not calcom_signature_valid(raw, signature, await valid_secrets(box, tx) or [NOBODYS_SECRET]):
                    raise WebhookRefused
                await act_upon(read_notice(raw), raw, tx)

        await again_when_aborted(take)
        return Response(status_code=204)
