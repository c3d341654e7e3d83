"""The one thing Temporal has us do: bring a run on, in one transaction."""

from __future__ import annotations

from uuid import UUID

from temporalio import activity

from libs.common.work import Work
from services.workflows.commands.durable import advance_run
from services.workflows.commands.handover import SYSTEM
from services.workflows.commands.published import PublishedWorkflows
from services.workflows.durable.turnstile import Turnstile
from services.workflows.rules.runs.orchestration import ADVANCE, BULK_QUEUE, LIVE_QUEUE, RunRef, Standing

AT_ONCE = {LIVE_QUEUE: 8, BULK_QUEUE: 2}
"""Runs brought on at the same time per process; many at once cannot take the others' connections."""
OF_ONE = 2
"""Of them of one practice, whose turns are one at a time anyway: one at work, one next."""


class RunActivities:
    def __init__(self, work: Work, published: PublishedWorkflows) -> None:
        self._work = work
        self._published = published
        self._turnstiles = {queue: Turnstile(at_once, OF_ONE) for queue, at_once in AT_ONCE.items()}

    @activity.defn(name=ADVANCE)
    async def advance(self, run: RunRef) -> Standing:
        """An attempt that is cut off before the commit did nothing; repeated after it, it finds nothing left to do."""
        key = UUID(run.practice_id), UUID(run.run_id)
        queue = activity.info().task_queue if activity.in_activity() else LIVE_QUEUE
        async with self._turnstiles[queue].turn(key[0]), self._work.batch([key[0]], SYSTEM) as tx:
            return await advance_run(key, self._published, tx)
