"""A practice's account at Retell: keys kept sealed and never shown, the number calls come from, the agent that speaks."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Annotated

from pydantic import AfterValidator, BaseModel, Field, StringConstraints

from libs.common.command import Command
from libs.common.secrets import SecretBox
from libs.common.work import Tx
from services.scheduling.commands.keys import Key
from services.scheduling.queries import retell_settings
from services.scheduling.rules.attendees import normal_phone

API_PURPOSE = "retell api key"
WEBHOOK_PURPOSE = "retell webhook key"
OVERLAP = timedelta(hours=24)
"""So long the webhook key before stays valid: Retell's side is changed by hand, later."""

_STORE = """
INSERT INTO retell_settings AS kept (practice_id, api_key, webhook_key, from_number, agent_id, updated_at) VALUES ($1, $2, $3, $4, $5, $6)
ON CONFLICT (practice_id) DO UPDATE SET api_key = excluded.api_key, previous_webhook_key = kept.webhook_key, previous_until = $7,
  webhook_key = excluded.webhook_key, from_number = excluded.from_number, agent_id = excluded.agent_id, updated_at = excluded.updated_at
"""


def _number(text: str) -> str:
    found = normal_phone(text)
    if found is None:
        message = "a phone number is written with its country code, like +12025550123"
        raise ValueError(message)
    return found


Number = Annotated[str, AfterValidator(_number)]
AgentId = Annotated[str, StringConstraints(min_length=1, max_length=100, pattern=r"^[A-Za-z0-9_-]+$")]


class ConfigureRetell(Command):
    """``webhook_key`` is the API key with the webhook badge in Retell's dashboard; left out when ``api_key`` carries it."""

    api_key: Key
    webhook_key: Key | None = None
    from_number: Number
    agent_id: Annotated[AgentId, Field(description="The agent that speaks unless a workflow names another.")]


class RetellSettings(BaseModel):
    """What is configured; never a key. ``webhook_path`` is where Retell is to send its webhooks."""

    configured: bool
    webhook_path: str
    from_number: str | None = None
    agent_id: str | None = None
    updated_at: datetime | None = None


async def configure_retell(cmd: ConfigureRetell, box: SecretBox, tx: Tx) -> RetellSettings:
    """From the commit on webhooks signed with the new key are taken, and for a day those signed with the old one."""
    api_key = cmd.api_key.get_secret_value()
    webhook_key = (cmd.webhook_key or cmd.api_key).get_secret_value()
    await tx.execute(
        _STORE, tx.practice_id, box.seal(tx.practice_id, API_PURPOSE, api_key), box.seal(tx.practice_id, WEBHOOK_PURPOSE, webhook_key),
        cmd.from_number, cmd.agent_id, tx.now, tx.now + OVERLAP,
    )  # fmt: skip
    return await show_retell(tx)


async def show_retell(tx: Tx) -> RetellSettings:
    found = await retell_settings(tx)
    told = {name: found[name] for name in ("from_number", "agent_id", "updated_at")} if found is not None else {}
    return RetellSettings(configured=found is not None, webhook_path=f"/webhooks/retell/{tx.practice_id}", **told)


async def valid_webhook_keys(box: SecretBox, tx: Tx) -> list[str]:
    """The keys that count now; none for a practice without Retell, known or not."""
    found = await retell_settings(tx)
    if found is None:
        return []
    sealed = [found["webhook_key"]]
    if found["previous_webhook_key"] is not None and found["previous_until"] > tx.now:
        sealed.append(found["previous_webhook_key"])
    return [box.open(tx.practice_id, WEBHOOK_PURPOSE, key) for key in sealed]
