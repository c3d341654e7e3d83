"""What patients hears: requested actions, and everything that happens to a patient, for the timeline."""

from __future__ import annotations

from typing import Any

from libs.common.messaging import Consumer, Received
from libs.common.work import Tx
from libs.contracts import notifications, patients, scheduling, workflows
from services.patients.commands.actions import perform_action
from services.patients.commands.timeline import add_to_timeline


def subscribe(consumer: Consumer) -> None:
    @consumer.on(patients.PerformAction)
    async def requested(event: Received[patients.PerformAction], tx: Tx) -> None:
        await perform_action(event, tx)

    @consumer.on_batch(
        patients.PatientRegistered,
        patients.PatientUpdated,
        scheduling.AppointmentBooked,
        scheduling.AppointmentConfirmed,
        scheduling.AppointmentRescheduled,
        scheduling.AppointmentCancelled,
        scheduling.AppointmentMatched,
        workflows.RunStarted,
        workflows.RunFinished,
        notifications.EmailAccepted,
        notifications.EmailStatusChanged,
    )
    async def happened(events: list[Received[Any]], tx: Tx) -> None:
        await add_to_timeline(events, tx)
