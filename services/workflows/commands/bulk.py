"""Many runs at once: those a filter finds, or all that failed alike. Looked at first, then done as a job."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Literal, Self
from uuid import UUID

from pydantic import AwareDatetime, BaseModel, Field, model_validator

from libs.common.command import Command
from libs.common.work import Tx
from services.workflows.commands.controls import PatientSuppressed, steer
from services.workflows.commands.jobs import Chunk, JobView, open_job
from services.workflows.commands.published import PublishedWorkflows
from services.workflows.commands.reruns import ConditionIsFalse, TriggerDiffers, WaitsAlready, rerun_run
from services.workflows.queries.bulk import count_matching, failures, matching
from services.workflows.rules.runs.states import Status

CHUNK = 100
RERUNS = 20
SHOWN = 10
FITTING: dict[str, str] = {"cancel": "running", "pause": "unpaused", "resume": "paused", "retry": "failed", "rerun": "not_rerun"}
"""Which runs a verb is for, whatever else is asked."""


class Fingerprint(Command):
    """Runs of a workflow that failed at the same step (null: before any) with the same code."""

    workflow_id: UUID
    failed_step: str | None = Field(default=None, max_length=50)
    error_code: str = Field(max_length=200)


class RunFilter(Command):
    """Every field that is given must fit."""

    workflow_id: UUID | None = None
    patient_id: UUID | None = None
    status: Status | None = None
    error_code: str | None = Field(default=None, max_length=200)
    failed_step: str | None = Field(default=None, max_length=50)
    trigger: str | None = Field(default=None, max_length=200)
    started_since: AwareDatetime | None = None
    started_before: AwareDatetime | None = None
    run_ids: list[UUID] | None = Field(default=None, min_length=1, max_length=1000)


class BulkRuns(Command):
    """What to do with which runs. ``version`` is for "rerun": None for the one in force."""

    verb: Literal["cancel", "retry", "rerun", "pause", "resume"]
    filter: RunFilter | None = None
    fingerprint: Fingerprint | None = None
    version: int | None = Field(default=None, ge=1, le=2**31 - 1)

    @model_validator(mode="after")
    def _one_of(self) -> Self:
        if (self.filter is None) == (self.fingerprint is None):
            message = "either filter or fingerprint says which runs"
            raise ValueError(message)
        if self.version is not None and self.verb != "rerun":
            message = 'version belongs to the verb "rerun"'
            raise ValueError(message)
        return self


class RunShown(BaseModel):
    id: UUID
    workflow_id: UUID
    workflow_name: str
    patient_id: UUID | None
    status: str
    failed_step: str | None
    error_code: str | None
    started_at: datetime


class BulkPreview(BaseModel):
    """How many runs the verb fits now, and ten of them. A job passes by those of suppressed patients, and rivals where one at a time is let in."""

    found: int
    first: list[RunShown]


class Failures(BaseModel):
    """Runs that failed alike. Times are UTC."""

    workflow_id: UUID
    workflow_name: str
    failed_step: str | None
    error_code: str
    count: int
    first_at: datetime
    last_at: datetime


class FailuresList(BaseModel):
    """The largest groups first, at most 200."""

    items: list[Failures]


async def list_failures(workflow_id: UUID | None, tx: Tx) -> FailuresList:
    return FailuresList(items=[Failures.model_validate(dict(row)) for row in await failures(workflow_id, tx)])


async def preview_bulk(cmd: BulkRuns, tx: Tx) -> BulkPreview:
    """What it would be about; nothing happens."""
    wanted = _wanted(cmd)
    rows = await matching(FITTING[cmd.verb], wanted, tx.now, None, SHOWN, tx)
    return BulkPreview(
        found=await count_matching(FITTING[cmd.verb], wanted, tx.now, tx), first=[RunShown.model_validate(dict(row)) for row in rows]
    )


async def open_bulk(cmd: BulkRuns, tx: Tx) -> JobView:
    """Runs that start from now on are not meant."""
    total = await count_matching(FITTING[cmd.verb], _wanted(cmd), tx.now, tx)
    return await open_job("runs", cmd.model_dump(mode="json", exclude_none=True), total, tx)


async def bulk_chunk(job: Mapping[str, Any], limit: int | None, tx: Tx, *, published: PublishedWorkflows) -> Chunk:
    """The next of the runs. One that has come to fit no more is passed by."""
    cmd = BulkRuns.model_validate(job["wish"])
    at_once = RERUNS if cmd.verb == "rerun" else CHUNK
    rows = await matching(FITTING[cmd.verb], _wanted(cmd), job["created_at"], job["after"], 1 if limit is not None else at_once, tx)
    ids = [row["id"] for row in rows]
    if not ids:
        return Chunk(None)
    if limit == 0:
        return Chunk(ids[-1])
    if cmd.verb == "rerun":
        done = sum([await _again(run_id, cmd.version, published, tx) for run_id in ids])
    else:
        done = await steer(cmd.verb, ids, published, tx)
    return Chunk(ids[-1] if limit is not None or len(ids) == at_once else None, done, len(ids) - done)


async def _again(run_id: UUID, version: int | None, published: PublishedWorkflows, tx: Tx) -> int:
    try:
        await rerun_run(run_id, version, published, tx, many=True)
    except (ConditionIsFalse, PatientSuppressed, TriggerDiffers, WaitsAlready):
        return 0
    return 1


def _wanted(cmd: BulkRuns) -> dict[str, Any]:
    """The fields to compare, by name; a fingerprint's step is compared even when it is null."""
    if cmd.fingerprint is not None:
        return {**cmd.fingerprint.model_dump(), "status": "failed", "exact": True}
    assert cmd.filter is not None
    return cmd.filter.model_dump()
