"""What scheduling does by the clock."""

from __future__ import annotations

from libs.common.secrets import SecretBox
from libs.common.work import Work
from services.scheduling.commands.call_followups import CLAIM, Teller, ask_about_calls
from services.scheduling.commands.calls import RecordIn
from services.scheduling.commands.dispatch import Dispatcher


async def deliver_webhooks(dispatcher: Dispatcher) -> float | None:
    """Start the attempts that are due. Returns the seconds until the next one is."""
    return await dispatcher.run()


async def follow_calls(work: Work, teller: Teller, box: SecretBox, record_in: RecordIn) -> float | None:
    """Ask about calls nobody reported about; at once again while there is a full load of them."""
    return 0.0 if await ask_about_calls(work, teller, box, record_in) >= CLAIM else None
