"""Sealing of per-practice secrets at rest: AES-256-GCM, bound to practice and purpose.

A sealed value opened for another practice or purpose is refused. Format: version byte, 96-bit nonce, ciphertext.
"""

from __future__ import annotations

import os
from uuid import UUID

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

_VERSION = b"\x01"
_NONCE_BYTES = 12
_KEY_BYTES = 32


class SealBroken(Exception):
    """The sealed value does not belong to this practice and purpose, or was altered."""


class SecretBox:
    """Seals with one installation key (32 bytes, hex). Safe for concurrent use."""

    def __init__(self, key_hex: str) -> None:
        key = bytes.fromhex(key_hex)
        if len(key) != _KEY_BYTES:
            message = "the secrets key must be 32 bytes in hex"
            raise ValueError(message)
        self._cipher = AESGCM(key)

    def seal(self, practice_id: UUID, purpose: str, secret: str) -> bytes:
        return self.seal_bytes(practice_id, purpose, secret.encode())

    def open(self, practice_id: UUID, purpose: str, sealed: bytes) -> str:
        """The secret. Raises ``SealBroken``."""
        return self.open_bytes(practice_id, purpose, sealed).decode()

    def seal_bytes(self, practice_id: UUID, purpose: str, value: bytes) -> bytes:
        nonce = os.urandom(_NONCE_BYTES)
        return _VERSION + nonce + self._cipher.encrypt(nonce, value, _bound_to(practice_id, purpose))

    def open_bytes(self, practice_id: UUID, purpose: str, sealed: bytes) -> bytes:
        """Raises ``SealBroken``."""
        if sealed[:1] != _VERSION:
            raise SealBroken
        nonce, ciphertext = sealed[1 : 1 + _NONCE_BYTES], sealed[1 + _NONCE_BYTES :]
        try:
            return self._cipher.decrypt(nonce, ciphertext, _bound_to(practice_id, purpose))
        except (InvalidTag, ValueError):  # altered, or too short to be one
            raise SealBroken from None


def _bound_to(practice_id: UUID, purpose: str) -> bytes:
    return f"{practice_id}|{purpose}".encode()
