"""A practice's e-mail settings: write-only key, sender, and the key its delivery reports are signed with."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from pydantic import AfterValidator, BaseModel, SecretStr, StringConstraints

from libs.common.command import Command, Line
from libs.common.errors import NotFound
from libs.common.secrets import SecretBox
from libs.common.work import Tx
from services.notifications.queries import settings_of
from services.notifications.rules.mail import possible_api_key, sender_address, verification_key

PURPOSE = "sendgrid api key"


class EmailNotConfigured(NotFound):
    """The practice has not configured e-mail."""


def _api_key(key: SecretStr) -> SecretStr:
    if not possible_api_key(key.get_secret_value()):
        message = "an API key is 10 to 200 printable characters without blanks"
        raise ValueError(message)
    return key


def _webhook_key(text: str) -> str:
    try:
        verification_key(text)
    except ValueError:
        message = "this is not the verification key SendGrid shows for a signed event webhook"
        raise ValueError(message) from None
    return text


class ConfigureEmail(Command):
    """``webhook_key`` is the verification key SendGrid shows for the signed event webhook: base64, one line."""

    api_key: Annotated[SecretStr, AfterValidator(_api_key)]
    sender_email: Annotated[str, AfterValidator(sender_address)]
    sender_name: Line
    webhook_key: Annotated[str, StringConstraints(max_length=400), AfterValidator(_webhook_key)]


class EmailSettings(BaseModel):
    """What is configured; never the key."""

    sender_email: str
    sender_name: str
    webhook_key: str
    webhook_path: str
    updated_at: datetime


async def configure_email(cmd: ConfigureEmail, box: SecretBox, tx: Tx) -> EmailSettings:
    await tx.execute(
        """
        INSERT INTO email_settings (practice_id, api_key, sender_email, sender_name, webhook_key, updated_at) VALUES ($1, $2, $3, $4, $5, $6)
        ON CONFLICT (practice_id) DO UPDATE SET api_key = excluded.api_key, sender_email = excluded.sender_email,
          sender_name = excluded.sender_name, webhook_key = excluded.webhook_key, updated_at = excluded.updated_at
        """,
        tx.practice_id, box.seal(tx.practice_id, PURPOSE, cmd.api_key.get_secret_value()), cmd.sender_email, cmd.sender_name,
        cmd.webhook_key, tx.now,
    )  # fmt: skip
    return await show_email_settings(tx)


async def show_email_settings(tx: Tx) -> EmailSettings:
    """Raises ``EmailNotConfigured``."""
    row = await settings_of(tx)
    if row is None:
        raise EmailNotConfigured
    return EmailSettings(
        sender_email=row["sender_email"], sender_name=row["sender_name"], webhook_key=row["webhook_key"],
        webhook_path=f"/webhooks/sendgrid/{tx.practice_id}", updated_at=row["updated_at"],
    )  # fmt: skip
