"""Who is here: the workflows service put together."""

from __future__ import annotations

from functools import partial

from libs.common.service import Service
from services.workflows import api, consumers, timers
from services.workflows.commands.published import PublishedWorkflows
from services.workflows.rules.engines import ENGINES
from services.workflows.settings import Settings


def build(settings: Settings) -> Service:
    service = Service("workflows", settings)
    published = PublishedWorkflows(ENGINES[settings.cel_engine])
    service.api(api.exchange_routes())
    service.api(api.definition_routes())
    service.api(api.lifecycle_routes())
    service.api(api.run_routes(published))
    service.api(api.action_routes())
    service.consumes(partial(consumers.subscribe, published=published, access=service.access))
    service.every(seconds=0.5, run=partial(timers.fire_timers, service.work, published), name="timers")
    return service
