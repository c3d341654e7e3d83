"""The secret a practice shares with Cal.com: kept sealed, never shown, replaceable without a gap."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Annotated

from pydantic import BaseModel, Field, SecretStr

from libs.common.command import Command
from libs.common.secrets import SecretBox
from libs.common.work import Tx
from services.scheduling.queries import calcom_secrets

PURPOSE = "calcom webhook secret"
OVERLAP = timedelta(hours=24)
"""So long the secret before stays valid: Cal.com's side is changed by hand, later."""

_STORE = """
INSERT INTO calcom_settings AS kept (practice_id, webhook_secret, updated_at) VALUES ($1, $2, $3)
ON CONFLICT (practice_id) DO UPDATE SET previous_secret = kept.webhook_secret, previous_until = $4,
                                        webhook_secret = excluded.webhook_secret, updated_at = excluded.updated_at
"""


class ConfigureCalcom(Command):
    webhook_secret: Annotated[SecretStr, Field(min_length=16, max_length=200)]


class CalcomSettings(BaseModel):
    """What is configured; never the secret. ``webhook_path`` is where Cal.com is to send its notices."""

    configured: bool
    webhook_path: str
    updated_at: datetime | None = None


async def configure_calcom(cmd: ConfigureCalcom, box: SecretBox, tx: Tx) -> CalcomSettings:
    """From the commit on notices signed with the new secret are taken, and for a day those signed with the old one."""
    sealed = box.seal(tx.practice_id, PURPOSE, cmd.webhook_secret.get_secret_value())
    await tx.execute(_STORE, tx.practice_id, sealed, tx.now, tx.now + OVERLAP)
    return await show_calcom(tx)


async def show_calcom(tx: Tx) -> CalcomSettings:
    found = await calcom_secrets(tx)
    return CalcomSettings(
        configured=found is not None,
        webhook_path=f"/webhooks/calcom/{tx.practice_id}",
        updated_at=found["updated_at"] if found else None,
    )


async def valid_secrets(box: SecretBox, tx: Tx) -> list[str]:
    """The secrets that count now; none for a practice without Cal.com, known or not."""
    found = await calcom_secrets(tx)
    if found is None:
        return []
    sealed = [found["webhook_secret"]]
    if found["previous_secret"] is not None and found["previous_until"] > tx.now:
        sealed.append(found["previous_secret"])
    return [box.open(tx.practice_id, PURPOSE, secret) for secret in sealed]
