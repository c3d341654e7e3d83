"""Over HTTP: the schema of definitions, and workflows as files."""

from __future__ import annotations

from uuid import UUID

from fastapi import Response

from libs.common.auth import Permission
from libs.common.http import DoorDep, Routes, needs
from services.workflows.adapters.trial import Trial
from services.workflows.api.definitions import etag
from services.workflows.commands.checks import refuse
from services.workflows.commands.definitions import WorkflowView
from services.workflows.commands.exchange import ImportWorkflow, export_workflow, import_workflow, read_file
from services.workflows.rules.definitions.schema import schema_text

SCHEMA, YAML = "application/schema+json", "application/yaml"
_SCHEMA = {"description": "JSON Schema, draft 2020-12.", "content": {SCHEMA: {"schema": {"type": "object"}}}}
_YAML = {"description": "The draft as YAML.", "content": {YAML: {"schema": {"type": "string"}}}}


def exchange_routes(trial: Trial) -> Routes:
    """Stands before the routes that take an id: ``schema`` is none."""
    router = Routes(prefix="/v1/workflows", tags=["workflows"])
    schema = schema_text()

    @router.get("/schema", response_class=Response, responses={200: _SCHEMA}, **needs(Permission.WORKFLOWS_READ))
    async def show_schema(door: DoorDep) -> Response:
        """The JSON Schema of a definition."""
        async with door.work():
            return Response(schema, media_type=SCHEMA)

    @router.post("/import", status_code=201, response_model=WorkflowView, **needs(Permission.WORKFLOWS_WRITE))
    async def import_(cmd: ImportWorkflow, door: DoorDep) -> Response:
        """Make a draft of a file. Practice admins only; ids of another practice are refused."""
        refuse(await trial.findings(read_file(cmd)[1]))
        async with door.work() as tx:
            view = await import_workflow(cmd, tx)
            return await door.answer(tx, view, status=201, headers=etag(view))

    @router.get("/{workflow_id}/export", response_class=Response, responses={200: _YAML}, **needs(Permission.WORKFLOWS_READ))
    async def export(workflow_id: UUID, door: DoorDep) -> Response:
        """The draft as a file. What looks like a secret is left out."""
        async with door.work() as tx:
            text, version = await export_workflow(workflow_id, tx)
            disposition = f'attachment; filename="workflow-{workflow_id}.yaml"'
            return Response(text, media_type=YAML, headers={"ETag": f'"{version}"', "Content-Disposition": disposition})

    return router
