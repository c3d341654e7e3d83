"""The HTTP door of workflows: definitions, runs, the action catalogue."""

from services.workflows.api.definitions import action_routes, definition_routes
from services.workflows.api.exchange import exchange_routes
from services.workflows.api.gallery import gallery_routes
from services.workflows.api.insight import explanation_routes, insight_routes
from services.workflows.api.lifecycle import lifecycle_routes
from services.workflows.api.runs import run_routes

__all__ = [
    "action_routes",
    "definition_routes",
    "exchange_routes",
    "explanation_routes",
    "gallery_routes",
    "insight_routes",
    "lifecycle_routes",
    "run_routes",
]
