"""Workflows as files: one goes out as YAML, one comes in as a new draft."""

from __future__ import annotations

from typing import Annotated
from uuid import UUID

from pydantic import StringConstraints, TypeAdapter, ValidationError

from libs.common.command import Command, Line
from libs.common.work import Tx
from services.workflows.commands.checks import read, refuse, save_findings
from services.workflows.commands.definitions import SaveWorkflow, WorkflowNotFound, WorkflowView, create_workflow
from services.workflows.queries.definitions import workflow_by_id, workflow_ids
from services.workflows.rules.definitions.definition import Definition
from services.workflows.rules.definitions.exchange import FileRefused, exported, parts_of, strangers
from services.workflows.rules.definitions.yaml_text import MAX_CHARACTERS
from services.workflows.rules.findings import Finding

_NAME: TypeAdapter[str] = TypeAdapter(Line)


class ImportWorkflow(Command):
    """A file as the export wrote it, or as somebody wrote it by hand."""

    yaml: Annotated[str, StringConstraints(min_length=1, max_length=MAX_CHARACTERS, strip_whitespace=False)]


async def export_workflow(workflow_id: UUID, tx: Tx) -> tuple[str, int]:
    """The draft as YAML, without secrets, and its version. Raises ``WorkflowNotFound``."""
    workflow = await workflow_by_id(workflow_id, tx)
    if workflow is None:
        raise WorkflowNotFound
    return exported(workflow.name, read(workflow.draft)), workflow.version


async def import_workflow(cmd: ImportWorkflow, tx: Tx) -> WorkflowView:
    """A new draft. Raises ``DefinitionRefused`` with the same findings as saving it, and for ids that name nothing of this practice."""
    name, definition = read_file(cmd)
    refuse([*strangers(definition, await workflow_ids(tx)), *await save_findings(definition, tx)])
    return await create_workflow(SaveWorkflow(name=name, definition=definition), tx)


def read_file(cmd: ImportWorkflow) -> tuple[str, Definition]:
    """The name and the definition in it, as they are written. Raises ``DefinitionRefused``."""
    try:
        name, written = parts_of(cmd.yaml)
        name = _NAME.validate_python(name)
    except FileRefused as error:
        refuse(error.findings, "")
        raise
    except ValidationError:
        refuse([Finding("invalid_name", "/name", "A name is one line of 1 to 200 characters.")], "")
        raise
    return name, read(written)
