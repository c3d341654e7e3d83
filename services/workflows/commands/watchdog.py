"""No silent run: each is getting on, waits with a due time or for an event, or has ended. Everything else is found here.

What can be put right is put right; the rest is raised once per run (or schedule) and cause: an event, a figure, a list. An action
whose answer does not come, and one whose outcome is unknown, are shown and never asked for again. Every finding is made again
from the rows as they are, so dying anywhere is of no consequence.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from libs.common import metrics
from libs.common.auth import Principal
from libs.common.logging import get_logger
from libs.common.work import Tx, Work
from libs.contracts.workflows import ScheduleStuck
from services.workflows.commands.arrivals import bring_to_rest
from services.workflows.commands.durable import catch_up
from services.workflows.commands.handover import call
from services.workflows.commands.pausing import hold, let_go, release
from services.workflows.commands.published import PublishedWorkflows
from services.workflows.commands.raising import KEEPS_FAILING, raise_run
from services.workflows.commands.runs import advance_runs
from services.workflows.commands.schedules import keep_schedule
from services.workflows.commands.serial import one_at_a_time
from services.workflows.queries import silent
from services.workflows.rules.definitions.definition import ScheduleTrigger
from services.workflows.rules.definitions.program import Waiting
from services.workflows.rules.definitions.steps import ActionStep
from services.workflows.rules.runs.orchestration import BUILTIN, TEMPORAL
from services.workflows.rules.runs.states import Resumed

log = get_logger()

NO_ANSWER = timedelta(minutes=30)
"""How long the owner of an action may take."""

UNKNOWN = timedelta(minutes=10)
"""How long an unknown outcome may be looked up before somebody has to look."""

TAKEN_UP = timedelta(minutes=10)
"""How long the engine of a run may take to take up what was handed over to it, or to ring a timer."""

TIMES = 5
"""How often a timer, or the turn of a schedule, may fail in a row: they are a minute apart."""

GRACE = timedelta(minutes=2)
"""How long a run may stand still before it is looked at."""

ENGINE_SILENT = "engine_silent"
AT_ONCE = 200
"""Runs of one practice looked at in one transaction."""

SYSTEM = Principal.system("watchdog")
_TIMERS = {BUILTIN: "timer", TEMPORAL: "durable_timer"}
_TIMER = """
INSERT INTO {table} (practice_id, run_id, step_id, due_at, held) VALUES ($1, $2, $3, $4, $5) ON CONFLICT (practice_id, run_id, step_id) DO NOTHING
"""
_HALT = "UPDATE run SET paused = true WHERE practice_id = $1 AND id = ANY($2::uuid[])"
_UNHOLD = """
UPDATE {table} t SET held = false FROM run r WHERE t.practice_id = $1 AND t.held AND r.practice_id = t.practice_id AND r.id = t.run_id
  AND r.status = 'running' AND NOT r.paused
"""
_ORPHANS = """
DELETE FROM {table} t USING run r WHERE t.practice_id = $1 AND t.due_at < $2 AND r.practice_id = t.practice_id AND r.id = t.run_id
  AND r.status <> 'running'
