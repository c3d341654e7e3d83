"""What notifications hears: requested actions, and the patients' addresses."""

from __future__ import annotations

from typing import Any

from libs.common.actions.performing import Performing
from libs.common.messaging import Consumer, Received
from libs.common.work import Tx
from libs.contracts.notifications import LeaveEffect, PerformAction
from libs.contracts.patients import PatientRegistered, PatientUpdated
from services.notifications.commands.contacts import follow_patients


def subscribe(consumer: Consumer, performing: Performing) -> None:
    consumer.on_batch(PerformAction)(performing.take)
    consumer.on_batch(LeaveEffect)(performing.leave)

    @consumer.on_batch(PatientRegistered, PatientUpdated)
    async def patients_changed(events: list[Received[Any]], tx: Tx) -> None:
        await follow_patients(events, tx)
