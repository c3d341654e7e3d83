"""Who is here: the notifications service put together."""

from __future__ import annotations

from functools import partial

from libs.common.actions import discover
from libs.common.service import Service
from services.notifications import api, consumers, timers
from services.notifications.adapters.sendgrid import SendGrid
from services.notifications.commands.dispatcher import Dispatcher
from services.notifications.commands.settings import PURPOSE
from services.notifications.settings import Settings


def build(settings: Settings) -> Service:
    service = Service("notifications", settings)
    box = service.box
    service.keeps_sealed("email_settings", "api_key", PURPOSE)
    sendgrid = SendGrid(settings.sendgrid_url, settings.sendgrid_concurrency)
    dispatcher = Dispatcher(
        service.work, sendgrid, box, concurrency=settings.sendgrid_concurrency, lookup_after_seconds=settings.lookup_after_seconds
    )
    service.background(sendgrid.open, sendgrid.close)
    service.background(dispatcher.start, dispatcher.stop)
    service.api(api.routes(box))
    service.consumes(partial(consumers.subscribe, take=dispatcher.take))
    service.offers(discover("notifications"))
    recover = partial(timers.recover, service.work, sendgrid, box, dispatcher.take, settings.lookup_after_seconds)
    service.every(seconds=1.0, run=recover, name="recovery")
    return service
