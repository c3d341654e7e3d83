"""Verify what Supabase Auth signs: Standard Webhooks over ``id.timestamp.body``. Pure.

Several secrets (``v1,whsec_…|v1,whsec_…``) count while one is being replaced; Auth then joins its signatures by ``", "``,
the specification by a blank: both are read.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import re
from collections.abc import Mapping, Sequence

TOLERANCE_SECONDS = 300
MIN_SECRET_BYTES = 24
_SEPARATOR = re.compile(r"[ ]+|,[ ]+")


class SignatureInvalid(ValueError):
    """The signature is missing, malformed, too old, or not by a secret of ours."""


def read_secrets(text: str) -> list[bytes]:
    """The keys of a secrets setting. Raises ``ValueError`` for what is none, or too short to protect anything."""
    found = []
    for part in text.split("|"):
        encoded = part.strip().removeprefix("v1,").removeprefix("whsec_")
        try:
            key = base64.b64decode(encoded, validate=True)
        except binascii.Error:
            key = b""
        if len(key) < MIN_SECRET_BYTES or len(set(key)) < 8:
            message = "a hook secret is v1,whsec_<base64 of at least 24 random bytes>"
            raise ValueError(message)
        found.append(key)
    return found


def check_signature(headers: Mapping[str, str], body: bytes, keys: Sequence[bytes], now: float) -> str:
    """The delivery's id. Raises ``SignatureInvalid``."""
    identifier, timestamp = headers.get("webhook-id", ""), headers.get("webhook-timestamp", "")
    given = headers.get("webhook-signature", "")
    if not 1 <= len(identifier) <= 200 or not timestamp.isascii() or not timestamp.isdecimal() or not 1 <= len(given) <= 2000:
        raise SignatureInvalid
    if len(timestamp) > 12 or abs(now - int(timestamp)) > TOLERANCE_SECONDS:
        raise SignatureInvalid
    signed = f"{identifier}.{timestamp}.".encode() + body
    expected = [base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()) for key in keys]
    for signature in _SEPARATOR.split(given):
        version, _, value = signature.partition(",")
        if version == "v1" and any(hmac.compare_digest(value.encode("latin-1", "replace"), one) for one in expected):
            return identifier
    raise SignatureInvalid
