"""Who is here: the workflows service put together."""

from __future__ import annotations

from functools import partial

from libs.common.service import Service
from libs.contracts.workflows import ActionFinished, PerformAction
from services.workflows import api, consumers, timers
from services.workflows.adapters.trial import Trial
from services.workflows.commands.backtesting import Backtests
from services.workflows.commands.published import PublishedWorkflows
from services.workflows.commands.webhooks import PURPOSE
from services.workflows.rules.expressions.engines import ENGINES
from services.workflows.rules.runs.orchestration import Orchestration
from services.workflows.settings import Settings


def build(settings: Settings) -> Service:
    service = Service("workflows", settings)
    orchestration = Orchestration(settings.workflow_engine, lambda: service.wake("durable") if settings.temporal_address else None)
    engine = ENGINES[settings.cel_engine]
    published = PublishedWorkflows(engine, orchestration)
    for column in ("secret", "previous"):
        service.keeps_sealed("webhook_secret", column, PURPOSE)
    trial = Trial(settings.cel_engine)
    service.background(trial.open, trial.close)
    for routes in api.routes(engine, published, trial, service.box, partial(service.wake, "jobs")):
        service.api(routes)
    performing = service.performs(PerformAction, ActionFinished, tools={"published": published})
    service.consumes(partial(consumers.subscribe, published=published, access=service.access, performing=performing))
    service.every(seconds=0.5, run=partial(timers.fire_timers, service.work, published), name="timers")
    service.every(seconds=1.0, run=partial(timers.follow_schedules, service.work, published), name="schedules")
    service.every(seconds=1.0, run=partial(timers.work_on_jobs, service.work, timers.jobs(engine, published)), name="jobs")
    service.every(seconds=60.0, run=timers.Watch(service.work, published).round, name="watchdog")
    service.every(seconds=600, run=partial(timers.forget_history, service.work), name="history")
    service.every(seconds=2, run=Backtests(service.work, engine).round, name="backtests")
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
