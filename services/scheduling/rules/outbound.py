"""What integrators get: public names of events, and bodies that carry ids and times but no personal data. Pure."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import orjson

EVENT_TYPES: dict[str, str] = {
    "appointment.booked": "vantage.scheduling.appointment-booked.v1",
    "appointment.confirmed": "vantage.scheduling.appointment-confirmed.v1",
    "appointment.rescheduled": "vantage.scheduling.appointment-rescheduled.v1",
    "appointment.cancelled": "vantage.scheduling.appointment-cancelled.v1",
    "appointment.completed": "vantage.scheduling.appointment-completed.v1",
    "appointment.marked_no_show": "vantage.scheduling.appointment-marked-no-show.v1",
    "appointment.reopened": "vantage.scheduling.appointment-reopened.v1",
    "appointment.matched": "vantage.scheduling.appointment-matched.v1",
    "call.started": "vantage.scheduling.call-started.v1",
    "call.ended": "vantage.scheduling.call-ended.v1",
    "call.analyzed": "vantage.scheduling.call-analyzed.v1",
    "patient.registered": "vantage.patients.patient-registered.v1",
    "patient.updated": "vantage.patients.patient-updated.v1",
    "email.accepted": "vantage.notifications.email-accepted.v1",
    "email.status_changed": "vantage.notifications.email-status-changed.v1",
}
"""Public name of an event to its type on the backbone."""

PUBLIC_NAMES = {internal: public for public, internal in EVENT_TYPES.items()}


def webhook_body(public_name: str, at: datetime, data: dict[str, Any]) -> bytes:
    """The bytes that are stored, signed and sent (Standard Webhooks body: type, timestamp, data)."""
    timestamp = at.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    return orjson.dumps({"type": public_name, "timestamp": timestamp, "data": data})
