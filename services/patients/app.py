"""Who is here: the patients service put together."""

from __future__ import annotations

from functools import partial

from libs.common.service import Service
from libs.contracts.patients import ActionFinished, PerformAction
from services.patients import api, consumers
from services.patients.settings import Settings


def build(settings: Settings) -> Service:
    service = Service("patients", settings)
    service.api(api.routes())
    performing = service.performs(PerformAction, ActionFinished)
    service.consumes(partial(consumers.subscribe, performing=performing))
    return service
