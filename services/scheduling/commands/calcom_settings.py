"""What a practice shares with Cal.com: the secret of its webhooks and an API key, sealed and never shown; and what it books there.

The secret is replaceable without a gap.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Annotated

from pydantic import BaseModel, Field, SecretStr

from libs.common.command import Command
from libs.common.errors import Refused
from libs.common.secrets import SecretBox
from libs.common.work import Tx
from services.scheduling.commands.keys import Key
from services.scheduling.queries import calcom_settings

PURPOSE = "calcom webhook secret"
API_PURPOSE = "calcom api key"
OVERLAP = timedelta(hours=24)
"""So long the secret before stays valid: Cal.com's side is changed by hand, later."""

_STORE = """
INSERT INTO calcom_settings AS kept (practice_id, webhook_secret, updated_at) VALUES ($1, $2, $3)
ON CONFLICT (practice_id) DO UPDATE SET previous_secret = kept.webhook_secret, previous_until = $4,
                                        webhook_secret = excluded.webhook_secret, updated_at = excluded.updated_at
"""
_STORE_API_KEY = "UPDATE calcom_settings SET api_key = $2, updated_at = $3 WHERE practice_id = $1"
_STORE_EVENT_TYPE = "UPDATE calcom_settings SET event_type_id = $2, updated_at = $3 WHERE practice_id = $1"

EventTypeId = Annotated[int, Field(ge=1, lt=2**31)]


class WebhookSecretMissing(Refused):
    """The first time, Cal.com is configured with the secret of its webhooks."""


class ConfigureCalcom(Command):
    """What is left out stays as it is; a null takes the API key or the event type away."""

    webhook_secret: Annotated[SecretStr, Field(min_length=16, max_length=200)] | None = None
    api_key: Annotated[Key | None, Field(description="With it workflows book and cancel at Cal.com.")] = None
    event_type_id: Annotated[EventTypeId | None, Field(description="What workflows book unless a step names another event type.")] = None


class CalcomSettings(BaseModel):
    """What is configured; never a secret. ``webhook_path`` is where Cal.com is to send its notices."""

    configured: bool
    webhook_path: str
    can_book: bool = Field(default=False, description="Whether there is an API key to book with.")
    event_type_id: int | None = None
    updated_at: datetime | None = None


async def configure_calcom(cmd: ConfigureCalcom, box: SecretBox, tx: Tx) -> CalcomSettings:
    """From the commit on notices signed with a new secret are taken, and for a day those signed with the old one.

    Raises ``WebhookSecretMissing``.
    """
    if cmd.webhook_secret is not None:
        sealed = box.seal(tx.practice_id, PURPOSE, cmd.webhook_secret.get_secret_value())
        await tx.execute(_STORE, tx.practice_id, sealed, tx.now, tx.now + OVERLAP)
    elif await calcom_settings(tx) is None:
        raise WebhookSecretMissing(pointer="/webhook_secret")
    if "api_key" in cmd.model_fields_set:
        api_key = box.seal(tx.practice_id, API_PURPOSE, cmd.api_key.get_secret_value()) if cmd.api_key else None
        await tx.execute(_STORE_API_KEY, tx.practice_id, api_key, tx.now)
    if "event_type_id" in cmd.model_fields_set:
        await tx.execute(_STORE_EVENT_TYPE, tx.practice_id, cmd.event_type_id, tx.now)
    return await show_calcom(tx)


async def show_calcom(tx: Tx) -> CalcomSettings:
    found = await calcom_settings(tx)
    path = f"/webhooks/calcom/{tx.practice_id}"
    if found is None:
        return CalcomSettings(configured=False, webhook_path=path)
    return CalcomSettings(
        configured=True, webhook_path=path, can_book=found["api_key"] is not None, event_type_id=found["event_type_id"],
        updated_at=found["updated_at"],
    )  # fmt: skip


async def valid_secrets(box: SecretBox, tx: Tx) -> list[str]:
    """The secrets that count now; none for a practice without Cal.com, known or not."""
    found = await calcom_settings(tx)
    if found is None:
        return []
    sealed = [found["webhook_secret"]]
    if found["previous_secret"] is not None and found["previous_until"] > tx.now:
        sealed.append(found["previous_secret"])
    return [box.open(tx.practice_id, PURPOSE, secret) for secret in sealed]
