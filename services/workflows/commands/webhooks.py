"""Calls from outside that start a workflow: its own address, its own secret, each call once."""

from __future__ import annotations

import secrets as randomness
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Annotated, Any
from uuid import UUID

from pydantic import BaseModel, Field

from libs.common.command import Command
from libs.common.errors import Held, NotFound, Refused
from libs.common.secrets import SealBroken, SecretBox
from libs.common.work import Tx
from libs.contracts.workflows import WebhookReceived
from services.workflows.commands.definitions import WorkflowNotFound
from services.workflows.commands.happening import Happening
from services.workflows.commands.manual import start_requested
from services.workflows.commands.published import PublishedWorkflows
from services.workflows.commands.serial import one_at_a_time
from services.workflows.queries.operations import pause_of, suspended, webhook_secret
from services.workflows.queries.world import patients
from services.workflows.rules.definitions.definition import WebhookTrigger
from services.workflows.rules.signatures import SECRET_BYTES, SignatureInvalid, check_signature, secret_text

PURPOSE = "workflow webhook secret"
MAX_BODY = 65_536
_NOBODYS = secret_text(randomness.token_bytes(SECRET_BYTES))
"""What nobody signs with: an address that does not exist takes as long as a wrong signature, and answers the same."""

_KEEP = """
INSERT INTO webhook_secret AS kept (practice_id, workflow_id, secret, created_by, created_at) VALUES ($1, $2, $3, $4, $5)
ON CONFLICT (practice_id, workflow_id) DO UPDATE SET previous = kept.secret, previous_until = $6, secret = excluded.secret,
  created_by = excluded.created_by, created_at = excluded.created_at
"""
_REMOVE = "DELETE FROM webhook_secret WHERE practice_id = $1 AND workflow_id = $2"


class WebhookUnknown(NotFound):
    """There is nothing at this address for you."""


class WebhookHeld(Held):
    """The practice is suspended; call again later."""


class BodyRefused(Refused):
    """The body is a JSON object of at most 64 KiB."""


class PatientOfBodyUnknown(Refused):
    """patient_id is no patient of this practice."""


class RotateSecret(Command):
    """How long the secret before still counts."""

    overlap_hours: Annotated[int, Field(ge=0, le=168)] = 24


class WebhookAddress(BaseModel):
    """Where a workflow is called. The ``secret`` (Standard Webhooks) is shown once, when it is made. Times are UTC."""

    path: str
    has_secret: bool
    created_at: datetime | None
    previous_until: datetime | None
    secret: str | None = None


async def rotate_secret(workflow_id: UUID, cmd: RotateSecret, box: SecretBox, tx: Tx) -> WebhookAddress:
    """A new secret; the one before counts a while longer. Raises ``WorkflowNotFound``."""
    await _existing(workflow_id, tx)
    secret = secret_text(randomness.token_bytes(SECRET_BYTES))
    sealed = box.seal(tx.practice_id, PURPOSE, secret)
    until = tx.now + timedelta(hours=cmd.overlap_hours)
    await tx.execute(_KEEP, tx.practice_id, workflow_id, sealed, tx.principal.actor, tx.now, until)
    shown = await show_address(workflow_id, tx)
    return shown.model_copy(update={"secret": secret})


async def show_address(workflow_id: UUID, tx: Tx) -> WebhookAddress:
    """Raises ``WorkflowNotFound``."""
    await _existing(workflow_id, tx)
    row = await webhook_secret(tx.practice_id, workflow_id, tx)
    return WebhookAddress(
        path=f"/webhooks/workflows/{tx.practice_id}/{workflow_id}", has_secret=row is not None,
        created_at=row["created_at"] if row else None, previous_until=row["previous_until"] if row else None,
    )  # fmt: skip


async def remove_secret(workflow_id: UUID, tx: Tx) -> None:
    """Nobody may call it any more. Repeating changes nothing. Raises ``WorkflowNotFound``."""
    await _existing(workflow_id, tx)
    await tx.execute(_REMOVE, tx.practice_id, workflow_id)


async def verified(workflow_id: UUID, headers: Mapping[str, str], raw: bytes, box: SecretBox, tx: Tx) -> str:
    """The call's id. Raises ``WebhookUnknown`` whatever is wrong: no such workflow, no secret, no valid signature."""
    row = await webhook_secret(tx.practice_id, workflow_id, tx)
    try:
        return check_signature(headers, raw, _opened(row, box, tx) or [_NOBODYS], tx.now.timestamp())
    except SignatureInvalid:
        raise WebhookUnknown from None


async def take_webhook(workflow_id: UUID, webhook_id: str, body: Any, published: PublishedWorkflows, tx: Tx) -> None:
    """Start the run of a verified call, once per id.

    Raises ``WebhookUnknown``, ``WebhookHeld``, ``BodyRefused``, ``PatientOfBodyUnknown``.
    """
    await one_at_a_time([tx.practice_id], tx)
    workflow = await published.workflow(tx.practice_id, workflow_id, tx)
    if workflow is None or workflow.compiled is None or not isinstance(workflow.compiled.definition.trigger, WebhookTrigger):
        raise WebhookUnknown
    if await suspended(tx.practice_id, tx):
        raise WebhookHeld(retry_after_seconds=300)
    if not isinstance(body, dict):
        raise BodyRefused
    patient_id = await _patient(body, tx)
    if not await tx.once(f"workflow webhook {workflow_id}", webhook_id):
        return
    received = WebhookReceived(workflow_id=workflow_id, body=body, patient_id=patient_id)
    await start_requested(Happening.own(tx.practice_id, tx.new_id(), received, tx.now, tx.cause), workflow, published, tx)


def _opened(row: Mapping[str, Any] | None, box: SecretBox, tx: Tx) -> list[str]:
    """The secrets that count now. One that cannot be opened counts no more."""
    if row is None:
        return []
    sealed = [row["secret"]]
    if row["previous"] is not None and row["previous_until"] is not None and tx.now < row["previous_until"]:
        sealed.append(row["previous"])
    try:
        return [box.open(tx.practice_id, PURPOSE, one) for one in sealed]
    except SealBroken:
        return []


async def _patient(body: dict[str, Any], tx: Tx) -> UUID | None:
    """The patient the body names as ``patient_id``, if it names one."""
    named = body.get("patient_id")
    if named is None:
        return None
    try:
        patient_id = UUID(named) if isinstance(named, str) else None
    except ValueError:
        patient_id = None
    if patient_id is None or not await patients([(tx.practice_id, patient_id)], tx):
        raise PatientOfBodyUnknown(pointer="/patient_id")
    return patient_id


async def _existing(workflow_id: UUID, tx: Tx) -> None:
    if await pause_of(workflow_id, tx) is None:
        raise WorkflowNotFound
