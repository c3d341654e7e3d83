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

SEALED = (
    ("calcom_settings", calcom_settings.PURPOSE, "webhook_secret", "previous_secret"),
    ("calcom_settings", calcom_settings.API_PURPOSE, "api_key"),
    ("webhook_endpoint", endpoint.PURPOSE, "secret", "previous_secret"),
    ("retell_settings", retell_settings.API_PURPOSE, "api_key"),
    ("retell_settings", retell_settings.WEBHOOK_PURPOSE, "webhook_key", "previous_webhook_key"),
    ("call", calls.PURPOSE, "summary", "transcript"),
)


def build(settings: Settings) -> Service:
    service = Service("scheduling", settings)
    box = service.box
    for table, purpose, *columns in SEALED:
        for column in columns:
            service.keeps_sealed(table, column, purpose)
    wake = partial(service.wake, "webhooks")
    sender = WebhookSender(development=settings.webhooks_allow_private)
    dispatcher = Dispatcher(
        service.work, sender, box, slots=settings.webhook_concurrency, first_pause_seconds=settings.webhook_first_retry_seconds, wake=wake
    )
    retell, calcom = Retell(settings.retell_url), Calcom(settings.calcom_url)
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
