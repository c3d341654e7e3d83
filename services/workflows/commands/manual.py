"""Runs that people ask for: for one patient at once, for those a filter finds as a job."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Self
from uuid import UUID

from pydantic import AfterValidator, BaseModel, Field, model_validator

from libs.common.clock import monotonic
from libs.common.command import Command
from libs.common.errors import Conflict, Refused
from libs.common.ids import derived_id
from libs.common.work import Tx, json_text
from libs.contracts.workflows import PatientsPreviewed, RunRequested
from services.workflows.commands.arrivals import bring_to_rest
from services.workflows.commands.definitions import WorkflowNotFound
from services.workflows.commands.filters import CONDITION, FilterUsed, Wanted, saved
from services.workflows.commands.happening import Happening
from services.workflows.commands.jobs import Chunk, JobView, open_job
from services.workflows.commands.pacing import Pace
from services.workflows.commands.published import InForce, PublishedWorkflows
from services.workflows.commands.serial import one_at_a_time
from services.workflows.commands.starting import Occasion, start_occasions
from services.workflows.queries.definitions import workflow_by_id
from services.workflows.queries.operations import decision_on, patient_count, patients_after
from services.workflows.queries.world import appointments, patients
from services.workflows.rules.conditions.written import Condition
from services.workflows.rules.definitions.definition import ManualTrigger
from services.workflows.rules.expressions.engines import Engine

CHUNK = 100
PREVIEWED = 20_000
PREVIEW_SECONDS = 5.0
"""Patients a preview looks at, and how long; it says when there are more."""

SHOWN = 10
MAX_VALUES = 20_000


class NotPublished(Conflict):
    """The workflow is not published."""


class NotManual(Refused):
    """This workflow is not started by hand."""


class PatientUnknown(Refused):
    """No such patient is known here."""


class AppointmentUnknown(Refused):
    """No such appointment is known here."""


def _small(values: dict[str, Any]) -> dict[str, Any]:
    if len(json_text(values)) > MAX_VALUES:
        message = f"values have at most {MAX_VALUES} characters as JSON"
        raise ValueError(message)
    return values


PassedOn = Annotated[dict[str, Any], AfterValidator(_small), Field(description="What expressions see as event.values.")]


Filter = Annotated[Condition, Field(description="A condition over patient.*: CEL as text, JSONLogic or blocks.")]
SavedFilter = Annotated[UUID, Field(description="A filter kept by the patients service: a shared one, or one's own.")]
FilterVersion = Annotated[int, Field(ge=1, le=2**31 - 1, description="The saved filter in this version, or nothing happens.")]


class _Filtered(Command):
    """A filter written with the wish, in one of the three forms of conditions, or a saved one."""

    filter: Filter | None = None
    saved_filter: SavedFilter | None = None
    filter_version: FilterVersion | None = None

    @model_validator(mode="after")
    def _one_filter(self) -> Self:
        if self.filter is not None and self.saved_filter is not None:
            message = "a filter is written here or a saved one, not both"
            raise ValueError(message)
        if self.filter_version is not None and self.saved_filter is None:
            message = "filter_version says which version of a saved_filter"
            raise ValueError(message)
        return self

    @property
    def filtered(self) -> bool:
        return self.filter is not None or self.saved_filter is not None


class RequestRun(_Filtered):
    """A run for one patient (``patient_id``), for those a ``filter`` or a ``saved_filter`` finds, or for the practice (neither)."""

    patient_id: UUID | None = None
    appointment_id: UUID | None = None
    values: PassedOn = Field(default_factory=dict)

    @model_validator(mode="after")
    def _one_or_many(self) -> Self:
        if self.filtered and (self.patient_id is not None or self.appointment_id is not None):
            message = "a filter finds the patients: it stands alone"
            raise ValueError(message)
        return self


class PreviewFilter(_Filtered):
    """A ``filter``, or a ``saved_filter``."""

    @model_validator(mode="after")
    def _some_filter(self) -> Self:
        if not self.filtered:
            message = "a filter is needed, written here or a saved one"
            raise ValueError(message)
        return self


class Requested(BaseModel):
    """What came of it: a run, or why there is none (``decision``); for many patients the job, and the saved filter that was meant."""

    decision: str
    run_id: UUID | None = None
    job: JobView | None = None
    saved_filter: FilterUsed | None = None


class PatientShown(BaseModel):
    id: UUID
    given_name: str
    family_name: str


class FilterPreview(BaseModel):
    """How many patients a filter finds, and the first ten. ``complete`` is false when there are more than were looked at."""

    found: int
    errors: int
    looked_at: int
    complete: bool
    first: list[PatientShown]
    saved_filter: FilterUsed | None = None


async def request_run(workflow_id: UUID, cmd: RequestRun, engine: Engine, published: PublishedWorkflows, tx: Tx) -> Requested:
    """A filter is kept in the job as it is now: what becomes of a saved one later changes nothing.

    Raises ``WorkflowNotFound``, ``NotPublished``, ``NotManual``, ``PatientUnknown``, ``AppointmentUnknown``, ``FilterInvalid``,
    ``SavedFilterUnknown``, ``SavedFilterNotYet``, ``SavedFilterChanged``.
    """
    await one_at_a_time([tx.practice_id], tx)
    workflow = await manual_workflow(workflow_id, published, tx)
    wanted = await _wanted(cmd, engine, tx)
    if wanted is not None:
        wish = {**wanted.wish, "values": cmd.values}
        job = await open_job("start", wish, await patient_count(tx.practice_id, tx), tx, workflow_id)
        return Requested(decision="job", job=job, saved_filter=wanted.used)
    await _known(cmd, tx)
    request = RunRequested(
        workflow_id=workflow_id, requested_by=tx.principal.actor, patient_id=cmd.patient_id, appointment_id=cmd.appointment_id,
        values=cmd.values,
    )  # fmt: skip
    return await start_requested(Happening.own(tx.practice_id, tx.new_id(), request, tx.now, tx.cause), workflow, published, tx)


async def start_requested(happening: Happening, workflow: InForce, published: PublishedWorkflows, tx: Tx) -> Requested:
    """Start one run somebody asked for."""
    changes = await start_occasions([Occasion(happening, happening.data.type, [workflow])], [happening], tx)
    await bring_to_rest(changes, published, tx)
    decision, run_id = await decision_on(happening.practice_id, happening.id, workflow.workflow_id, tx)
    return Requested(decision=decision, run_id=run_id)


async def manual_workflow(workflow_id: UUID, published: PublishedWorkflows, tx: Tx) -> InForce:
    """What is in force of a workflow people may start. Raises ``WorkflowNotFound``, ``NotPublished``, ``NotManual``."""
    if await workflow_by_id(workflow_id, tx) is None:
        raise WorkflowNotFound
    workflow = await published.workflow(tx.practice_id, workflow_id, tx)
    if workflow is None:
        raise NotPublished
    if workflow.compiled is None or not isinstance(workflow.compiled.definition.trigger, ManualTrigger):
        raise NotManual
    return workflow


async def preview_filter(workflow_id: UUID, cmd: PreviewFilter, engine: Engine, tx: Tx) -> FilterPreview:
    """Whom the filter would find now. That it was read is said in the same transaction.

    Raises ``WorkflowNotFound``, ``FilterInvalid``, ``SavedFilterUnknown``, ``SavedFilterNotYet``, ``SavedFilterChanged``.
    """
    if await workflow_by_id(workflow_id, tx) is None:
        raise WorkflowNotFound
    wanted = await _wanted(cmd, engine, tx)
    assert wanted is not None
    found, errors, looked_at = 0, 0, 0
    first: list[PatientShown] = []
    after: UUID | None = None
    began, pace = monotonic(), Pace()
    while looked_at < PREVIEWED and monotonic() - began < PREVIEW_SECONDS:
        rows = await patients_after(tx.practice_id, after, 100, tx)
        if not rows:
            break
        after, looked_at = rows[-1]["id"], looked_at + len(rows)
        for row in rows:
            verdict = wanted.compiled.verdict(row)
            errors += verdict.error is not None
            if verdict.is_true:
                found += 1
                if len(first) < SHOWN:
                    first.append(PatientShown.model_validate(dict(row)))
            await pace.keep()
    tx.emit(PatientsPreviewed(workflow_id=workflow_id, patient_ids=[one.id for one in first]))
    complete = looked_at >= await patient_count(tx.practice_id, tx)
    return FilterPreview(
        found=found, errors=errors, looked_at=looked_at, complete=complete, first=first, saved_filter=wanted.used
    )  # fmt: skip


async def _wanted(cmd: _Filtered, engine: Engine, tx: Tx) -> Wanted | None:
    if cmd.saved_filter is not None:
        return await saved(cmd.saved_filter, cmd.filter_version, engine, tx)
    return Wanted.written(cmd.filter, engine) if cmd.filter is not None else None


async def start_chunk(job: Mapping[str, Any], limit: int | None, tx: Tx, *, engine: Engine, published: PublishedWorkflows) -> Chunk:
    """The next patients of a filter. Nobody twice: the runs' ids are those of the job and the patient."""
    workflow = await published.workflow(tx.practice_id, job["workflow_id"], tx)
    rows = await patients_after(tx.practice_id, job["after"], 1 if limit is not None else CHUNK, tx)
    manual = workflow is not None and workflow.compiled is not None and isinstance(workflow.compiled.definition.trigger, ManualTrigger)
    if not rows or workflow is None or not manual:  # unpublished meanwhile: nothing more starts
        return Chunk(None)
    if limit == 0:
        return Chunk(rows[-1]["id"])
    wanted = Wanted.written(CONDITION.validate_python(job["wish"]["filter"]), engine)
    found: list[UUID] = []
    pace = Pace()
    for row in rows:
        if wanted.compiled.verdict(row).is_true:
            found.append(row["id"])
        await pace.keep()
    happenings = [_for(patient_id, job, tx) for patient_id in found]
    changes = await start_occasions([Occasion(one, RunRequested.type, [workflow]) for one in happenings], happenings, tx)
    await bring_to_rest(changes, published, tx)
    return Chunk(rows[-1]["id"] if limit is not None or len(rows) == CHUNK else None, len(changes), len(rows) - len(changes))


def _for(patient_id: UUID, job: Mapping[str, Any], tx: Tx) -> Happening:
    wish = job["wish"]
    request = RunRequested(
        workflow_id=job["workflow_id"], requested_by=job["created_by"], patient_id=patient_id, values=wish["values"]
    )  # fmt: skip
    return Happening.own(tx.practice_id, derived_id("job", job["id"], patient_id), request, tx.now, tx.cause, many=True)


async def _known(cmd: RequestRun, tx: Tx) -> None:
    if cmd.patient_id is not None and not await patients([(tx.practice_id, cmd.patient_id)], tx):
        raise PatientUnknown(pointer="/patient_id")
    if cmd.appointment_id is not None and not await appointments([(tx.practice_id, cmd.appointment_id)], tx):
        raise AppointmentUnknown(pointer="/appointment_id")
