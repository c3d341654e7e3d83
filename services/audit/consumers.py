"""What audit hears: everything."""

from __future__ import annotations

from typing import Any

from libs.common.messaging import Consumer, Received
from libs.common.work import Tx
from services.audit.commands.append import append_events


def subscribe(consumer: Consumer, origin: str) -> None:
    @consumer.on_everything()
    async def said(events: list[Received[Any]], tx: Tx) -> None:
        await append_events(events, origin, tx)
