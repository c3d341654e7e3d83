"""Who is here: the scheduling service put together."""

from __future__ import annotations

from functools import partial

from libs.common.secrets import SecretBox
from libs.common.service import Service
from services.scheduling import api, consumers, timers
from services.scheduling.adapters.webhooks import WebhookSender
from services.scheduling.settings import Settings


def build(settings: Settings) -> Service:
    service = Service("scheduling", settings)
    box = SecretBox(settings.secrets_key.get_secret_value())
    sender = WebhookSender(allow_private=settings.webhooks_allow_private)
    service.api(api.appointment_routes())
    service.api(api.calcom_routes(box))
    service.api(api.endpoint_routes(box))
    service.consumes(partial(consumers.subscribe, wake=lambda: service.wake("webhooks")))
    deliver = partial(timers.deliver_webhooks, service.work, sender, box, settings.webhook_first_retry_seconds)
    service.every(seconds=1.0, run=deliver, name="webhooks")
    service.background(start=sender.open, stop=sender.close)
    return service
