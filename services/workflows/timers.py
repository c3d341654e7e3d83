"""What workflows does by the clock: timers, schedules, jobs, runs of another engine, and a look at every run now and then."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from uuid import UUID

from libs.common.work import Work
from services.workflows.commands import jobs as working
from services.workflows.commands import schedules
from services.workflows.commands.bulk import bulk_chunk
from services.workflows.commands.existing import include_chunk
from services.workflows.commands.handover import Orchestrator, call_runs
from services.workflows.commands.history import FORGOTTEN_AT_ONCE, forget_old
from services.workflows.commands.jobs import Do
from services.workflows.commands.manual import start_chunk
from services.workflows.commands.pausing import hold_chunk, release_chunk
from services.workflows.commands.published import PublishedWorkflows
from services.workflows.commands.timers import CLAIM, fire_due, seconds_until_next
from services.workflows.commands.watchdog import look_after, next_practices
from services.workflows.rules.expressions.engines import Engine

TOLD_AGAIN_SECONDS = 0.1
LOOKED_AT = 20
"""Practices of one round of the watchdog."""


async def fire_timers(work: Work, published: PublishedWorkflows) -> float | None:
    """Returns when to come back: at once while there is a full load, else when the next timer is due."""
    return 0.0 if await fire_due(work, published) >= CLAIM else await seconds_until_next(work)


async def follow_schedules(work: Work, published: PublishedWorkflows) -> float | None:
    """Returns when to come back: when the next time of a schedule is due."""
    await schedules.take_turns(work, published)
    return await schedules.seconds_until_next(work)


def jobs(engine: Engine, published: PublishedWorkflows) -> Mapping[str, Do]:
    """How each kind of job is done."""
    return {
        "start": partial(start_chunk, engine=engine, published=published),
        "runs": partial(bulk_chunk, published=published),
        "hold": hold_chunk,
        "release": partial(release_chunk, published=published),
        "include": partial(include_chunk, published=published),
    }


async def work_on_jobs(work: Work, do: Mapping[str, Do]) -> float | None:
    """Returns when to come back: when the next chunk of a job is due."""
    await working.work_on(work, do)
    return await working.seconds_until_next(work)


async def forget_history(work: Work) -> float | None:
    """Returns when to come back: soon while so much goes that there may be more."""
    return 1.0 if await forget_old(work) >= FORGOTTEN_AT_ONCE else None


async def call_durable_runs(work: Work, orchestrator: Orchestrator) -> float | None:
    """Returns when to come back: soon while somebody is told, since who answers makes room for the next."""
    return TOLD_AGAIN_SECONDS if await call_runs(work, orchestrator) else None


class Watch:
    """Goes round the practices, some at a time."""

    def __init__(self, work: Work, published: PublishedWorkflows) -> None:
        self._work = work
        self._published = published
        self._after: UUID | None = None

    async def round(self) -> float | None:
        """Returns when to come back: soon while there are practices not looked at in this round."""
        practices = await next_practices(self._after, LOOKED_AT, self._work)
        await look_after(practices, self._work, self._published)
        self._after = practices[-1] if len(practices) == LOOKED_AT else None
        return 1.0 if self._after else None
