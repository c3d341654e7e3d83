"""Signatures on webhooks: Standard Webhooks 1 on those we send, Cal.com's and Retell's HMAC on those we get. Pure.

Standard Webhooks: the signed text is ``id.timestamp.body``, HMAC-SHA256 under the decoded secret, written ``v1,<base64>``;
several signatures (a rotated secret) stand side by side. Cal.com: lower-case hex HMAC-SHA256 of the raw body, the secret
taken as UTF-8 text. Retell: ``v=<milliseconds>,d=<hex>``, HMAC-SHA256 of the raw body followed by the digits of ``v``.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import re
from collections.abc import Iterable, Sequence
from datetime import datetime

PREFIX = "whsec_"
SECRET_BYTES = 32
_SHORTEST, _LONGEST = 24, 64
_RETELL = re.compile(r"v=([0-9]{1,16}),d=([0-9a-f]{64})")
_RETELL_WINDOW_MS = 300_000


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


def retell_signature_valid(body: bytes, signature: str | None, keys: Iterable[str], at: datetime) -> bool:
    """Whether one of the keys signed these bytes, within five minutes of ``at`` (aware) either way."""
    found = _RETELL.fullmatch(signature or "")
    if found is None:
        return False
    digits, given = found.groups()
    fresh = abs(int(at.timestamp() * 1000) - int(digits)) <= _RETELL_WINDOW_MS
    valid = False
    for key in keys:
        expected = hmac.new(key.encode(), body + digits.encode(), hashlib.sha256).hexdigest()
        valid |= hmac.compare_digest(expected, given)
    return valid and fresh
