"""What patients hears: requested actions, and everything that happens to a patient, for the timeline."""

from __future__ import annotations

from typing import Any

from libs.common.actions.performing import Performing
from libs.common.messaging import Consumer, Received
from libs.common.work import Tx
from libs.contracts import notifications, patients, scheduling, workflows
from services.patients.commands.timeline import add_to_timeline


def subscribe(consumer: Consumer, performing: Performing) -> None:
    consumer.on_batch(patients.PerformAction)(performing.take)

    @consumer.on_batch(
        patients.PatientRegistered,
        patients.PatientUpdated,
        patients.PatientTagged,
        patients.PatientUntagged,
        patients.NoteAdded,
        patients.NoteRemoved,
        scheduling.AppointmentBooked,
        scheduling.AppointmentConfirmed,
        scheduling.AppointmentRescheduled,
        scheduling.AppointmentCancelled,
        scheduling.AppointmentCompleted,
        scheduling.AppointmentMarkedNoShow,
        scheduling.AppointmentReopened,
        scheduling.AppointmentMatched,
        scheduling.CallStarted,
        scheduling.CallEnded,
        scheduling.CallAnalyzed,
        workflows.RunStarted,
        workflows.RunFinished,
        notifications.EmailAccepted,
        notifications.EmailStatusChanged,
        notifications.TaskCreated,
        notifications.TaskUpdated,
        notifications.TaskCompleted,
        notifications.TaskReopened,
    )
    async def happened(events: list[Received[Any]], tx: Tx) -> None:
        await add_to_timeline(events, tx)
