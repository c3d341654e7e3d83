"""Appointments booked before: a workflow anchored to appointments takes up those still to come when it is published.

Each is considered as if it were booked then: the same enrolment, suppression, past-due policy and guards. What happens after the
publication is heard as it comes, and engine transactions of one practice run one after another, so no appointment falls in between.
One that a run of the workflow is about already, or was at the time it has now, gets no second run, whatever is published again.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Any
from uuid import UUID

from libs.common.errors import Refused
from libs.common.ids import derived_id
from libs.common.work import Tx
from libs.contracts.scheduling import AppointmentState
from libs.contracts.workflows import AppointmentIncluded
from services.workflows.commands.arrivals import bring_to_rest
from services.workflows.commands.happening import Happening, run_of_booking
from services.workflows.commands.history import STARTED_ALREADY, Decision
from services.workflows.commands.jobs import Chunk, JobView, Kind, Postponed, open_job
from services.workflows.commands.published import InForce, PublishedWorkflows
from services.workflows.commands.starting import Occasion, start_occasions
from services.workflows.commands.writes import Change
from services.workflows.queries.existing import covering, to_come, uncovered
from services.workflows.queries.jobs import running_job
from services.workflows.queries.runs import begun
from services.workflows.queries.world import patients
from services.workflows.rules.definitions.definition import AnchoredTrigger, Trigger

CHUNK = 100
KIND: Kind = "include"
PATIENCE = timedelta(minutes=10)
"""How long appointments wait for news of their patients, which come another way. Then those without are counted as failed."""

_LEAVE = "DELETE FROM job_due d USING job j WHERE d.practice_id = $1 AND j.practice_id = $1 AND j.id = d.job_id AND j.kind = $3 AND j.workflow_id = $2"
_STOP = """
UPDATE job SET status = 'cancelled', updated_at = $4, finished_at = $4
WHERE practice_id = $1 AND workflow_id = $2 AND kind = $3 AND status = 'running'
"""


class NotAnchored(Refused):
    """Only a workflow that runs before or after appointments takes up existing ones."""


async def count_existing(workflow_id: UUID, trigger: Trigger, tx: Tx) -> int | None:
    """How many appointments publishing it would take up; None for a workflow that takes up none."""
    return await uncovered(workflow_id, tx) if isinstance(trigger, AnchoredTrigger) else None


async def include_existing(workflow_id: UUID, trigger: Trigger, tx: Tx, *, wanted: bool | None, first: bool) -> JobView | None:
    """The job that takes them up, beginning with the commit. ``wanted``: None for what ``first`` says. Raises ``NotAnchored``.

    ``first``: until now nothing anchored of this workflow was in force, so nobody heard of what was booked.
    """
    if not isinstance(trigger, AnchoredTrigger):
        if wanted:
            raise NotAnchored(pointer="/include_existing")
        return None
    if wanted is not False and not first and (running := await running_job(KIND, workflow_id, tx)) is not None:
        return JobView.of(running)
    if wanted is False or first:  # one that is at work is of an earlier publication
        await _stop(workflow_id, tx)
    if wanted is False or not (wanted or first):
        return None
    return await open_job(KIND, {}, await uncovered(workflow_id, tx), tx, workflow_id)


async def include_chunk(job: Mapping[str, Any], limit: int | None, tx: Tx, *, published: PublishedWorkflows) -> Chunk:
    """The next appointments. Unpublished meanwhile, or with another trigger now, nothing more starts."""
    workflow = await published.workflow(tx.practice_id, job["workflow_id"], tx)
    if workflow is None or workflow.compiled is None or not workflow.compiled.anchored:
        return Chunk(None)
    rows = await to_come(job["after"], 1 if limit is not None else CHUNK, tx)
    if not rows:
        return Chunk(None)
    if limit == 0:
        return Chunk(rows[-1]["id"])
    changes = await _take_up(rows, workflow, job, tx)
    await bring_to_rest(changes, published, tx)
    tx.after_commit(published.orchestration.hint)
    return Chunk(rows[-1]["id"] if limit is not None or len(rows) == CHUNK else None, len(changes), len(rows) - len(changes))


async def _take_up(rows: list[Any], workflow: InForce, job: Mapping[str, Any], tx: Tx) -> list[Change]:
    """Start what may start; of every appointment it is remembered what was decided."""
    covered = await covering(workflow.workflow_id, [row["id"] for row in rows], tx)
    await _expect_patients([row for row in rows if row["id"] not in covered], job, tx)
    first = {row["id"]: run_of_booking(workflow.workflow_id, row["id"]) for row in rows}
    begun_before = await begun([(tx.practice_id, run_id) for run_id in first.values()], tx)
    happenings: list[Happening] = []
    occasions: list[Occasion] = []
    decided: dict[UUID, list[Decision]] = {}
    for row in rows:
        happening = _included(row, job, first[row["id"]] in begun_before, tx)
        happenings.append(happening)
        if row["id"] in covered:
            decided[happening.id] = [Decision(workflow.workflow_id, workflow.version, STARTED_ALREADY, covered[row["id"]])]
        else:
            occasions.append(Occasion(happening, AppointmentIncluded.type, [workflow]))
    return await start_occasions(occasions, happenings, tx, decided=decided)


async def _expect_patients(rows: list[Any], job: Mapping[str, Any], tx: Tx) -> None:
    """Raises ``Postponed`` while news of a patient is on its way and may still come."""
    keys = {(tx.practice_id, row["patient_id"]) for row in rows if row["patient_id"]}
    if tx.now < job["created_at"] + PATIENCE and len(await patients(keys, tx)) < len(keys):
        raise Postponed


def _included(row: Mapping[str, Any], job: Mapping[str, Any], again: bool, tx: Tx) -> Happening:
    state = {name: row[name] for name in AppointmentState.model_fields if name != "appointment_id"}
    event = AppointmentIncluded(workflow_id=job["workflow_id"], appointment_id=row["id"], again=again, **state)
    return Happening.own(tx.practice_id, derived_id("included", job["id"], row["id"]), event, tx.now, tx.cause, many=True)


async def _stop(workflow_id: UUID, tx: Tx) -> None:
    """The queue first, as the job's own turn takes them: nobody waits in a circle."""
    await tx.execute(_LEAVE, tx.practice_id, workflow_id, KIND)
    await tx.execute(_STOP, tx.practice_id, workflow_id, KIND, tx.now)
