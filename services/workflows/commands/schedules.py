"""Schedules: one row per published workflow that runs by the clock, and the duty that starts its runs.

A turn takes one time of one schedule, or one chunk of its patients: runs, what they say and how far the row is are one
transaction, so dying anywhere repeats nothing and leaves nothing out. Several processes may take turns: a row in other
hands is passed by. Were a turn ever repeated, its runs have the ids they had before and start no second time.
"""

from __future__ import annotations

from datetime import datetime, timedelta, tzinfo
from typing import Any
from uuid import UUID

from libs.common.auth import Principal
from libs.common.ids import derived_id
from libs.common.logging import get_logger
from libs.common.telemetry import NO_CAUSE
from libs.common.work import Tx, Work
from libs.contracts.workflows import ScheduleReached
from services.workflows.commands.arrivals import bring_to_rest
from services.workflows.commands.filters import saved
from services.workflows.commands.happening import Happening
from services.workflows.commands.history import Decision
from services.workflows.commands.published import InForce, PublishedWorkflows
from services.workflows.commands.serial import one_at_a_time
from services.workflows.commands.starting import Occasion, start_occasions
from services.workflows.queries.operations import active_patients, patients_after, scheduled
from services.workflows.queries.world import practices
from services.workflows.rules.definitions.calendar import missed, next_cron, zone_of
from services.workflows.rules.definitions.definition import ScheduleTrigger, Trigger
from services.workflows.rules.expressions.engines import Engine

log = get_logger()

CHUNK = 100
"""Patients of one turn."""

PACE = timedelta(milliseconds=250)
"""Between two chunks of one schedule: others get their turn."""

AT_ONCE = 100
POSTPONED = timedelta(seconds=60)
OVERLAP = "overlap"
SYSTEM = Principal.system("schedules")
_AWAKE = "practice_id <> ALL (ARRAY(SELECT practice_id FROM access_practice WHERE suspended))"
_DUE = f"""
SELECT practice_id, workflow_id FROM (
  SELECT DISTINCT ON (practice_id) practice_id, workflow_id, due_at FROM schedule WHERE due_at <= $1 AND {_AWAKE} ORDER BY practice_id, due_at
) oldest ORDER BY due_at LIMIT $2
"""
_TAKE = f"""
SELECT due_at, doing, after FROM schedule WHERE practice_id = $1 AND workflow_id = $2 AND due_at <= $3 AND {_AWAKE} FOR UPDATE SKIP LOCKED
"""
_NEXT = f"SELECT min(due_at) FROM schedule WHERE {_AWAKE}"
_MOVE = """
UPDATE schedule SET due_at = $3, doing = $4, after = $5, postponed = 0, failing_since = NULL WHERE practice_id = $1 AND workflow_id = $2
"""
_KEEP = """
INSERT INTO schedule (practice_id, workflow_id, due_at) VALUES ($1, $2, $3) ON CONFLICT (practice_id, workflow_id) DO UPDATE
SET due_at = CASE WHEN schedule.due_at <= $4 OR schedule.doing <> '{}' THEN schedule.due_at ELSE excluded.due_at END
"""
_DROP = "DELETE FROM schedule WHERE practice_id = $1 AND workflow_id = $2"
_POSTPONE = """
UPDATE schedule SET doing = CASE WHEN doing = '{}' THEN ARRAY[due_at] ELSE doing END, due_at = $3, postponed = postponed + 1,
  failing_since = coalesce(failing_since, $4) WHERE practice_id = $1 AND workflow_id = $2
"""


async def keep_schedule(workflow_id: UUID, trigger: Trigger, tx: Tx) -> None:
    """What is published has this trigger now. A time that is due already, and one being worked on, still count."""
    if not isinstance(trigger, ScheduleTrigger):
        await drop_schedule(workflow_id, tx)
        return
    due = next_cron(trigger.cron, await _zone(trigger, tx.practice_id, tx), tx.now)
    await tx.execute(_KEEP, tx.practice_id, workflow_id, due, tx.now)


async def drop_schedule(workflow_id: UUID, tx: Tx) -> None:
    """Nothing of it starts any more."""
    await tx.execute(_DROP, tx.practice_id, workflow_id)


async def follow_zone(practice_id: UUID, tx: Tx) -> None:
    """The practice's time zone may have changed: schedules without a zone of their own come at other times now."""
    for row in await scheduled(practice_id, tx):
        trigger = ScheduleTrigger.model_validate(row["trigger"])
        if trigger.time_zone is None:
            due = next_cron(trigger.cron, await _zone(trigger, practice_id, tx), tx.now)
            await tx.execute(_KEEP, practice_id, row["workflow_id"], due, tx.now)


async def take_turns(work: Work, published: PublishedWorkflows) -> int:
    """One turn for each practice with a due schedule, the oldest first; returns how many were taken."""
    async with work.batch([], SYSTEM) as tx:
        due = await tx.rows(_DUE, tx.now, AT_ONCE)
    return sum([await _turn_alone(row["practice_id"], row["workflow_id"], work, published) for row in due])


