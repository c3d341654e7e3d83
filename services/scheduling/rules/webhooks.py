"""Outbound webhooks: Standard Webhooks signatures, the retry plan, and which addresses may be called."""

from __future__ import annotations

import base64
import hashlib
import hmac
import ipaddress

MAX_ATTEMPTS = 10
_GROWTH = (1, 60, 360, 1440, 3600, 7200, 10080, 14400, 17280)
"""Pauses as multiples of the first one; with 5 s: 5 s, 5 min, 30 min, 2 h, 5 h, 10 h, 14 h, 20 h, 24 h."""


def signature(secret: str, message_id: str, timestamp: int, body: bytes) -> str:
    """``v1,`` + base64 HMAC-SHA256 over ``id.timestamp.body`` (Standard Webhooks 1.0). ``secret`` is ``whsec_`` + base64."""
    key = base64.b64decode(secret.removeprefix("whsec_"))
    digest = hmac.new(key, f"{message_id}.{timestamp}.".encode() + body, hashlib.sha256).digest()
    return "v1," + base64.b64encode(digest).decode()


def new_secret(random_bytes: bytes) -> str:
    """24 to 64 random bytes as a Standard Webhooks secret."""
    return "whsec_" + base64.b64encode(random_bytes).decode()


def pause_after(attempts: int, first_pause_seconds: float, jitter: float) -> float | None:
    """Seconds until the next attempt, None when it was the last. ``jitter`` in [0, 1) stretches it by up to a fifth."""
    if attempts >= MAX_ATTEMPTS:
        return None
    return first_pause_seconds * _GROWTH[attempts - 1] * (1 + 0.2 * jitter)


def is_public(address: str) -> bool:
    """Whether an IP address belongs to the public internet: no loopback, private, link-local, metadata or mapped address."""
    parsed = ipaddress.ip_address(address)
    if isinstance(parsed, ipaddress.IPv6Address):
        inner = parsed.ipv4_mapped or parsed.sixtofour
        if inner is not None or parsed.teredo is not None:
            return False
    return parsed.is_global and not parsed.is_multicast and not parsed.is_reserved
