"""What audit hears: everything."""

from __future__ import annotations

from typing import Any

from libs.common.access import EVENTS, take_access
from libs.common.messaging import Consumer, Received
from libs.common.work import Tx
from libs.contracts.envelope import MESSAGES
from services.audit.commands.append import append_events

ACCESS = frozenset(event.type for event in EVENTS)


def subscribe(consumer: Consumer, origin: str) -> None:
    @consumer.on_everything()
    async def said(events: list[Received[Any]], tx: Tx) -> None:
        await append_events(events, origin, tx)
        # The one service that takes everything undecoded must read for itself who may come in.
        await take_access([(event.practice_id, MESSAGES[event.type].read(event.raw)) for event in events if event.type in ACCESS], tx)
