"""Run again from the trigger: the same event, on the version in force or one that is chosen. Its effects are new ones."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from uuid import UUID

from libs.common.errors import Conflict, Refused
from libs.common.work import Tx, json_text
from libs.contracts.envelope import MESSAGES, Event
from services.workflows.commands.arrivals import bring_to_rest
from services.workflows.commands.controls import PatientSuppressed, patient_of
from services.workflows.commands.happening import Happening
from services.workflows.commands.manual import NotPublished
from services.workflows.commands.published import InForce, PublishedWorkflows
from services.workflows.commands.runs import RunNotFound
from services.workflows.commands.serial import one_at_a_time
from services.workflows.commands.starting import Occasion, start_occasions
from services.workflows.queries.operations import latest_rerun, pause_of, suppressed_among, version_named
from services.workflows.queries.runs import run_by_id, waits_for_time
from services.workflows.rules.definitions.triggers import began_with


class VersionUnknown(Refused):
    """The workflow has no such version."""


class TriggerDiffers(Refused):
    """That version starts at something else than what started the run."""


class WaitsAlready(Conflict):
    """A run of this workflow waits for the time of this appointment already."""


class ConditionIsFalse(Refused):
    """The workflow's condition is false for what started the run, so no new run began."""


async def rerun_run(run_id: UUID, version: int | None, published: PublishedWorkflows, tx: Tx, *, many: bool = False) -> UUID:
    """A new run from what started this one; returns its id. ``version``: None for the one in force. ``many``: one of a job's.

    Enrolment is not asked: somebody wants it. Raises ``RunNotFound``, ``NotPublished``, ``VersionUnknown``, ``TriggerDiffers``,
    ``WaitsAlready``, ``ConditionIsFalse``, ``PatientSuppressed``.
    """
    await one_at_a_time([tx.practice_id], tx)
    row = await run_by_id(run_id, tx)
    if row is None:
        raise RunNotFound
    if await suppressed_among([patient_of(row)], tx):
        raise PatientSuppressed
    workflow = await _version(row, version, published, tx)
    assert workflow.compiled is not None
    trigger = row["trigger_type"]
    if trigger not in began_with(workflow.compiled.definition.trigger):
        raise TriggerDiffers(version=workflow.version)
    if workflow.compiled.anchored and await waits_for_time(row["workflow_id"], row["appointment_id"], tx):
        raise WaitsAlready
    kind = MESSAGES[trigger]
    data = kind.model_validate(row["event"], extra="ignore")
    assert isinstance(data, Event)
    text = json_text(row["event"])
    happening = Happening(tx.practice_id, row["trigger_event_id"], data, text, row["started_at"], tx.cause, many=many)
    rerun = await latest_rerun(row["workflow_id"], row["trigger_event_id"], tx) + 1
    changes = await start_occasions([Occasion(happening, trigger, [workflow])], [happening], tx, rerun)
    if not changes:
        raise ConditionIsFalse
    await bring_to_rest(changes, published, tx)
    return changes[0].run.id


async def _version(row: Mapping[str, Any], version: int | None, published: PublishedWorkflows, tx: Tx) -> InForce:
    workflow_id = row["workflow_id"]
    if version is None:
        found = await published.workflow(tx.practice_id, workflow_id, tx)
        if found is None:
            raise NotPublished
        return found
    name = await version_named(workflow_id, version, tx)
    if name is None:
        raise VersionUnknown(pointer="/version")
    compiled = await published.version(tx.practice_id, workflow_id, version, tx)
    return InForce(workflow_id, version, name, compiled, bool(await pause_of(workflow_id, tx)), published.orchestration.begins_on)
