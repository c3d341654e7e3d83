"""Which events may start a run: what the consumer subscribes to is what a definition may name, so none waits in vain.

Left out: answers to actions and what this service says itself (a workflow would feed itself), and reads of records.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

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


def started_by(event: Event) -> tuple[str, ...]:
    """The trigger types an event counts as.

    A booking whose patient is found later counts as booked then: what happens when a patient books must not depend on
    whether the patient's record arrived a moment before or after the booking. A cancelled one is booked no more.
    """
    if isinstance(event, scheduling.AppointmentMatched) and event.status is not scheduling.AppointmentStatus.CANCELLED:
        return event.type, scheduling.AppointmentBooked.type
    return (event.type,)


def seen_as(trigger: str, event: Event, patient: Mapping[str, Any] | None) -> Event:
    """The event as the trigger type it counts as. Who comes to a late-matched booking is the patient it was matched to."""
    if trigger == event.type or not isinstance(event, scheduling.AppointmentMatched):
        return event
    attendee = scheduling.Attendee()
    if patient is not None:
        attendee = scheduling.Attendee(
            name=f"{patient['given_name']} {patient['family_name']}", email=patient["email"], phone=patient["phone"]
        )
    state = event.model_dump(include=set(scheduling.AppointmentState.model_fields))
    return scheduling.AppointmentBooked(**state, attendee=attendee)
