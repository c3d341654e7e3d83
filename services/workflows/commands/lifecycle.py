"""The life of a workflow beside its draft: copy it, put it away, take it out, go back to what was published once."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID

from pydantic import BaseModel, Field

from libs.common.command import Command, Line
from libs.common.errors import NotFound
from libs.common.work import Tx
from libs.contracts.workflows import WorkflowArchived, WorkflowDuplicated, WorkflowRestored, WorkflowReverted
from services.workflows.commands.checks import compile_findings, read, refuse
from services.workflows.commands.definitions import WorkflowNotFound, WorkflowView, existing, out_of_force, stored
from services.workflows.model import PublishedVersion, Workflow
from services.workflows.queries.definitions import published_version, versions, workflow_by_id
from services.workflows.rules.definitions.differences import Difference, differences

DRAFT = "draft"
_COPY = " (copy)"


class VersionNotFound(NotFound):
    """The workflow has no such version."""


class DuplicateWorkflow(Command):
    """Without a name it is called a copy."""

    name: Line | None = None


class RevertWorkflow(Command):
    version: int = Field(ge=1, le=2**31 - 1)


class VersionView(BaseModel):
    """A publication. ``in_force``: new runs take this version. Times are UTC."""

    version: int
    name: str
    in_force: bool
    note: str | None
    published_by: str
    published_at: datetime


class VersionDetail(VersionView):
    definition: dict[str, Any]


class DifferenceView(BaseModel):
    """``pointer`` into the later side, or into the earlier one for what is gone. Steps are the same when their ids are."""

    pointer: str
    change: str
    step: str | None
    before: Any
    after: Any


class Comparison(BaseModel):
    changes: list[DifferenceView]


async def duplicate_workflow(workflow_id: UUID, cmd: DuplicateWorkflow, tx: Tx) -> WorkflowView:
    """A new draft with the same definition. Raises ``WorkflowNotFound``."""
    source = await _known(workflow_id, tx)
    name = cmd.name or source.name[: 200 - len(_COPY)] + _COPY
    copy = Workflow.new(tx.practice_id, tx.new_id(), name, source.draft, tx.principal.actor, tx.now)
    tx.session.add(copy)
    tx.emit(WorkflowDuplicated(workflow_id=copy.id, source_id=source.id, name=copy.name))
    return WorkflowView.of(copy)


async def archive_workflow(workflow_id: UUID, tx: Tx, *, if_version: int | None = None) -> WorkflowView:
    """Starts nothing any more; runs in flight go on. Raises ``WorkflowNotFound``, ``VersionMismatch``, ``WorkflowIsArchived``."""
    workflow = await existing(workflow_id, tx, if_version=if_version)
    version = workflow.archive(tx.now)
    if version is not None:
        await out_of_force(workflow, version, tx)
    tx.emit(WorkflowArchived(workflow_id=workflow.id, name=workflow.name))
    return WorkflowView.of(workflow)


async def restore_workflow(workflow_id: UUID, tx: Tx) -> WorkflowView:
    """A draft again, not published. Raises ``WorkflowNotFound``, ``WorkflowNotArchived``."""
    workflow = await existing(workflow_id, tx)
    workflow.restore(tx.now)
    tx.emit(WorkflowRestored(workflow_id=workflow.id, name=workflow.name))
    return WorkflowView.of(workflow)


async def revert_workflow(workflow_id: UUID, cmd: RevertWorkflow, tx: Tx, *, if_version: int | None = None) -> WorkflowView:
    """The draft becomes what was published as that version; what is in force stays.

    Raises ``WorkflowNotFound``, ``VersionNotFound``, ``VersionMismatch``, ``WorkflowIsArchived``, ``DefinitionRefused``.
    """
    workflow = await existing(workflow_id, tx, if_version=if_version)
    version = await _version(workflow.id, cmd.version, tx)
    definition = read(version.definition)
    refuse(compile_findings(definition))
    workflow.edit(workflow.name, stored(definition), tx.now)
    tx.emit(WorkflowReverted(workflow_id=workflow.id, version=cmd.version, draft=workflow.version))
    return WorkflowView.of(workflow)


async def history(workflow_id: UUID, tx: Tx, *, before: int | None, limit: int) -> list[VersionView]:
    """Newest first, one more than ``limit`` when there is more. Raises ``WorkflowNotFound``."""
    workflow = await _known(workflow_id, tx)
    return [VersionView(**_seen(workflow, version)) for version in await versions(workflow_id, tx, before=before, limit=limit)]


async def show_version(workflow_id: UUID, number: int, tx: Tx) -> VersionDetail:
    """Raises ``WorkflowNotFound``, ``VersionNotFound``."""
    workflow = await _known(workflow_id, tx)
    version = await _version(workflow_id, number, tx)
    return VersionDetail(**_seen(workflow, version), definition=version.definition)


async def compare(workflow_id: UUID, earlier: str | None, later: str, tx: Tx) -> Comparison:
    """Each side ``draft`` or the number of a version; the earlier one is what is in force unless said otherwise.

    Raises ``WorkflowNotFound``, ``VersionNotFound``.
    """
    workflow = await _known(workflow_id, tx)
    first = earlier or str(workflow.published_version or DRAFT)
    sides = [workflow.draft if side == DRAFT else (await _version(workflow_id, int(side), tx)).definition for side in (first, later)]
    return Comparison(changes=[_shown(one) for one in differences(*sides)])


def _shown(one: Difference) -> DifferenceView:
    return DifferenceView(pointer=one.pointer, change=one.change, step=one.step, before=one.before, after=one.after)


def _seen(workflow: Workflow, version: PublishedVersion) -> dict[str, Any]:
    return {
        "version": version.version, "name": version.name, "in_force": workflow.published_version == version.version, "note": version.note,
        "published_by": version.published_by, "published_at": version.published_at,
    }  # fmt: skip


async def _known(workflow_id: UUID, tx: Tx) -> Workflow:
    workflow = await workflow_by_id(workflow_id, tx)
    if workflow is None:
        raise WorkflowNotFound
    return workflow


async def _version(workflow_id: UUID, number: int, tx: Tx) -> PublishedVersion:
    version = await published_version(workflow_id, number, tx)
    if version is None:
        raise VersionNotFound
    return version
