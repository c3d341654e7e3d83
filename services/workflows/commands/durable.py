"""What a run of the durable engine does when it is told to look: take up what was handed over, and the time that has come.

All of it in one transaction under the practice's turn, with the interpreter, the records and the messages of the built-in
engine: an attempt that dies leaves everything as it was, one that is repeated finds nothing left to do. What is taken up counts
as of when it was handed over, so that a wait begins when it would have; a timer rings as of now.
"""

from __future__ import annotations

from dataclasses import fields, replace
from datetime import datetime
from typing import Any

from opentelemetry.context import Context

from libs.common.telemetry import Cause, link_to, span, traceparent_of
from libs.common.work import Tx
from services.workflows.commands.arrivals import bring_to_rest, deliver_to
from services.workflows.commands.handover import HAPPENED, SYSTEM, call, input_of
from services.workflows.commands.happening import Happening
from services.workflows.commands.holding import runs_to_move
from services.workflows.commands.matching import tell_of
from services.workflows.commands.published import PublishedWorkflows
from services.workflows.commands.runs import move_runs
from services.workflows.commands.serial import one_at_a_time
from services.workflows.commands.writes import Change
from services.workflows.queries.durable import event_by_id, inputs_for, is_suspended, waits_until
from services.workflows.queries.world import Key
from services.workflows.rules.definitions.triggers import BY_TYPE
from services.workflows.rules.runs.orchestration import Standing
from services.workflows.rules.runs.states import Status, TimerFired

_TAKEN = "DELETE FROM run_input WHERE practice_id = $1 AND run_id = $2 AND seq = $3"
_ANSWERED = "DELETE FROM run_call WHERE practice_id = $1 AND run_id = $2"
_PROGRESS = """
INSERT INTO durable_progress VALUES ($1, $2) ON CONFLICT (practice_id) DO UPDATE SET answered_at = excluded.answered_at
"""
_RING = "DELETE FROM durable_timer WHERE practice_id = $1 AND run_id = $2 AND due_at <= $3 AND NOT held RETURNING step_id"
_CAUSE = tuple(field.name for field in fields(Cause))


async def advance_run(key: Key, published: PublishedWorkflows, tx: Tx) -> Standing:
    """Bring a run on as far as it goes now; returns what it waits for. Nothing happens to runs of a suspended practice."""
    await one_at_a_time([key[0]], tx)
    found = await runs_to_move([key], tx)
    if key not in found:
        await tx.execute(_ANSWERED, *key)
        return Standing(ended=True)
    if await is_suspended(key[0], tx):
        await tx.execute(_ANSWERED, *key)
        await call([key], tx)  # heard again once the practice is active
        return Standing(ended=False)
    await take_up(key, published, tx)
    await tx.execute(_PROGRESS, key[0], tx.now)
    (run,) = (await runs_to_move([key], tx)).values()
    if run["status"] != Status.RUNNING:
        return Standing(ended=True)
    due = await waits_until(key, tx)
    return Standing(ended=False, seconds=None if due is None else max(0.0, (due - tx.now).total_seconds()))


async def catch_up(key: Key, published: PublishedWorkflows, tx: Tx) -> None:
    """A run whose version compiles again takes up what was kept for it. Raises ``VersionBroken`` while it does not."""
    (run,) = (await runs_to_move([key], tx)).values()
    if run["status"] == Status.RUNNING:
        await published.version(key[0], run["workflow_id"], run["version"], tx)
        await tell_of([run], published, tx)
    await take_up(key, published, tx, missed=True)


async def take_up(key: Key, published: PublishedWorkflows, tx: Tx, *, missed: bool = False) -> None:
    """Everything handed over, in order, then the timer if its time has come. Nobody but the system did this.

    ``missed``: while it was kept here, events that the run was yet to wait for were not.
    """
    principal, tx.principal = tx.principal, SYSTEM
    try:
        waiting = await inputs_for(key, tx)
        moved_by = {row["cause"]["causation_id"] for row in waiting if row["kind"] != HAPPENED}
        for row in waiting:
            await tx.execute(_TAKEN, *key, row["seq"])
            if row["kind"] == HAPPENED and row["input"]["event_id"] in moved_by:
                continue  # what moved a run on is not what it then waits for
            changes = await _apply(key, row, published, tx)
            # Of what a wait that begins in the past would have heard of, only what is here was kept: the rest is looked for.
            await bring_to_rest([replace(one, at=None) for one in changes] if missed else changes, published, tx)
        await tx.execute(_ANSWERED, *key)
        rung = await tx.value(_RING, *key, tx.now)
        if rung is not None:
            await bring_to_rest(await _ring(key, rung, published, tx), published, tx)
    finally:
        tx.principal = principal


async def _apply(key: Key, row: Any, published: PublishedWorkflows, tx: Tx) -> list[Change]:
    cause = Cause(**{name: row["cause"][name] for name in _CAUSE})
    at: datetime = row["at"]
    if row["kind"] != HAPPENED:
        return await move_runs([(key, input_of(row["kind"], row["input"]), cause)], published, tx, at=at)
    event = await event_by_id(key[0], row["input"]["event_id"], tx)
    if event is None:
        return []
    data = BY_TYPE[event["type"]].model_validate(event["data"], extra="ignore")
    return await deliver_to(key, Happening(key[0], event["event_id"], data, "", event["at"], cause), published, tx, at=at)


async def _ring(key: Key, step_id: str, published: PublishedWorkflows, tx: Tx) -> list[Change]:
    """What happens after a wait is a trace of its own that links to the one the run began in."""
    (run,) = (await runs_to_move([key], tx)).values()
    links = link_to(run["traceparent"])
    with span("timer fired", parent=Context(), links=links, attributes={"vantage.run_id": str(run["id"])}) as current:
        cause = Cause(run["correlation_id"], str(run["trigger_event_id"]), traceparent_of(current), "")
    return await move_runs([(key, TimerFired(step_id), cause)], published, tx)
