"""What scheduling does by the clock."""

from __future__ import annotations

from services.scheduling.commands.dispatch import Dispatcher


async def deliver_webhooks(dispatcher: Dispatcher) -> float | None:
    """Start the attempts that are due. Returns the seconds until the next one is."""
    return await dispatcher.run()
