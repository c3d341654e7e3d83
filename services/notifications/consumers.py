"""What notifications hears: requested actions, and the patients' addresses."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from libs.common.messaging import Consumer, Received
from libs.common.work import Tx
from libs.contracts.notifications import PerformAction
from libs.contracts.patients import PatientRegistered, PatientUpdated
from services.notifications.commands.contacts import follow_patients
from services.notifications.commands.plan import Planned, plan_emails


def subscribe(consumer: Consumer, take: Callable[[Iterable[Planned]], None]) -> None:
    """``take`` hands planned effects to the dispatcher, after the commit."""

    @consumer.on_batch(PerformAction)
    async def requested(events: list[Received[PerformAction]], tx: Tx) -> None:
        planned = await plan_emails(events, tx)
        if planned:
            tx.after_commit(lambda: take(planned))

    @consumer.on_batch(PatientRegistered, PatientUpdated)
    async def patients_changed(events: list[Received[Any]], tx: Tx) -> None:
        await follow_patients(events, tx)