"""
_RAISE_SCHEDULE = """
INSERT INTO stuck_schedule (practice_id, workflow_id, workflow_name, version, code, since, raised_at) VALUES ($1, $2, $3, $4, $5, $6, $7)
ON CONFLICT DO NOTHING RETURNING true
"""
_JOBS = """
INSERT INTO job_due SELECT practice_id, id, $2 FROM job WHERE practice_id = $1 AND status = 'running' ON CONFLICT DO NOTHING
"""


@dataclass
class Findings:
    """What one look came to."""

    repaired: int = 0
    raised: int = 0


async def next_practices(after: UUID | None, limit: int, work: Work) -> list[UUID]:
    """Practices to look at, in the order of their ids."""
    async with work.batch([], SYSTEM) as tx:
        return await silent.practices_after(after, limit, tx)


async def look_after(practice_ids: list[UUID], work: Work, published: PublishedWorkflows) -> Findings:
    """One look at these practices, each in a transaction of its own. One that fails is logged, the others are looked at."""
    found = Findings()
    for practice_id in practice_ids:
        try:
            async with work.batch([practice_id], SYSTEM) as tx:
                tx.settle(practice_id)
                if await silent.anything(tx):  # else nobody's turn is taken
                    await one_at_a_time([practice_id], tx)
                    await _look(published, found, tx)
        except Exception as error:  # a fault of one practice's rows: the next look finds it again
            log.error("watchdog.failed", practice_id=str(practice_id), exc_info=error)
    metrics.REPAIRED.inc(found.repaired)
    return found


async def _look(published: PublishedWorkflows, found: Findings, tx: Tx) -> None:
    """In the order in which one repair may be undone by the next: pauses first, then what stands still, then what nobody can repair."""
    for workflow_id in await silent.escaped(tx):
        await hold(workflow_id, tx)
        found.repaired += 1
    for workflow_id in await silent.forgotten(tx):
        await release(workflow_id, tx)
        found.repaired += 1
    for row in await silent.unscheduled(tx):
        await keep_schedule(row["id"], ScheduleTrigger.model_validate(row["trigger"]), tx)
        found.repaired += 1
    for table in _TIMERS.values():
        found.repaired += _count(await tx.execute(_UNHOLD.format(table=table), tx.practice_id))
        found.repaired += _count(await tx.execute(_ORPHANS.format(table=table), tx.practice_id, tx.now - GRACE))
    found.repaired += _count(await tx.execute(_JOBS, tx.practice_id, tx.now))
    await _catch_up(published, found, tx)
    await _let_go(published, found, tx)
    await _go_on(published, found, tx)
    await _wait_again(published, found, tx)
    for row in await silent.unanswered(tx.now - NO_ANSWER, tx.now - UNKNOWN, AT_ONCE, tx):
        await _raise(row, row["step_id"], "no_answer" if row["step_status"] == "requested" else "unknown_outcome", row["since"], found, tx)
    for row in await silent.unheard(tx.now - TAKEN_UP, AT_ONCE, tx):
        await _raise(row, "", ENGINE_SILENT, row["since"], found, tx)
    for row in await silent.failing_timers(TIMES, AT_ONCE, tx):
        await _raise(row, row["step_id"], KEEPS_FAILING, row["since"], found, tx)
    for row in await silent.failing_schedules(TIMES, tx):
        await _raise_schedule(row, found, tx)
    await tx.execute(silent.SETTLED, tx.practice_id, tx.now - TAKEN_UP)
    await tx.execute(silent.SETTLED_SCHEDULES, tx.practice_id)


async def _catch_up(published: PublishedWorkflows, found: Findings, tx: Tx) -> None:
    """Runs for which something was kept because their version compiled no more."""
    for row in await silent.kept_back(AT_ONCE, tx):
        try:
            async with tx.attempt():
                await catch_up((tx.practice_id, row["id"]), published, tx)
        except Exception as error:  # it stays kept, and the run is in the list
            log.error("watchdog.cannot_catch_up", run_id=str(row["id"]), exc_info=error)
            await _raise(row, "", KEEPS_FAILING, tx.now, found, tx)
        else:
            log.warning("watchdog.caught_up", run_id=str(row["id"]))
            found.repaired += 1


async def _let_go(published: PublishedWorkflows, found: Findings, tx: Tx) -> None:
    """Runs that the release of their workflow left behind."""
    for row in await silent.left_behind(AT_ONCE, tx):
        try:
            async with tx.attempt():
                await let_go([row["id"]], published, tx)
        except Exception as error:  # it stays held, and is in the list
            log.error("watchdog.cannot_let_go", run_id=str(row["id"]), exc_info=error)
        else:
            log.warning("watchdog.let_go", run_id=str(row["id"]))
            found.repaired += 1


async def _go_on(published: PublishedWorkflows, found: Findings, tx: Tx) -> None:
    """Runs that stand at a step without having begun it."""
    rows = await silent.standing(tx.now - GRACE, AT_ONCE, tx)
    durable = [(tx.practice_id, row["id"]) for row in rows if row["engine"] != BUILTIN]
    if durable:  # their engine looks at them once more
        await call(durable, tx)
    ours = [row for row in rows if row["engine"] == BUILTIN]
    if not ours:
        return
    stay = [] if await _resumed(ours, published, tx) else [row for row in ours if not await _resumed([row], published, tx)]
    for row in stay:
        await _raise(row, "", KEEPS_FAILING, row["started_at"], found, tx)
    if len(stay) < len(ours):
        log.warning("watchdog.went_on", runs=len(ours) - len(stay))
    found.repaired += len(ours) - len(stay)


async def _resumed(rows: list[Any], published: PublishedWorkflows, tx: Tx) -> bool:
    """Whether these runs went on; else they stand as they stood. One that cannot keeps the others from it: then each is asked alone."""
    ids = [row["id"] for row in rows]
    try:
        async with tx.attempt():
            await tx.execute(_HALT, tx.practice_id, ids)
            changes = await advance_runs([((tx.practice_id, run_id), Resumed(), tx.cause) for run_id in ids], published, tx)
            await bring_to_rest(changes, published, tx)
    except Exception as error:  # a fault of one run, or of its definition: whoever asked shows it
        log.error("watchdog.cannot_go_on", runs=len(ids), exc_info=error)
        return False
    return True


async def _wait_again(published: PublishedWorkflows, found: Findings, tx: Tx) -> None:
    """Runs that wait for what is no longer there: a timer comes back from what the run remembers; the rest somebody has to see."""
    for row in await silent.waiting_for_nothing(tx.now - GRACE, AT_ONCE, tx):
        step_id = await _step(row, published, tx)
        due = row["memory"].get("due")
        if row["engine"] != BUILTIN:  # its engine learns what it waits for now
            await call([(tx.practice_id, row["id"])], tx)
        if due is not None and step_id is not None:
            back = _TIMER.format(table=_TIMERS[row["engine"]])
            await tx.execute(back, tx.practice_id, row["id"], step_id, datetime.fromisoformat(due), row["paused"])
            log.warning("watchdog.timer_back", run_id=str(row["id"]), step=step_id)
            found.repaired += 1
        else:
            await _raise(row, step_id or "", "nothing_to_wait_for", row["started_at"], found, tx)


async def _step(row: Mapping[str, Any], published: PublishedWorkflows, tx: Tx) -> str | None:
    try:
        program = (await published.version(tx.practice_id, row["workflow_id"], row["version"], tx)).program
    except ValueError:  # it was valid when it was published: what the run waits for cannot be told
        return None
    here = program[row["cursor"]] if row["cursor"] < len(program) else None
    return here.id if isinstance(here, ActionStep | Waiting) else None


async def _raise(row: Mapping[str, Any], step_id: str, code: str, since: datetime, found: Findings, tx: Tx) -> None:
    if await raise_run({**row, "practice_id": tx.practice_id}, step_id, code, since, tx):
        found.raised += 1


async def _raise_schedule(row: Mapping[str, Any], found: Findings, tx: Tx) -> None:
    if not await tx.value(
        _RAISE_SCHEDULE, tx.practice_id, row["id"], row["name"], row["version"], KEEPS_FAILING, row["since"], tx.now
    ):  # fmt: skip
        return
    stuck = ScheduleStuck(workflow_id=row["id"], workflow_name=row["name"], version=row["version"], code=KEEPS_FAILING, since=row["since"])
    tx.emit(stuck, practice_id=tx.practice_id)
    tx.after_commit(lambda: metrics.STUCK.labels(KEEPS_FAILING).inc())
    found.raised += 1


def _count(tag: str) -> int:
    return int(tag.rpartition(" ")[2])
