"""Bring runs on: one pass of the interpreter per input, one set of statements per batch."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Any

from asyncpg import Record

from libs.common.errors import Conflict, NotFound, Refused
from libs.common.messaging import Received
from libs.common.telemetry import Cause
from libs.common.work import Tx
from libs.contracts.envelope import MESSAGES
from libs.contracts.scheduling import AppointmentBooked, AppointmentState
from services.workflows.commands.handover import hand_over, keep
from services.workflows.commands.matching import find_patients
from services.workflows.commands.published import PublishedWorkflows, VersionBroken
from services.workflows.commands.raising import KEEPS_FAILING, raise_run
from services.workflows.commands.rows import attempt_of, run_of, state_of
from services.workflows.commands.world import world_of
from services.workflows.commands.writes import Change, Writes
from services.workflows.queries.operations import suppressed_among
from services.workflows.queries.runs import anchored_runs, runs_for_change
from services.workflows.queries.world import Key
from services.workflows.rules.runs.ending import end
from services.workflows.rules.runs.interpreter import advance
from services.workflows.rules.runs.orchestration import BUILTIN
from services.workflows.rules.runs.states import (
    MAX_ATTEMPTS,
    AppointmentChanged,
    Cancelled,
    Effect,
    Input,
    Moved,
    State,
    Status,
    StepResult,
)

_KEPT = (StepResult, AppointmentChanged)
"""What comes once. A timer stays where it is and rings again; people are told that it cannot be done."""

SUPPRESSED = "suppressed"
"""The error code of a run that ended because its patient is on the suppression list."""


class RunNotFound(NotFound):
    """No such run."""


class RunUnknown(Refused):
    """The message is about a run that was never started here."""


class RunHasEnded(Conflict):
    """The run has ended already."""


async def advance_runs(inputs: list[tuple[Key, Input, Cause]], published: PublishedWorkflows, tx: Tx) -> list[Change]:
    """Give each run its input: here, or by way of the engine that keeps it going. Returns those that moved here.

    What comes for a run whose version compiles no more is kept for it, and the run is raised: it takes that up once it compiles
    again. Raises ``RunUnknown``: a run is durable before anything is asked for it, so its absence is no matter of time.
    """
    found = await runs_for_change(list({key for key, _, _ in inputs}), tx)
    if any(key not in found for key, _, _ in inputs):
        raise RunUnknown
    elsewhere = [one for one in inputs if found[one[0]]["engine"] != BUILTIN]
    if elsewhere:
        await hand_over(elsewhere, tx)
    here = [one for one in inputs if found[one[0]]["engine"] == BUILTIN]
    if any(isinstance(event, _KEPT) for _, event, _ in here):
        usable = await published.usable({key: found[key] for key, _, _ in here if found[key]["status"] == Status.RUNNING}, tx)
        broken = [one for one in here if isinstance(one[1], _KEPT) and one[0] not in usable and found[one[0]]["status"] == Status.RUNNING]
        if broken:
            await keep(broken, tx)
            await raise_broken([found[key] for key, _, _ in broken], tx)
            here = [one for one in here if one not in broken]
    return await _move(here, found, published, tx, tx.now) if here else []


async def move_runs(
    inputs: list[tuple[Key, Input, Cause]], published: PublishedWorkflows, tx: Tx, *, at: datetime | None = None
) -> list[Change]:
    """Give each run its input here and now, whatever engine keeps it going. ``at``: as of when it counts."""
    found = await runs_for_change(list({key for key, _, _ in inputs}), tx)
    return await _move(inputs, found, published, tx, at or tx.now)


async def _move(
    inputs: list[tuple[Key, Input, Cause]], found: dict[Key, Record], published: PublishedWorkflows, tx: Tx, at: datetime
) -> list[Change]:
    versions = await published.usable(found, tx)
    of_interest = frozenset[str]().union(*(compiled.names for compiled in versions.values()))
    world = await world_of([(row["practice_id"], row["event"]) for row in found.values()], tx, of_interest)
    events = {key: parsed(row["event"], row["trigger_type"]) for key, row in found.items()}
    moved: dict[Key, tuple[State, list[Effect], Cause]] = {}
    for key, event, cause in inputs:
        compiled = versions.get(key)
        before, earlier = moved[key][:2] if key in moved else (state_of(found[key]), [])
        if compiled is None:
            state, effects = _without_definition(before, event)
        else:
            state, effects = advance(compiled, before, event, world.around(compiled, key[0], events[key]), at)
        if effects or state != before:
            moved[key] = state, [*earlier, *effects], cause
    writes = Writes()
    for key, (state, effects, cause) in moved.items():
        compiled = versions.get(key)
        run = run_of(found[key], awaits=compiled is None or bool(compiled.awaited))
        writes.advance(Change(run, state, effects, cause, compiled, found[key]["status"], at=at))
    return await writes.flush(tx)


def _without_definition(state: State, event: Input) -> Moved:
    """A run whose version compiles no more can be ended, and nothing else. Raises ``VersionBroken``."""
    if state.status.terminal:
        return state, []
    if not isinstance(event, Cancelled):
        raise VersionBroken
    return end(state, Status.CANCELLED, event.reason, [])


async def raise_broken(rows: Iterable[Record], tx: Tx) -> None:
    """Somebody has to see these runs: their version compiles no more, and something has come for them."""
    for row in rows:
        await raise_run(row, "", KEEPS_FAILING, tx.now, tx)


async def take_results(events: list[Received[Any]], published: PublishedWorkflows, tx: Tx) -> list[Change]:
    """Owners' answers: each advances its run."""
    inputs: list[tuple[Key, Input, Cause]] = []
    for event in events:
        result = event.data
        attempt = attempt_of(result.effect_key, result.run_id, result.step_id, MAX_ATTEMPTS)
        error = result.error
        answer = StepResult(
            result.step_id, result.outcome, error.code if error else None, -1 if attempt is None else attempt,
            error.retryable if error else False, result.result,
        )  # fmt: skip
        inputs.append(((event.practice_id, result.run_id), answer, event.cause))
    return await advance_runs(inputs, published, tx)


