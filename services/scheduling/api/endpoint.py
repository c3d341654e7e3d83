"""The outbound webhook endpoint: set it, see what was sent, send again."""

from __future__ import annotations

from collections.abc import Callable
from uuid import UUID

from fastapi import Response

from libs.common.auth import Permission
from libs.common.http import CursorQuery, DoorDep, LimitQuery, Page, Routes, needs
from libs.common.secrets import SecretBox
from services.scheduling.commands.deliveries import DeliveryView, list_deliveries, send_again
from services.scheduling.commands.endpoint import (
    ConfigureEndpoint,
    EndpointView,
    UrlCheck,
    configure_endpoint,
    remove_endpoint,
    show_endpoint,
)


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
