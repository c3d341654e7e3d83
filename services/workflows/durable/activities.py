"""The one thing Temporal has us do: bring a run on, in one transaction."""

from __future__ import annotations

from uuid import UUID

from temporalio import activity

from libs.common.work import Work
from services.workflows.commands.durable import advance_run
from services.workflows.commands.handover import SYSTEM
from services.workflows.commands.published import PublishedWorkflows
from services.workflows.rules.runs.orchestration import ADVANCE, RunRef, Standing


class RunActivities:
    def __init__(self, work: Work, published: PublishedWorkflows) -> None:
        self._work = work
        self._published = published

    @activity.defn(name=ADVANCE)
    async def advance(self, run: RunRef) -> Standing:
        """An attempt that is cut off before the commit did nothing; repeated after it, it finds nothing left to do."""
        key = UUID(run.practice_id), UUID(run.run_id)
        async with self._work.batch([key[0]], SYSTEM) as tx:
            return await advance_run(key, self._published, tx)