async def follow_appointments(events: Iterable[Received[AppointmentState]], published: PublishedWorkflows, tx: Tx) -> list[Change]:
    """Runs that wait for a time before or after an appointment follow it: to its new time, or to their end when it is cancelled.

    Runs about an appointment nobody's until now are about its patient from here on; they end if the patient is suppressed.
    """
    events = list(events)
    causes = {(event.practice_id, event.data.appointment_id): event.cause for event in events}
    owned = {
        (event.practice_id, event.data.appointment_id)
        for event in events
        if event.data.patient_id is not None
        and not isinstance(event.data, AppointmentBooked)  # booked with a patient, it was never nobody's
    }
    found = await find_patients(owned, published, tx) if owned else []
    listed = await suppressed_among([(row["practice_id"], row["patient_id"]) for row in found], tx) if found else set()
    news: dict[Key, tuple[Input, Key]] = {
        (row["practice_id"], row["id"]): (AppointmentChanged(), (row["practice_id"], row["appointment_id"]))
        for row in await anchored_runs(list(causes), tx)
    } | {
        (row["practice_id"], row["id"]): (Cancelled(SUPPRESSED), (row["practice_id"], row["appointment_id"]))
        for row in found
        if (row["practice_id"], row["patient_id"]) in listed
    }
    usable = await published.usable({(row["practice_id"], row["id"]): row for row in found}, tx)
    for row in found:  # what they wait for cannot be told: kept until it can
        if (key := (row["practice_id"], row["id"])) not in usable:
            news.setdefault(key, (AppointmentChanged(), (row["practice_id"], row["appointment_id"])))
    inputs = [(key, event, causes[appointment]) for key, (event, appointment) in news.items()]
    return await advance_runs(inputs, published, tx) if inputs else []


def parsed(event: dict[str, Any], event_type: str) -> dict[str, Any]:
    """A stored event with times as times, as it was when the run started."""
    values: dict[str, Any] = MESSAGES[event_type].model_validate(event, extra="ignore").model_dump()
    return values
