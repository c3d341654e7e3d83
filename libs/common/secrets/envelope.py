"""A sealed value as bytes: version, key id, wrapped data key, nonce, ciphertext. It says itself how it is to be opened.

``02 | n | key id (n bytes, ASCII) | m (2 bytes, big-endian) | wrapped data key (m bytes) | nonce (12 bytes) | ciphertext and tag``.
Values of version 1 (``01 | nonce | ciphertext and tag``) name no key.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

VERSION_1 = b"\x01"
VERSION = b"\x02"
NONCE_BYTES = 12
TAG_BYTES = 16
KEY_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.:/-]{0,199}")
"""A key id: room for a key management service's names."""
HEAD_BYTES = 2 + 200
"""So many bytes of a value tell its version and key id."""


class SealBroken(Exception):
    """The sealed value does not belong to this practice and purpose, or was altered."""


class KeyUnknown(SealBroken):
    """The value is sealed under a key that was not given."""


@dataclass(frozen=True)
class Envelope:
    """The parts of a value of the current version."""

    key_id: str
    wrapped: bytes
    nonce: bytes
    ciphertext: bytes

    def packed(self) -> bytes:
        return heading(self.key_id) + len(self.wrapped).to_bytes(2, "big") + self.wrapped + self.nonce + self.ciphertext


def heading(key_id: str) -> bytes:
    """What every value under this key begins with, and no other value does."""
    if not KEY_ID.fullmatch(key_id):
        raise ValueError("a key id is 1 to 200 letters, digits and . _ : / -")
    return VERSION + len(key_id).to_bytes(1, "big") + key_id.encode()


def unpacked(sealed: bytes) -> Envelope:
    """Raises ``SealBroken`` for what is not of this form."""
    key_id = key_id_of(sealed)
    if key_id is None:
        raise SealBroken
    at = 2 + len(key_id)
    start = at + 2
    end = start + int.from_bytes(sealed[at:start], "big")
    nonce, ciphertext = sealed[end : end + NONCE_BYTES], sealed[end + NONCE_BYTES :]
    if len(ciphertext) < TAG_BYTES:
        raise SealBroken
    return Envelope(key_id, sealed[start:end], nonce, ciphertext)


def key_id_of(head: bytes) -> str | None:
    """The key a value is under, from its first ``HEAD_BYTES``; None for version 1. Raises ``SealBroken``."""
    if head[:1] == VERSION_1:
        return None
    if head[:1] != VERSION or len(head) < 2:
        raise SealBroken
    raw = head[2 : 2 + head[1]]
    key_id = raw.decode("ascii", errors="replace")
    if len(raw) != head[1] or not KEY_ID.fullmatch(key_id):
        raise SealBroken
    return key_id
