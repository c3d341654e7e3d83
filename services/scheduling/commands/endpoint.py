"""The one address a practice has its events sent to, and the secret they are signed with."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Annotated
from uuid import UUID

from pydantic import AfterValidator, BaseModel, Field, StringConstraints

from libs.common.command import Command
from libs.common.errors import NotFound
from libs.common.secrets import SecretBox
from libs.common.work import Tx
from services.scheduling.queries import endpoint
from services.scheduling.rules.outbound import EVENT_TYPES
from services.scheduling.rules.signatures import SECRET_BYTES, secret_text

PURPOSE = "outbound webhook secret"
OVERLAP = timedelta(hours=24)
"""So long deliveries are signed with the secret before as well: the receiver changes its side meanwhile."""

UrlCheck = Callable[[str], None]
"""Raises ``WebhookUrlRefused`` for an address webhooks may not go to."""

_CREATE = """
INSERT INTO webhook_endpoint (practice_id, url, state, secret, event_types, created_at, updated_at)
VALUES ($1, $2, 'active', $3, $4, $5, $5) ON CONFLICT DO NOTHING RETURNING true
"""
_CHANGE = """
UPDATE webhook_endpoint SET url = $2, state = 'active', event_types = $3, updated_at = $4 WHERE practice_id = $1
"""
_ROTATE = "UPDATE webhook_endpoint SET previous_secret = secret, previous_until = $3, secret = $2 WHERE practice_id = $1"
_ABANDON = """
UPDATE webhook_delivery SET state = 'abandoned', next_at = NULL, finished_at = $2 WHERE practice_id = $1 AND state = 'pending'
"""


class EndpointNotFound(NotFound):
    """The practice has no webhook endpoint."""


def _known(names: list[str]) -> list[str]:
    if any(name not in EVENT_TYPES for name in names):
        message = "known event types: " + ", ".join(sorted(EVENT_TYPES))
        raise ValueError(message)
    return sorted(set(names))


class ConfigureEndpoint(Command):
    """Making it shows a secret once; changing it keeps the secret unless ``rotate_secret`` asks for a new one."""

    url: Annotated[str, StringConstraints(min_length=1, max_length=2000)]
    event_types: Annotated[list[str], AfterValidator(_known), Field(min_length=1, max_length=50)]
    rotate_secret: bool = False


class EndpointView(BaseModel):
    """The endpoint; ``secret`` is shown once, when it is made. ``state``: active, or gone after the receiver answered 410."""

    url: str
    state: str
    event_types: list[str]
    secret: str | None = None
    created_at: datetime
    updated_at: datetime


async def configure_endpoint(cmd: ConfigureEndpoint, check_url: UrlCheck, box: SecretBox, tx: Tx) -> EndpointView:
    """Make or change the endpoint. Raises ``WebhookUrlRefused``."""
    check_url(cmd.url)
    secret = secret_text(secrets.token_bytes(SECRET_BYTES))
    sealed = box.seal(tx.practice_id, PURPOSE, secret)
    created = await tx.value(_CREATE, tx.practice_id, cmd.url, sealed, cmd.event_types, tx.now)
    if created is None:
        await tx.execute(_CHANGE, tx.practice_id, cmd.url, cmd.event_types, tx.now)
        if cmd.rotate_secret:
            await tx.execute(_ROTATE, tx.practice_id, sealed, tx.now + OVERLAP)
    view = await show_endpoint(tx)
    return view.model_copy(update={"secret": secret}) if created or cmd.rotate_secret else view


async def show_endpoint(tx: Tx) -> EndpointView:
    """Raises ``EndpointNotFound``."""
    row = await endpoint(tx)
    if row is None:
        raise EndpointNotFound
    return EndpointView(
        url=row["url"], state=row["state"], event_types=row["event_types"], created_at=row["created_at"], updated_at=row["updated_at"]
    )


async def remove_endpoint(tx: Tx) -> None:
    """Nothing is sent any more; what was pending is abandoned. Raises ``EndpointNotFound``."""
    if await tx.execute("DELETE FROM webhook_endpoint WHERE practice_id = $1", tx.practice_id) == "DELETE 0":
        raise EndpointNotFound
    await abandon_pending(tx.practice_id, tx)


async def close_endpoint(practice_id: UUID, tx: Tx) -> None:
    """The receiver wants nothing more: stop until somebody configures the endpoint again."""
    await tx.execute("UPDATE webhook_endpoint SET state = 'gone', updated_at = $2 WHERE practice_id = $1", practice_id, tx.now)
    await abandon_pending(practice_id, tx)


async def abandon_pending(practice_id: UUID, tx: Tx) -> None:
    await tx.execute(_ABANDON, practice_id, tx.now)
    await tx.execute("DELETE FROM webhook_due WHERE practice_id = $1", practice_id)
