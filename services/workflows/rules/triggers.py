"""Which events may start a run: what the consumer subscribes to is what a definition may name, so none waits in vain.

Left out: answers to actions and what this service says itself (a workflow would feed itself), and reads of records.
"""

from __future__ import annotations

from libs.contracts import notifications, patients, practices, scheduling
from libs.contracts.envelope import Event

TRIGGERS: tuple[type[Event], ...] = (
    patients.PatientRegistered,
    patients.PatientUpdated,
    scheduling.AppointmentBooked,
    scheduling.AppointmentConfirmed,
    scheduling.AppointmentRescheduled,
    scheduling.AppointmentCancelled,
    scheduling.AppointmentMatched,
    scheduling.WebhookDeliveryExhausted,
    notifications.EmailAccepted,
    notifications.EmailStatusChanged,
    practices.UserAdded,
    practices.UserRoleChanged,
    practices.UserDeactivated,
)

BY_TYPE: dict[str, type[Event]] = {event.type: event for event in TRIGGERS}
