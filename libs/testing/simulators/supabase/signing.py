"""Standard Webhooks: how the server signs what it sends to others."""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Iterable
from datetime import datetime
from uuid import uuid4


def headers(body: bytes, secrets: Iterable[str], now: datetime, message_id: str | None = None) -> dict[str, str]:
    """Several secrets make several signatures, joined by comma and blank: not as the standard says, but as the server does."""
    name = message_id or str(uuid4())
    timestamp = str(int(now.timestamp()))
    signed = f"{name}.{timestamp}.".encode() + body
    signatures = [f"v1,{base64.b64encode(hmac.new(_key(secret), signed, hashlib.sha256).digest()).decode()}" for secret in secrets]
    return {"webhook-id": name, "webhook-timestamp": timestamp, "webhook-signature": ", ".join(signatures)}


def _key(secret: str) -> bytes:
    return base64.b64decode(secret.removeprefix("v1,").removeprefix("whsec_") + "==")
