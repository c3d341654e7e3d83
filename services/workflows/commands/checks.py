"""What is said against a definition: when it is read, when it is saved, when it is to be published. One form for all of it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Annotated, Any, Self

from pydantic import BaseModel, ValidationError, WrapValidator

from libs.common.errors import Refused
from libs.common.work import Tx
from services.workflows.commands.filters import filter_findings
from services.workflows.model import Workflow
from services.workflows.queries.definitions import catalogue, published, workflow_ids
from services.workflows.queries.world import practices
from services.workflows.rules.definitions.analysis import Neighbour, Surrounding, analysed
from services.workflows.rules.definitions.calendar import calendar_of
from services.workflows.rules.definitions.catalogue import catalogue_findings
from services.workflows.rules.definitions.compiling import compile_definition
from services.workflows.rules.definitions.definition import Definition
from services.workflows.rules.definitions.output_checks import output_findings
from services.workflows.rules.definitions.reading import ShapeInvalid, read_definition
from services.workflows.rules.definitions.trigger_checks import trigger_findings
from services.workflows.rules.findings import DefinitionInvalid, Finding


class DefinitionRefused(Refused):
    """The definition cannot run as it stands."""


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
    """What is wrong with a draft. It may be published when none of it is an error; ``publishable`` says so.

    ``existing_appointments``: how many appointments that are booked already publishing it would take up; null for a workflow that
    is not anchored to appointments.
    """

    publishable: bool

    findings: list[FindingView]
    existing_appointments: int | None = None


def refuse(findings: Iterable[Finding], prefix: str = "/definition") -> None:
    """Raises ``DefinitionRefused`` with every error, each at its place. Warnings pass; validation shows them."""
    errors = [FindingView.of(finding).model_dump(exclude_none=True) for finding in findings if finding.severity == "error"]
    if errors:
        raise DefinitionRefused(errors=[error | {"pointer": prefix + error["pointer"]} for error in errors])


def read(written: Any, prefix: str = "/definition") -> Definition:
    """Raises ``DefinitionRefused``."""
    try:
        return read_definition(written)
    except ShapeInvalid as error:
        refuse(error.findings, prefix)
        raise


def _read_field(written: Any, _: Callable[[Any], Any]) -> Definition:
    return read(written)


WrittenDefinition = Annotated[Definition, WrapValidator(_read_field)]
"""A definition in a request body. What has not its shape is refused like what cannot run: one problem document for both."""


def compile_findings(definition: Definition) -> list[Finding]:
    try:
        return list(compile_definition(definition).warnings)
    except DefinitionInvalid as error:
        return error.findings


def _compiled(definition: Definition) -> list[Finding]:
    """With what is read of what started the run. A place that is wrong already is not complained about twice."""
    found = compile_findings(definition)
    wrong = {finding.pointer for finding in found if finding.severity == "error"}
    return found + [finding for finding in trigger_findings(definition) if finding.pointer not in wrong]


async def save_findings(definition: Definition, tx: Tx) -> list[Finding]:
    """What stops a draft from being kept: what does not compile, and what reads of earlier steps, or of what started the run, what is never there."""
    return _compiled(definition) + output_findings(definition, await catalogue(tx))


async def publish_findings(workflow: Workflow, definition: Definition, tx: Tx) -> list[Finding]:
    """What compiling finds, what is read of earlier steps, what the action catalogue says about each step, and what follows from the other workflows."""
    offered = await catalogue(tx)
    calendar = calendar_of((await practices([tx.practice_id], tx))[tx.practice_id])
    around = Surrounding(workflow.id, workflow.name, offered, await _neighbours(workflow, tx), await workflow_ids(tx), calendar, tx.now)
    found = _compiled(definition) + output_findings(definition, offered) + await filter_findings(definition.trigger, tx)
    return found + catalogue_findings(definition, offered) + analysed(definition, around)


async def _neighbours(workflow: Workflow, tx: Tx) -> list[Neighbour]:
    """The other published workflows. One that can no longer be read is nobody's neighbour: it starts nothing either."""
    found: list[Neighbour] = []
    for row in await published([tx.practice_id], tx):
        if row["workflow_id"] == workflow.id:
            continue
        try:
            found.append(Neighbour(row["workflow_id"], row["name"], Definition.model_validate(row["definition"])))
        except ValidationError:
            continue
    return found
