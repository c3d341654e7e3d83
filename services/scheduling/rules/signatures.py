"""Signatures on webhooks: Standard Webhooks 1 on those we send, Cal.com's HMAC on those we get. Pure.

Standard Webhooks: the signed text is ``id.timestamp.body``, HMAC-SHA256 under the decoded secret, written ``v1,<base64>``;
several signatures (a rotated secret) stand side by side. Cal.com: lower-case hex HMAC-SHA256 of the raw body, the secret
taken as UTF-8 text.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from collections.abc import Iterable, Sequence
from datetime import datetime

PREFIX = "whsec_"
SECRET_BYTES = 32
_SHORTEST, _LONGEST = 24, 64


def secret_text(random: bytes) -> str:
    """A secret as integrators get it. ``random`` has 24 to 64 bytes; raises ``ValueError`` otherwise."""
    if not _SHORTEST <= len(random) <= _LONGEST:
        message = "a webhook secret has 24 to 64 bytes"
        raise ValueError(message)
    return PREFIX + base64.b64encode(random).decode()


def secret_key(secret: str) -> bytes:
    """The key inside a secret, padded or not, with or without prefix. Raises ``ValueError`` for what holds none."""
    text = secret.removeprefix(PREFIX)
    try:
        key = base64.b64decode(text + "=" * (-len(text) % 4), validate=True)
    except binascii.Error:
        key = b""
    if not key:
        message = "this is no webhook secret"
        raise ValueError(message)
    return key


def signed_headers(secrets: Sequence[str], webhook_id: str, at: datetime, body: bytes) -> dict[str, str]:
    """The three headers of one attempt. ``at`` is aware; the id holds no dot."""
    if "." in webhook_id:
        message = "a webhook id holds no dot"
        raise ValueError(message)
    if at.tzinfo is None:
        message = "the time of an attempt is aware"
        raise ValueError(message)
    timestamp = str(int(at.timestamp()))
    signed = f"{webhook_id}.{timestamp}.".encode() + body
    signatures = [base64.b64encode(hmac.new(secret_key(secret), signed, hashlib.sha256).digest()).decode() for secret in secrets]
    return {
        "webhook-id": webhook_id,
        "webhook-timestamp": timestamp,
        "webhook-signature": " ".join(f"v1,{signature}" for signature in signatures),
    }


def calcom_signature_valid(body: bytes, signature: str | None, secrets: Iterable[str]) -> bool:
    """Whether one of the secrets signed these bytes. Takes the same time whichever secret it is, and wherever it differs.

    Without a secret Cal.com sends the text ``no-secret-provided``: that is no signature.
    """
    given = (signature or "").strip().lower().encode("utf-8", "replace")
    valid = False
    for secret in secrets:
        expected = hmac.new(secret.encode(), body, hashlib.sha256).hexdigest().encode()
        valid |= hmac.compare_digest(expected, given)
    return valid
