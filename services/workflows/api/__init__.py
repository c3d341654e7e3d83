"""The HTTP door of workflows: definitions, what starts runs, runs, jobs over many, the action catalogue."""

from __future__ import annotations

from collections.abc import Callable

from libs.common.http import Routes
from libs.common.secrets import SecretBox
from services.workflows.adapters.trial import Trial
from services.workflows.api.bulk import bulk_routes
from services.workflows.api.definitions import action_routes, definition_routes
from services.workflows.api.exchange import exchange_routes
from services.workflows.api.gallery import gallery_routes
from services.workflows.api.insight import backtest_routes, explanation_routes, insight_routes
from services.workflows.api.lifecycle import lifecycle_routes
from services.workflows.api.runs import run_routes, steering_routes
from services.workflows.api.starting import starting_routes, suppression_routes
from services.workflows.api.webhooks import webhook_routes
from services.workflows.commands.published import PublishedWorkflows
from services.workflows.rules.expressions.engines import Engine


def routes(
    engine: Engine, published: PublishedWorkflows, trial: Trial, box: SecretBox, wake_jobs: Callable[[], None]
) -> tuple[Routes, ...]:
    """All of them, in this order: those with a word after ``/v1/workflows/`` stand before those that take an id there."""
    return (
        explanation_routes(published),
        insight_routes(engine),
        suppression_routes(published),
        exchange_routes(trial),
        backtest_routes(),
        gallery_routes(),
        definition_routes(trial, wake_jobs),
        lifecycle_routes(),
        bulk_routes(wake_jobs),
        run_routes(),
        steering_routes(published),
        starting_routes(engine, published, wake_jobs),
        webhook_routes(box, published),
        action_routes(),
    )
