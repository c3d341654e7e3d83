"""The HTTP door of workflows: definitions, what starts runs, runs, jobs over many, the action catalogue."""

from services.workflows.api.bulk import bulk_routes
from services.workflows.api.definitions import action_routes, definition_routes
from services.workflows.api.exchange import exchange_routes
from services.workflows.api.gallery import gallery_routes
from services.workflows.api.insight import backtest_routes, explanation_routes, insight_routes
from services.workflows.api.lifecycle import lifecycle_routes
from services.workflows.api.runs import run_routes, steering_routes
from services.workflows.api.starting import starting_routes, suppression_routes
from services.workflows.api.webhooks import webhook_routes

__all__ = [
    "action_routes",
    "backtest_routes",
    "bulk_routes",
    "definition_routes",
    "exchange_routes",
    "explanation_routes",
    "gallery_routes",
    "insight_routes",
    "lifecycle_routes",
    "run_routes",
    "starting_routes",
    "steering_routes",
    "suppression_routes",
    "webhook_routes",
]
