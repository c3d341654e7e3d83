"""The HTTP door of scheduling: appointments, calls, Cal.com, Retell, the outbound webhook endpoint."""

from services.scheduling.api.appointments import appointment_routes
from services.scheduling.api.calcom import calcom_routes
from services.scheduling.api.endpoint import endpoint_routes
from services.scheduling.api.retell import call_routes, retell_routes

__all__ = ["appointment_routes", "calcom_routes", "call_routes", "endpoint_routes", "retell_routes"]
