"""What workflows does by the clock: fire due timers, wake at the next one; call runs another engine keeps going."""

from __future__ import annotations

from libs.common.work import Work
from services.workflows.commands.handover import CALLS, Orchestrator, call_runs
from services.workflows.commands.history import FORGOTTEN_AT_ONCE, forget_old
from services.workflows.commands.published import PublishedWorkflows
from services.workflows.commands.timers import CLAIM, fire_due, seconds_until_next


async def fire_timers(work: Work, published: PublishedWorkflows) -> float | None:
    """Returns when to come back: at once while there is a full load, else when the next timer is due."""
    return 0.0 if await fire_due(work, published) >= CLAIM else await seconds_until_next(work)


async def forget_history(work: Work) -> float | None:
    """Returns when to come back: soon while so much goes that there may be more."""
    return 1.0 if await forget_old(work) >= FORGOTTEN_AT_ONCE else None


async def call_durable_runs(work: Work, orchestrator: Orchestrator) -> float | None:
    """Returns when to come back: at once while there are many."""
    return 0.0 if await call_runs(work, orchestrator) >= CALLS else None
