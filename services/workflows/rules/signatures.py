"""Signatures on inbound webhooks: Standard Webhooks 1, HMAC-SHA256 over ``id.timestamp.body``, written ``v1,<base64>``. Pure."""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Mapping, Sequence

PREFIX = "whsec_"
TOLERANCE_SECONDS = 300
SECRET_BYTES = 32


class SignatureInvalid(ValueError):
    """The signature is missing, malformed, too old, or not by a secret that counts."""


def secret_text(random: bytes) -> str:
    """A secret as those who sign get it."""
    return PREFIX + base64.b64encode(random).decode()


def check_signature(headers: Mapping[str, str], body: bytes, secrets: Sequence[str], now: float) -> str:
    """The webhook's id, the same whenever it is sent again. Takes the same time wherever a signature differs.

    Raises ``SignatureInvalid``.
    """
    identifier, timestamp = headers.get("webhook-id", ""), headers.get("webhook-timestamp", "")
    given = headers.get("webhook-signature", "")
    if not 1 <= len(identifier) <= 200 or not identifier.isascii() or not 1 <= len(given) <= 2000:
        raise SignatureInvalid
    if not timestamp.isascii() or not timestamp.isdecimal() or len(timestamp) > 12 or abs(now - int(timestamp)) > TOLERANCE_SECONDS:
        raise SignatureInvalid
    signed = f"{identifier}.{timestamp}.".encode() + body
    valid = False
    for secret in secrets:
        key = base64.b64decode(secret.removeprefix(PREFIX))
        expected = base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest())
        for part in given.split(" "):
            version, _, value = part.partition(",")
            valid |= hmac.compare_digest(value.encode("utf-8", "replace"), expected) and version == "v1"
    if not valid:
        raise SignatureInvalid
    return identifier
