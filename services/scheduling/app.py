"""Who is here: the scheduling service put together."""

from __future__ import annotations

from functools import partial

from libs.common.service import Service
from libs.contracts.scheduling import ActionFinished, PerformAction
from services.scheduling import api, consumers, timers
from services.scheduling.adapters.calcom_api import Calcom
from services.scheduling.adapters.retell import Retell
from services.scheduling.adapters.webhooks import WebhookSender
from services.scheduling.commands import calcom_settings, calls, endpoint, retell_settings
from services.scheduling.commands.dispatch import Dispatcher
from services.scheduling.rules.addresses import check_url
from services.scheduling.settings import Settings


def build(settings: Settings) -> Service:
    service = Service("scheduling", settings)
    box = service.box
    for column in ("webhook_secret", "previous_secret"):
        service.keeps_sealed("calcom_settings", column, calcom_settings.PURPOSE)
    service.keeps_sealed("calcom_settings", "api_key", calcom_settings.API_PURPOSE)
    for column in ("secret", "previous_secret"):
        service.keeps_sealed("webhook_endpoint", column, endpoint.PURPOSE)
    service.keeps_sealed("retell_settings", "api_key", retell_settings.API_PURPOSE)
    for column in ("webhook_key", "previous_webhook_key"):
        service.keeps_sealed("retell_settings", column, retell_settings.WEBHOOK_PURPOSE)
    for column in ("summary", "transcript"):
        service.keeps_sealed("call", column, calls.PURPOSE)
    wake = partial(service.wake, "webhooks")
    sender = WebhookSender(development=settings.webhooks_allow_private)
    dispatcher = Dispatcher(
        service.work, sender, box, slots=settings.webhook_concurrency, first_pause_seconds=settings.webhook_first_retry_seconds, wake=wake
    )
    retell = Retell(settings.retell_url)
    calcom = Calcom(settings.calcom_url)
    for provider in (retell, calcom):
        service.background(start=provider.open, stop=provider.close)
    performing = service.performs(
        PerformAction,
        ActionFinished,
        tools={"dialler": retell, "calendar": calcom, "box": box},
        concurrency=settings.call_concurrency,
        lookup_after_seconds=settings.lookup_after_seconds,
    )
    service.api(api.appointment_routes())
    service.api(api.appointment_change_routes())
    service.api(api.calcom_routes(box, performing))
    service.api(api.retell_routes(box, performing))
    service.api(api.call_routes(box))
    service.api(api.endpoint_routes(box, partial(check_url, development=settings.webhooks_allow_private), wake))
    service.consumes(partial(consumers.subscribe, wake=wake, performing=performing))
    service.every(seconds=1.0, run=partial(timers.deliver_webhooks, dispatcher), name="webhooks")
    service.every(seconds=15.0, run=partial(timers.follow_calls, service.work, retell, box, performing.record_in), name="calls")
    # Left in reverse: the attempts in progress are finished and recorded before their client is closed.
    service.background(start=sender.open, stop=sender.close)
    service.background(start=dispatcher.open, stop=dispatcher.drained)
    return service
