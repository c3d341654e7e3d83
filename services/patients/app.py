"""Who is here: the patients service put together."""

from __future__ import annotations

from libs.common.actions import discover
from libs.common.service import Service
from services.patients import api, consumers
from services.patients.settings import Settings


def build(settings: Settings) -> Service:
    service = Service("patients", settings)
    service.api(api.routes())
    service.consumes(consumers.subscribe)
    service.offers(discover("patients"))
    return service
