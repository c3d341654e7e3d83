"""Who is here: the workflows service put together."""

from __future__ import annotations

from functools import partial

from libs.common.service import Service
from services.workflows import api, consumers, timers
from services.workflows.commands.backtesting import Backtests
from services.workflows.commands.published import PublishedWorkflows
from services.workflows.rules.engines import ENGINES
from services.workflows.settings import Settings


def build(settings: Settings) -> Service:
    service = Service("workflows", settings)
    engine = ENGINES[settings.cel_engine]
    published = PublishedWorkflows(engine)
    service.api(api.explanation_routes(published))
    service.api(api.insight_routes(engine))
    service.api(api.backtest_routes())
    service.api(api.definition_routes())
    service.api(api.lifecycle_routes())
    service.api(api.run_routes(published))
    service.api(api.action_routes())
    service.consumes(partial(consumers.subscribe, published=published, access=service.access))
    service.every(seconds=0.5, run=partial(timers.fire_timers, service.work, published), name="timers")
    service.every(seconds=600, run=partial(timers.forget_history, service.work), name="history")
    service.every(seconds=2, run=Backtests(service.work, engine).round, name="backtests")
    return service
