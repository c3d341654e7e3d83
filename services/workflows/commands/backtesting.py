"""Run backtests beside the live runs: one at a time per practice and process, page by page, always giving way.

A job is held by a lease that each page renews. If we die another process begins it again from the start when the lease is
over, on the same events, to the same result; the third time it is given up. What it has in hand, tens of thousands of runs
under way, is not written down on the way: that would cost each backtest more than the seconds it saves the few that are cut off.
Who comes back after another began tells nothing and writes nothing. Nothing is written but the job's own row.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from libs.common.auth import Principal
from libs.common.logging import get_logger
from libs.common.work import Tx, Work, json_text
from services.workflows.commands.beforehand import given_at
from services.workflows.commands.pacing import Pace
from services.workflows.queries.backtests import real_results
from services.workflows.queries.definitions import version_of
from services.workflows.queries.history import Place, event_page, events_of_types
from services.workflows.rules.definitions.compiling import compile_definition
from services.workflows.rules.definitions.definition import Definition
from services.workflows.rules.expressions.engines import Engine
from services.workflows.rules.simulation.backtesting import Backtest
from services.workflows.rules.simulation.running import NO_RESULTS, Results

log = get_logger()

PAGE = 200
LEASE = timedelta(seconds=60)
MOST_ATTEMPTS = 3
RINGS_AT_ONCE = 50
SYSTEM = Principal.system("backtests")
BEGINNING = UUID(int=0)

_CLAIM = """
UPDATE backtest_queue q SET lease_until = $1::timestamptz + $2::interval FROM (
  SELECT practice_id FROM backtest_queue WHERE (lease_until IS NULL OR lease_until < $1)
    AND practice_id <> ALL (ARRAY(SELECT practice_id FROM access_practice WHERE suspended)) ORDER BY queued_at LIMIT 1 FOR UPDATE SKIP LOCKED
) c WHERE q.practice_id = c.practice_id RETURNING q.practice_id, q.backtest_id
"""
_BEGIN = """
UPDATE backtest SET status = 'running', attempts = attempts + 1, events_done = 0 WHERE practice_id = $1 AND id = $2 RETURNING *
"""
_RENEW = "UPDATE backtest_queue SET lease_until = $3::timestamptz + $4::interval WHERE practice_id = $1 AND backtest_id = $2 RETURNING true"
_PROGRESS = "UPDATE backtest SET events_done = $3 WHERE practice_id = $1 AND id = $2 AND attempts = $4 RETURNING true"
_TOTAL = "UPDATE backtest SET events_total = $3 WHERE practice_id = $1 AND id = $2"
_LEAVE = "DELETE FROM backtest_queue WHERE practice_id = $1 AND backtest_id = $2 RETURNING true"
_END = "UPDATE backtest SET status = $3, result = $4::jsonb, error_code = $5, events_done = $6, finished_at = $7 WHERE practice_id = $1 AND id = $2"


@dataclass
class _Job:
    practice_id: UUID
    id: UUID
    workflow_id: UUID
    backtest: Backtest
    until: datetime
    place: Place
    attempt: int
    done: int = 0
    results: dict[UUID, Results] = field(default_factory=dict)
    """What actions really came to, of the page in hand, by event."""


class Backtests:
    """One per process."""

    def __init__(self, work: Work, engine: Engine) -> None:
        self._work, self._engine = work, engine
        self._job: _Job | None = None

    async def round(self) -> float | None:
        """A page of the job in hand; returns 0 while there is work."""
        if self._job is None and not await self._claim():
            return None
        job = self._job
        if job is None:  # it came to its end with the claim; others may wait behind it
            return 0.0
        self._job = None  # whatever goes wrong from here, the lease runs out and the job begins again
        rows = await self._next_page(job)
        if rows is None:
            return 0.0
        await self._replay(job, rows)
        if len(rows) < PAGE:
            await self._finish(job)
        else:
            self._job = job
        return 0.0

    async def _claim(self) -> bool:
        """Take the next one in hand, unless it ends at once. False when there is none."""
        async with self._work.batch([], SYSTEM) as tx:
            claimed = await tx.row(_CLAIM, tx.now, LEASE)
            if claimed is None:
                return False
            await tx.enter([claimed["practice_id"]])
            row = await tx.row(_BEGIN, claimed["practice_id"], claimed["backtest_id"])
            assert row is not None
            job = None
            if row["attempts"] > MOST_ATTEMPTS:
                await _end(row["practice_id"], row["id"], "failed", tx, error_code="gave_up")
            else:
                job = await self._prepared(row, tx)
        self._job = job
        return True

    async def _prepared(self, row: Any, tx: Tx) -> _Job | None:
        practice_id, workflow_id = row["practice_id"], row["workflow_id"]
        stored = [row["definition"]]
        if row["compared_version"] is not None:
            stored.append(await version_of(practice_id, workflow_id, row["compared_version"], tx))
        try:
            draft, *others = [compile_definition(Definition.model_validate(one), self._engine) for one in stored]
        except ValueError as error:  # our code has changed since it was saved
            log.warning("backtest.broken", backtest_id=str(row["id"]), exc_info=error)
            await _end(practice_id, row["id"], "failed", tx, error_code="definition_invalid")
            return None
        given = await given_at(practice_id, workflow_id, [draft, *others], (row["since"], row["until"]), tx)
        backtest = Backtest(workflow_id, draft, others[0] if others else None, given, row["since"])
        total = await events_of_types(practice_id, backtest.types, backtest.begins, row["until"], tx)
        await tx.execute(_TOTAL, practice_id, row["id"], total)
        place = (backtest.begins, datetime.min.replace(tzinfo=UTC), BEGINNING)
        return _Job(practice_id, row["id"], workflow_id, backtest, row["until"], place, row["attempts"])

    async def _next_page(self, job: _Job) -> list[Any] | None:
        """None when the job was called off, or taken from us."""
        async with self._work.batch([job.practice_id], SYSTEM) as tx:
            if not await tx.value(_PROGRESS, job.practice_id, job.id, job.done, job.attempt):
                return None
            if not await tx.value(_RENEW, job.practice_id, job.id, tx.now, LEASE):
                return None
            rows = await event_page(job.practice_id, job.backtest.types, job.backtest.begins, job.until, job.place, PAGE, tx)
            if job.backtest.reads_results:
                job.results = await real_results(job.practice_id, job.workflow_id, [row["event_id"] for row in rows], tx)
            return rows

    async def _replay(self, job: _Job, rows: list[Any]) -> None:
        pace = Pace()
        for row in rows:
            while not job.backtest.until(row["recorded_at"], RINGS_AT_ONCE):
                await pace.give_way()
            job.backtest.hear(row, job.results.get(row["event_id"], NO_RESULTS))
            await pace.keep()
        if rows:
            last = rows[-1]
            job.place, job.done = (last["recorded_at"], last["at"], last["event_id"]), job.done + len(rows)

    async def _finish(self, job: _Job) -> None:
        pace = Pace()
        while not job.backtest.until(job.until, RINGS_AT_ONCE):
            await pace.give_way()
        result = job.backtest.end()
        async with self._work.batch([job.practice_id], SYSTEM) as tx:
            if await tx.value(_PROGRESS, job.practice_id, job.id, job.done, job.attempt):
                await _end(job.practice_id, job.id, "done", tx, result=result, done=job.done)


async def _end(
    practice_id: UUID, backtest_id: UUID, status: str, tx: Tx, *, result: object = None, error_code: str | None = None, done: int = 0
) -> None:
    """Only who holds the place in the queue may say how it ended."""
    if await tx.value(_LEAVE, practice_id, backtest_id):
        text = None if result is None else json_text(result)
        await tx.execute(_END, practice_id, backtest_id, status, text, error_code, done, tx.now)
