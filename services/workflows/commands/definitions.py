"""Write, check, publish and unpublish definitions. Saving refuses what cannot run; publishing freezes a version."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Self
from uuid import UUID

from pydantic import BaseModel

from libs.common.command import Command, Line
from libs.common.errors import NotFound, Refused, VersionMismatch
from libs.common.work import Tx
from libs.contracts.workflows import WorkflowPublished, WorkflowUnpublished
from services.workflows.commands.schedules import drop_schedule, keep_schedule
from services.workflows.model import Workflow
from services.workflows.queries.definitions import catalogue, version_exists, workflow_by_id
from services.workflows.rules.catalogue import catalogue_findings
from services.workflows.rules.compiling import compile_definition
from services.workflows.rules.definition import Definition
from services.workflows.rules.findings import DefinitionInvalid, Finding
from services.workflows.rules.triggers import trigger_name


class WorkflowNotFound(NotFound):
    """No such workflow."""


class DefinitionRefused(Refused):
    """The definition cannot run as it stands."""


class SaveWorkflow(Command):
    name: Line
    definition: Definition


class FindingView(BaseModel):
    code: str
    pointer: str
    message: str
    step: str | None
    column: int | None
    hint: str | None
    severity: str

    @classmethod
    def of(cls, finding: Finding) -> Self:
        return cls.model_validate(finding, from_attributes=True)


class Validation(BaseModel):
    """What is wrong with a draft. It may be published when none of it is an error; ``publishable`` says so."""

    publishable: bool

    findings: list[FindingView]


class WorkflowView(BaseModel):
    """A workflow: the draft, and the version in force if any. Times are UTC."""

    id: UUID
    name: str
    version: int
    published_version: int | None
    definition: dict[str, Any]
    created_by: str
    created_at: datetime
    updated_at: datetime

    @classmethod
    def of(cls, workflow: Workflow) -> Self:
        return cls(
            id=workflow.id, name=workflow.name, version=workflow.version, published_version=workflow.published_version,
            definition=workflow.draft, created_by=workflow.created_by, created_at=workflow.created_at, updated_at=workflow.updated_at,
        )  # fmt: skip


async def create_workflow(cmd: SaveWorkflow, tx: Tx) -> WorkflowView:
    """Raises ``DefinitionRefused`` when an expression does not compile or the trigger is unknown."""
    _refuse(_compile_findings(cmd.definition), "/definition")
    workflow = Workflow(
        practice_id=tx.practice_id, id=tx.new_id(), name=cmd.name, draft=_stored(cmd.definition), version=1, published_version=None,
        created_by=tx.principal.actor, created_at=tx.now, updated_at=tx.now,
    )  # fmt: skip
    tx.session.add(workflow)
    return WorkflowView.of(workflow)


async def edit_workflow(workflow_id: UUID, cmd: SaveWorkflow, tx: Tx, *, if_version: int | None = None) -> WorkflowView:
    """A new draft; what is published stays in force. Raises ``WorkflowNotFound``, ``VersionMismatch``, ``DefinitionRefused``."""
    _refuse(_compile_findings(cmd.definition), "/definition")
    workflow = await _existing(workflow_id, tx)
    if if_version is not None and workflow.version != if_version:
        raise VersionMismatch
    workflow.edit(cmd.name, _stored(cmd.definition), tx.now)
    return WorkflowView.of(workflow)


async def validate_workflow(workflow_id: UUID, tx: Tx) -> Validation:
    """Everything that would stop the draft from being published. Raises ``WorkflowNotFound``."""
    workflow = await _existing(workflow_id, tx)
    findings = await _findings(Definition.model_validate(workflow.draft), tx)
    views = [FindingView.of(finding) for finding in findings]
    return Validation(publishable=all(finding.severity != "error" for finding in findings), findings=views)


async def publish_workflow(workflow_id: UUID, tx: Tx) -> WorkflowView:
    """Put the draft in force; repeating changes nothing. Raises ``WorkflowNotFound``, ``DefinitionRefused``."""
    workflow = await _existing(workflow_id, tx)
    definition = Definition.model_validate(workflow.draft)
    _refuse(await _findings(definition, tx), "")
    if workflow.published_version == workflow.version:
        return WorkflowView.of(workflow)
    exists = await version_exists(workflow.id, workflow.version, tx)
    version = workflow.publish(tx.now, tx.principal.actor)
    if not exists:
        tx.session.add(version)
    await tx.session.flush()
    await _next_revision(tx)
    await keep_schedule(workflow.id, definition.trigger, tx)
    tx.emit(
        WorkflowPublished(workflow_id=workflow.id, version=workflow.version, name=workflow.name, trigger=trigger_name(definition.trigger))
    )
    return WorkflowView.of(workflow)


async def unpublish_workflow(workflow_id: UUID, tx: Tx) -> WorkflowView:
    """No new runs. Raises ``WorkflowNotFound``, ``NothingPublished``."""
    workflow = await _existing(workflow_id, tx)
    version = workflow.unpublish(tx.now)
    await tx.session.flush()
    await _next_revision(tx)
    await drop_schedule(workflow.id, tx)
    tx.emit(WorkflowUnpublished(workflow_id=workflow.id, version=version))
    return WorkflowView.of(workflow)


async def show_workflow(workflow_id: UUID, tx: Tx) -> WorkflowView:
    """Raises ``WorkflowNotFound``."""
    workflow = await workflow_by_id(workflow_id, tx)
    if workflow is None:
        raise WorkflowNotFound
    return WorkflowView.of(workflow)


async def _existing(workflow_id: UUID, tx: Tx) -> Workflow:
    workflow = await workflow_by_id(workflow_id, tx, for_update=True)
    if workflow is None:
        raise WorkflowNotFound
    return workflow


async def _next_revision(tx: Tx) -> None:
    """Tells every process that its compiled workflows of this practice are old."""
    await tx.execute(
        "INSERT INTO revision VALUES ($1, 1) ON CONFLICT (practice_id) DO UPDATE SET number = revision.number + 1", tx.practice_id
    )


def _stored(definition: Definition) -> dict[str, Any]:
    return definition.model_dump(mode="json", exclude_none=True)


def _refuse(findings: list[Finding], prefix: str) -> None:
    """Warnings pass; they are shown by ``validate_workflow``."""
    errors = [finding for finding in findings if finding.severity == "error"]
    if errors:
        views = [FindingView.of(finding).model_dump(exclude_none=True) for finding in errors]
        raise DefinitionRefused(pointer=prefix + errors[0].pointer, findings=views)


def _compile_findings(definition: Definition) -> list[Finding]:
    try:
        return list(compile_definition(definition).warnings)
    except DefinitionInvalid as error:
        return error.findings


async def _findings(definition: Definition, tx: Tx) -> list[Finding]:
    """What compiling finds, and what the action catalogue says about each step."""
    return _compile_findings(definition) + catalogue_findings(definition, await catalogue(tx))
