"""What scheduling hears: requested actions; patients, to match attendees; and every event integrators may want."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from libs.common.actions.performing import Performing
from libs.common.messaging import Consumer, Received
from libs.common.work import Tx
from libs.contracts import notifications, patients, scheduling
from services.scheduling.commands.contacts import follow_patients
from services.scheduling.commands.deliveries import queue_deliveries


def subscribe(consumer: Consumer, wake: Callable[[], None], performing: Performing) -> None:
    """``wake`` tells the dispatcher that something is due; if it gets lost, the dispatcher's own period finds it."""

    async def tell(events: list[Received[Any]], tx: Tx) -> None:
        if await queue_deliveries(events, tx):
            tx.after_commit(wake)

    consumer.on_batch(scheduling.PerformAction)(performing.take)
    consumer.on_batch(scheduling.LeaveEffect)(performing.leave)

    @consumer.on_batch(patients.PatientRegistered, patients.PatientUpdated)
    async def patients_changed(events: list[Received[Any]], tx: Tx) -> None:
        await follow_patients(events, tx)
        await tell(events, tx)

    consumer.on_batch(
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
        notifications.EmailAccepted,
        notifications.EmailStatusChanged,
    )(tell)
