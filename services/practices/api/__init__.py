"""The HTTP door of practices: for Vantage admins, for a practice's people, for the identity provider and the gateway."""

from services.practices.api.hooks import hook_routes
from services.practices.api.keys import gateway_routes, key_routes
from services.practices.api.practices import practice_routes
from services.practices.api.users import user_routes

__all__ = ["gateway_routes", "hook_routes", "key_routes", "practice_routes", "user_routes"]
