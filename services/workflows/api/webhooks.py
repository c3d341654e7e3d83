"""Over HTTP: the address at which a workflow is called from outside, and its secret."""

from __future__ import annotations

from uuid import UUID

from fastapi import Request, Response

from libs.common.auth import Permission, Principal
from libs.common.errors import Trouble
from libs.common.http import DoorDep, Routes, WorkDep, needs, public
from libs.common.http.strict_json import strict_json
from libs.common.secrets import SecretBox
from libs.common.telemetry import Cause
from services.workflows.commands.published import PublishedWorkflows
from services.workflows.commands.webhooks import (
    MAX_BODY,
    RotateSecret,
    WebhookAddress,
    remove_secret,
    rotate_secret,
    show_address,
    take_webhook,
    verified,
)


class BodyTooLarge(Trouble):
    """The body is larger than 64 KiB."""

    status = 413


def webhook_routes(box: SecretBox, published: PublishedWorkflows) -> Routes:
    router = Routes(tags=["workflow webhooks"])

    @router.post("/v1/workflows/{workflow_id}/webhook-secret", response_model=WebhookAddress, **needs(Permission.WORKFLOWS_WRITE))
    async def rotate(workflow_id: UUID, cmd: RotateSecret, door: DoorDep) -> Response:
        """Make the secret a workflow is called with, or a new one. Practice admins only; it is shown once.

        The secret before counts a while longer, so that whoever signs can change over.
        """
        async with door.work() as tx:
            view = await rotate_secret(workflow_id, cmd, box, tx)
        # Not through door.answer: an answer kept for its idempotency key would keep the secret readable.
        return Response(view.model_dump_json(), 200, {"Cache-Control": "no-store"}, "application/json")

    @router.get("/v1/workflows/{workflow_id}/webhook-secret", response_model=WebhookAddress, **needs(Permission.WORKFLOWS_READ))
    async def show(workflow_id: UUID, door: DoorDep) -> Response:
        """Where a workflow is called from outside, and whether it has a secret."""
        async with door.work() as tx:
            return await door.answer(tx, await show_address(workflow_id, tx))

    @router.delete("/v1/workflows/{workflow_id}/webhook-secret", status_code=204, **needs(Permission.WORKFLOWS_WRITE))
    async def remove(workflow_id: UUID, door: DoorDep) -> Response:
        """Let nobody call a workflow any more. Practice admins only."""
        async with door.work() as tx:
            await remove_secret(workflow_id, tx)
            return await door.answer(tx, status=204)

    @router.post("/webhooks/workflows/{practice_id}/{workflow_id}", status_code=204, **public("a signature with the workflow's secret"))
    async def called(practice_id: UUID, workflow_id: UUID, request: Request, work: WorkDep) -> Response:
        """Call a workflow from outside, signed as Standard Webhooks says. Answered when its run is durable; the same id starts one run.

        Whatever is wrong with the address or the signature is answered like an address that does not exist.
        """
        raw = await request.body()
        if len(raw) > MAX_BODY:
            raise BodyTooLarge
        async with work(Principal.system("workflow-webhook", practice_id)) as tx:
            tx.cause = Cause(request.state.correlation_id, "", request.state.traceparent, "")
            webhook_id = await verified(workflow_id, request.headers, raw, box, tx)
            await take_webhook(workflow_id, webhook_id, strict_json(raw), published, tx)
        return Response(status_code=204)

    return router
