"""Write, check, publish and unpublish definitions. Saving refuses what cannot run; publishing freezes a version."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Self
from uuid import UUID

from pydantic import BaseModel

from libs.common.command import Command, Line
from libs.common.errors import NotFound, Stale, VersionMismatch
from libs.common.work import Tx
from libs.contracts.workflows import WorkflowPublished, WorkflowUnpublished
from services.workflows.commands.checks import FindingView, Validation, WrittenDefinition, publish_findings, read, refuse, save_findings
from services.workflows.commands.existing import count_existing, include_existing
from services.workflows.commands.jobs import JobView
from services.workflows.commands.revisions import comes_into_force, goes_out_of_force
from services.workflows.commands.schedules import drop_schedule, keep_schedule
from services.workflows.model import Workflow, WorkflowIsArchived, WorkflowStatus
from services.workflows.queries.definitions import version_exists, version_of, workflow_by_id
from services.workflows.rules.definitions.definition import Definition
from services.workflows.rules.definitions.reading import ShapeInvalid, read_definition
from services.workflows.rules.definitions.settling import settled
from services.workflows.rules.definitions.triggers import started_types, trigger_name


class WorkflowNotFound(NotFound):
    """No such workflow."""


class DraftHasChanged(Stale):
    """The draft was changed meanwhile; read it again before it is published."""


class SaveWorkflow(Command):
    name: Line
    definition: WrittenDefinition


class PublishWorkflow(Command):
    """``note`` says in the history why.

    ``include_existing``: whether appointments that are booked already and still to come are taken up, each as if it were booked
    now; only for a workflow that runs before or after appointments. Left out: yes when such a workflow comes into force, no when
    it was in force before, for then their runs began when they were booked.
    """

    note: Line | None = None
    include_existing: bool | None = None


class WorkflowView(BaseModel):
    """A workflow: the draft, and the version in force if any. Times are UTC."""

    id: UUID
    name: str
    status: WorkflowStatus
    version: int
    published_version: int | None
    definition: dict[str, Any]
    created_by: str
    created_at: datetime
    updated_at: datetime
    archived_at: datetime | None
    last_published_at: datetime | None
    last_published_by: str | None

    @classmethod
    def of(cls, workflow: Workflow) -> Self:
        return cls(
            id=workflow.id, name=workflow.name, status=workflow.status, version=workflow.version,
            published_version=workflow.published_version, definition=workflow.draft, created_by=workflow.created_by,
            created_at=workflow.created_at, updated_at=workflow.updated_at, archived_at=workflow.archived_at,
            last_published_at=workflow.last_published_at, last_published_by=workflow.last_published_by,
        )  # fmt: skip


class PublishedView(WorkflowView):
    """What was published. ``including``: the job that takes up appointments booked before, where there is one."""

    including: JobView | None = None


async def create_workflow(cmd: SaveWorkflow, tx: Tx) -> WorkflowView:
    """Raises ``DefinitionRefused`` when an expression does not compile or the trigger is unknown."""
    refuse(await save_findings(cmd.definition, tx))
    workflow = Workflow.new(tx.practice_id, tx.new_id(), cmd.name, settled(cmd.definition), tx.principal.actor, tx.now)
    tx.session.add(workflow)
    return WorkflowView.of(workflow)


async def edit_workflow(workflow_id: UUID, cmd: SaveWorkflow, tx: Tx, *, if_version: int | None = None) -> WorkflowView:
    """A new draft; what is published stays in force.

    Raises ``WorkflowNotFound``, ``VersionMismatch``, ``WorkflowIsArchived``, ``DefinitionRefused``.
    """
    refuse(await save_findings(cmd.definition, tx))
    workflow = await existing(workflow_id, tx, if_version=if_version)
    workflow.edit(cmd.name, settled(cmd.definition), tx.now)
    return WorkflowView.of(workflow)


async def validate_workflow(workflow_id: UUID, tx: Tx) -> Validation:
    """Everything that would stop the draft from being published, and every warning. Raises ``WorkflowNotFound``."""
    workflow = await existing(workflow_id, tx)
    definition: Definition | None = None
    try:
        definition = read_definition(workflow.draft)
        findings = await publish_findings(workflow, definition, tx)
    except ShapeInvalid as error:  # it had the shape of one when it was saved: our code has changed since
        findings = error.findings
    views = [FindingView.of(finding) for finding in findings]
    publishable = all(finding.severity != "error" for finding in findings)
    to_take_up = await count_existing(workflow.id, definition.trigger, tx) if definition is not None else None
    return Validation(publishable=publishable, findings=views, existing_appointments=to_take_up)


async def publish_workflow(
    workflow_id: UUID, tx: Tx, cmd: PublishWorkflow | None = None, *, if_version: int | None = None
) -> PublishedView:
    """Put the draft in force; repeating changes nothing. Of two that race on different drafts, the one that saw an older draft is refused.

    Raises ``WorkflowNotFound``, ``DraftHasChanged``, ``WorkflowIsArchived``, ``DefinitionRefused``, ``NotAnchored``.
    """
    cmd = cmd or PublishWorkflow()
    workflow = await existing(workflow_id, tx)
    if if_version is not None and workflow.version != if_version:
        raise DraftHasChanged
    if workflow.status is WorkflowStatus.ARCHIVED:
        raise WorkflowIsArchived
    definition = read(workflow.draft, "")
    refuse(await publish_findings(workflow, definition, tx), "")
    first = not await _was_anchored(workflow, tx)
    if workflow.published_version != workflow.version:
        await _put_in_force(workflow, definition, cmd.note, tx)
    including = await include_existing(workflow.id, definition.trigger, tx, wanted=cmd.include_existing, first=first)
    return PublishedView(**WorkflowView.of(workflow).model_dump(), including=including)


async def _was_anchored(workflow: Workflow, tx: Tx) -> bool:
    """Whether what is in force until now hears of every booking to come before or after it."""
    if workflow.published_version is None:
        return False
    before = await version_of(tx.practice_id, workflow.id, workflow.published_version, tx)
    return bool(before["trigger"].get("kind") == "anchored")


async def _put_in_force(workflow: Workflow, definition: Definition, note: str | None, tx: Tx) -> None:
    exists = await version_exists(workflow.id, workflow.version, tx)
    version = workflow.publish(tx.now, tx.principal.actor, note)
    if not exists:
        tx.session.add(version)
    await tx.session.flush()
    await comes_into_force(workflow.id, workflow.version, started_types(definition.trigger), tx)
    await keep_schedule(workflow.id, definition.trigger, tx)
    tx.emit(
        WorkflowPublished(workflow_id=workflow.id, version=workflow.version, name=workflow.name, trigger=trigger_name(definition.trigger))
    )


async def unpublish_workflow(workflow_id: UUID, tx: Tx) -> WorkflowView:
    """No new runs. Raises ``WorkflowNotFound``, ``NothingPublished``."""
    workflow = await existing(workflow_id, tx)
    version = workflow.unpublish(tx.now)
    await out_of_force(workflow, version, tx)
    return WorkflowView.of(workflow)


async def show_workflow(workflow_id: UUID, tx: Tx) -> WorkflowView:
    """Raises ``WorkflowNotFound``."""
    workflow = await workflow_by_id(workflow_id, tx)
    if workflow is None:
        raise WorkflowNotFound
    return WorkflowView.of(workflow)


async def existing(workflow_id: UUID, tx: Tx, *, if_version: int | None = None) -> Workflow:
    """Locked until the commit. Raises ``WorkflowNotFound``, ``VersionMismatch``."""
    workflow = await workflow_by_id(workflow_id, tx, for_update=True)
    if workflow is None:
        raise WorkflowNotFound
    if if_version is not None and workflow.version != if_version:
        raise VersionMismatch
    return workflow


async def out_of_force(workflow: Workflow, version: int, tx: Tx) -> None:
    """Say that this version is in force no more, and forget its schedule."""
    await tx.session.flush()
    await goes_out_of_force(workflow.id, tx)
    await drop_schedule(workflow.id, tx)
    tx.emit(WorkflowUnpublished(workflow_id=workflow.id, version=version))


def stored(definition: Definition) -> dict[str, Any]:
    return definition.model_dump(mode="json", exclude_none=True)
