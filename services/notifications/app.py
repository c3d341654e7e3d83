"""Who is here: the notifications service put together."""

from __future__ import annotations

from functools import partial

from libs.common.service import Service
from libs.contracts.notifications import ActionFinished, PerformAction
from services.notifications import api, consumers
from services.notifications.adapters.requests import MAX_SECONDS, Requests
from services.notifications.adapters.sendgrid import SendGrid
from services.notifications.commands.settings import PURPOSE
from services.notifications.settings import Settings


def build(settings: Settings) -> Service:
    service = Service("notifications", settings)
    box = service.box
    service.keeps_sealed("email_settings", "api_key", PURPOSE)
    sendgrid = SendGrid(settings.sendgrid_url, settings.sendgrid_concurrency)
    requests = Requests(development=settings.requests_allow_private, total_seconds=MAX_SECONDS)
    service.background(sendgrid.open, sendgrid.close)
    service.background(requests.open, requests.close)
    performing = service.performs(
        PerformAction,
        ActionFinished,
        tools={"mailer": sendgrid, "box": box, "requester": requests},
        concurrency=settings.sendgrid_concurrency,
        lookup_after_seconds=settings.lookup_after_seconds,
    )
    service.consumes(partial(consumers.subscribe, performing=performing))
    service.api(api.routes(box, performing))
    return service
