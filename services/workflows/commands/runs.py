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
from libs.contracts.scheduling import AppointmentState
from services.workflows.commands.handover import hand_over
from services.workflows.commands.published import PublishedWorkflows
from services.workflows.commands.rows import attempt_of, run_of, state_of
from services.workflows.commands.world import world_of
from services.workflows.commands.writes import Change, Writes
from services.workflows.queries.operations import suppressed_among
from services.workflows.queries.runs import anchored_runs, runs_for_change
from services.workflows.queries.world import Key
from services.workflows.rules.runs.interpreter import advance
from services.workflows.rules.runs.orchestration import BUILTIN
from services.workflows.rules.runs.states import MAX_ATTEMPTS, AppointmentChanged, Cancelled, Effect, Input, State, StepResult

_FOUND_ITS_PATIENT = """
UPDATE run r SET patient_id = t.patient_id, event = r.event || jsonb_build_object('patient_id', t.patient_id)
FROM unnest($1::uuid[], $2::uuid[], $3::uuid[]) AS t (practice_id, appointment_id, patient_id)
WHERE r.practice_id = t.practice_id AND r.appointment_id = t.appointment_id AND r.status = 'running' AND r.anchored AND r.patient_id IS NULL
"""


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

    Raises ``RunUnknown``: a run is durable before anything is asked for it, so its absence is no matter of time.
    """
    found = await runs_for_change(list({key for key, _, _ in inputs}), tx)
    if any(key not in found for key, _, _ in inputs):
        raise RunUnknown
    elsewhere = [one for one in inputs if found[one[0]]["engine"] != BUILTIN]
    if elsewhere:
        await hand_over(elsewhere, tx)
    here = [one for one in inputs if found[one[0]]["engine"] == BUILTIN]
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
    versions = {key: await published.version(key[0], row["workflow_id"], row["version"], tx) for key, row in found.items()}
    of_interest = frozenset[str]().union(*(compiled.names for compiled in versions.values()))
    world = await world_of([(row["practice_id"], row["event"]) for row in found.values()], tx, of_interest)
    events = {key: parsed(row["event"], row["trigger_type"]) for key, row in found.items()}
    moved: dict[Key, tuple[State, list[Effect], Cause]] = {}
    for key, event, cause in inputs:
        compiled = versions[key]
        before, earlier = moved[key][:2] if key in moved else (state_of(found[key]), [])
        around = world.around(compiled, key[0], events[key])
        state, effects = advance(compiled, before, event, around, at)
        if effects or state != before:
            moved[key] = state, [*earlier, *effects], cause
    writes = Writes()
    for key, (state, effects, cause) in moved.items():
        run = run_of(found[key], awaits=bool(versions[key].awaited))
        writes.advance(Change(run, state, effects, cause, versions[key], found[key]["status"], at=at))
    return await writes.flush(tx)


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

    One that waits for an appointment nobody's until now is about its patient from here on; it ends if they are suppressed.
    """
    events = list(events)
    causes = {(event.practice_id, event.data.appointment_id): event.cause for event in events}
    rows = await anchored_runs(list(causes), tx)
    suppressed: set[Key] = set()
    if any(row["patient_id"] is None for row in rows):
        owned = {(event.practice_id, event.data.appointment_id): event.data.patient_id for event in events if event.data.patient_id}
        await tx.execute(_FOUND_ITS_PATIENT, [key[0] for key in owned], [key[1] for key in owned], list(owned.values()))
        listed = await suppressed_among([(key[0], patient_id) for key, patient_id in owned.items()], tx)
        suppressed = {key for key, patient_id in owned.items() if (key[0], patient_id) in listed}
    inputs: list[tuple[Key, Input, Cause]] = []
    for row in rows:
        appointment = row["practice_id"], row["appointment_id"]
        news = Cancelled(SUPPRESSED) if row["patient_id"] is None and appointment in suppressed else AppointmentChanged()
        inputs.append(((row["practice_id"], row["id"]), news, causes[appointment]))
    return await advance_runs(inputs, published, tx) if inputs else []


def parsed(event: dict[str, Any], event_type: str) -> dict[str, Any]:
    """A stored event with times as times, as it was when the run started."""
    values: dict[str, Any] = MESSAGES[event_type].model_validate(event, extra="ignore").model_dump()
    return values
