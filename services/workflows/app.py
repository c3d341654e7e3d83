"""Who is here: the workflows service put together."""

from __future__ import annotations

from functools import partial

from libs.common.service import Service
from services.workflows import api, consumers, timers
from services.workflows.commands.published import PublishedWorkflows
from services.workflows.rules.engines import ENGINES
from services.workflows.rules.orchestration import Orchestration
from services.workflows.settings import Settings


def build(settings: Settings) -> Service:
    service = Service("workflows", settings)
    orchestration = Orchestration(settings.workflow_engine, lambda: service.wake("durable") if settings.temporal_address else None)
    engine = ENGINES[settings.cel_engine]
    published = PublishedWorkflows(engine, orchestration)
    service.api(api.explanation_routes(published))
    service.api(api.insight_routes(engine))
    service.api(api.exchange_routes())
    service.api(api.gallery_routes())
    service.api(api.definition_routes())
    service.api(api.lifecycle_routes())
    service.api(api.run_routes(published))
    service.api(api.action_routes())
    service.consumes(partial(consumers.subscribe, published=published, access=service.access))
    service.every(seconds=0.5, run=partial(timers.fire_timers, service.work, published), name="timers")
    if settings.temporal_address is not None:
        _orchestrate(service, settings, settings.temporal_address, published)
    return service


def _orchestrate(service: Service, settings: Settings, address: str, published: PublishedWorkflows) -> None:
    """Temporal's libraries are large: they are loaded where Temporal is used."""
    from services.workflows.adapters.temporal import RunsOnTemporal, Temporal  # noqa: PLC0415
    from services.workflows.durable.activities import RunActivities  # noqa: PLC0415
    from services.workflows.durable.worker import RunWorkers  # noqa: PLC0415

    temporal = Temporal(address, settings.temporal_namespace, service.box)
    workers = RunWorkers(temporal.connect, RunActivities(service.work, published))
    service.background(workers.start, workers.stop)
    service.every(seconds=0.5, run=partial(timers.call_durable_runs, service.work, RunsOnTemporal(temporal.connect)), name="durable")