async def seconds_until_next(work: Work) -> float | None:
    """When the next schedule is due; None when there is none."""
    async with work.batch([], SYSTEM) as tx:
        due = await tx.value(_NEXT)
        return None if due is None else max(0.02, (due - tx.now).total_seconds())


async def _turn_alone(practice_id: UUID, workflow_id: UUID, work: Work, published: PublishedWorkflows) -> int:
    try:
        async with work.batch([practice_id], SYSTEM) as tx:
            return await _turn(practice_id, workflow_id, published, tx)
    except Exception as error:  # one of ours: the others have their turn, this one comes again, and the watchdog shows it after some times
        log.error("schedule.postponed", workflow_id=str(workflow_id), exc_info=error)
        async with work.batch([practice_id], SYSTEM) as tx:
            await tx.execute(_POSTPONE, practice_id, workflow_id, tx.now + POSTPONED, tx.now)
        return 0


async def _turn(practice_id: UUID, workflow_id: UUID, published: PublishedWorkflows, tx: Tx) -> int:
    await one_at_a_time([practice_id], tx)
    row = await tx.row(_TAKE, practice_id, workflow_id, tx.now)
    if row is None:
        return 0
    tx.settle(practice_id)
    workflow = await published.workflow(practice_id, workflow_id, tx)
    trigger = workflow.compiled.definition.trigger if workflow is not None and workflow.compiled is not None else None
    if workflow is None or not isinstance(trigger, ScheduleTrigger):
        await drop_schedule(workflow_id, tx)
        return 1
    zone = await _zone(trigger, practice_id, tx)
    doing = list(row["doing"]) or missed(trigger.cron, zone, row["due_at"], tx.now, trigger.catch_up)
    if not doing:
        log.info("schedule.missed", workflow_id=str(workflow_id), due_at=row["due_at"].isoformat())
        await tx.execute(_MOVE, practice_id, workflow_id, next_cron(trigger.cron, zone, tx.now), [], None)
        return 1
    after = await _start(workflow, trigger, doing[0], row["after"], zone, published, tx)
    left = doing if after is not None else doing[1:]
    due = tx.now if after is None and left else tx.now + PACE if left else next_cron(trigger.cron, zone, doing[0])
    await tx.execute(_MOVE, practice_id, workflow_id, due, left, after)
    return 1


async def _start(
    workflow: InForce, trigger: ScheduleTrigger, at: datetime, after: UUID | None, zone: tzinfo, published: PublishedWorkflows, tx: Tx
) -> UUID | None:
    """The runs of one time, as far as this turn goes; returns the patient it came to when there are more."""
    people, last = await _people(trigger, after, published.engine, tx)
    busy = await active_patients(tx.practice_id, workflow.workflow_id, people, tx) if trigger.overlap == "skip" else set()
    many = trigger.for_each == "patient"
    happenings = [
        Happening.own(tx.practice_id, _id(workflow, at, one), _reached(workflow, at, zone, one), at, NO_CAUSE, many=many) for one in people
    ]
    occasions = []
    decided: dict[UUID, list[Decision]] = {}
    for happening, patient_id in zip(happenings, people, strict=True):
        if patient_id in busy:
            decided[happening.id] = [Decision(workflow.workflow_id, workflow.version, OVERLAP)]
        else:
            occasions.append(Occasion(happening, ScheduleReached.type, [workflow]))
    await bring_to_rest(await start_occasions(occasions, happenings, tx, decided=decided), published, tx)
    return last


async def _people(trigger: ScheduleTrigger, after: UUID | None, engine: Engine, tx: Tx) -> tuple[list[UUID | None], UUID | None]:
    """Whom this turn is for, and the patient it came to when there are more. A saved filter counts as it is known now.

    Raises ``SavedFilterUnknown``, ``SavedFilterNotYet``, ``FilterInvalid``: nothing starts, the time is kept, the watchdog shows it.
    """
    if trigger.for_each == "practice":
        return [None], None
    wanted = await saved(trigger.saved_filter, None, engine, tx) if trigger.saved_filter is not None else None
    rows = await patients_after(tx.practice_id, after, CHUNK, tx)
    people = [row["id"] for row in rows if wanted is None or wanted.compiled.verdict(row).is_true]
    return people, rows[-1]["id"] if len(rows) == CHUNK else None


def _id(workflow: InForce, at: datetime, patient_id: UUID | None) -> UUID:
    return derived_id("schedule", workflow.workflow_id, at.isoformat(), patient_id or "")


def _reached(workflow: InForce, at: datetime, zone: tzinfo, patient_id: UUID | None) -> ScheduleReached:
    local = at.astimezone(zone)
    return ScheduleReached(
        workflow_id=workflow.workflow_id, due_at=at, local_date=local.date(), month_day=f"{local:%m-%d}", weekday=local.isoweekday(),
        patient_id=patient_id,
    )  # fmt: skip


async def _zone(trigger: ScheduleTrigger, practice_id: UUID, tx: Tx) -> tzinfo:
    """The trigger's, else the practice's; until news of the practice has come, UTC."""
    known: dict[str, Any] = (await practices([practice_id], tx))[practice_id]
    return zone_of(trigger.time_zone or known.get("time_zone"))
