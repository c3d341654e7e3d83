"""Sealing and opening: AES-256-GCM with a fresh data key per value, bound to practice and purpose."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from typing import Self
from uuid import UUID

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from libs.common.secrets.envelope import NONCE_BYTES, VERSION_1, Envelope, SealBroken, heading, unpacked
from libs.common.secrets.keys import KeyEncryption, LocalKeys

_KEY_BYTES = 32


class SecretBox:
    """Seals values and opens them for the practice and purpose they were sealed for. Safe for concurrent use."""

    def __init__(self, keys: KeyEncryption, version_1: Sequence[bytes] = ()) -> None:
        """``version_1``: installation keys that values of version 1, which name none, may be under; each is tried."""
        self._keys = keys
        self._version_1 = [AESGCM(key) for key in version_1]

    @classmethod
    def local(cls, keys: str) -> Self:
        """With keys as the setting writes them, ``id:hex32[,id:hex32…]``. Raises ``KeyWrong``."""
        local = LocalKeys.parse(keys)
        return cls(local, local.bare)

    @property
    def current(self) -> str:
        """Id of the key new values are under."""
        return self._keys.current

    @property
    def heading(self) -> bytes:
        """What values under the current key begin with, and no others."""
        return heading(self._keys.current)

    def seal(self, practice_id: UUID, purpose: str, secret: str) -> bytes:
        return self.seal_bytes(practice_id, purpose, secret.encode())

    def open(self, practice_id: UUID, purpose: str, sealed: bytes) -> str:
        """The secret. Raises ``SealBroken``."""
        return self.open_bytes(practice_id, purpose, sealed).decode()

    def seal_bytes(self, practice_id: UUID, purpose: str, value: bytes) -> bytes:
        bound = _bound_to(practice_id, purpose)
        data_key, nonce = os.urandom(_KEY_BYTES), os.urandom(NONCE_BYTES)
        key_id, wrapped = self._keys.wrap(data_key, bound)
        return Envelope(key_id, wrapped, nonce, AESGCM(data_key).encrypt(nonce, value, bound)).packed()

    def open_bytes(self, practice_id: UUID, purpose: str, sealed: bytes) -> bytes:
        """Raises ``SealBroken``."""
        bound = _bound_to(practice_id, purpose)
        if sealed[:1] == VERSION_1:
            return self._open_version_1(sealed, bound)
        envelope = unpacked(sealed)
        return _decrypted(AESGCM(self._data_key(envelope, bound)), envelope.nonce, envelope.ciphertext, bound)

    def rewrap(self, practice_id: UUID, purpose: str, sealed: bytes) -> bytes | None:
        """The value under the current key; None when it is already. Raises ``SealBroken``.

        The data key is wrapped anew and the ciphertext stays byte for byte. A value of version 1 has no data key: it
        is sealed anew.
        """
        if sealed[:1] == VERSION_1:
            return self.seal_bytes(practice_id, purpose, self.open_bytes(practice_id, purpose, sealed))
        envelope = unpacked(sealed)
        if envelope.key_id == self._keys.current:
            return None
        bound = _bound_to(practice_id, purpose)
        key_id, wrapped = self._keys.wrap(self._data_key(envelope, bound), bound)
        return replace(envelope, key_id=key_id, wrapped=wrapped).packed()

    def _data_key(self, envelope: Envelope, bound: bytes) -> bytes:
        return self._keys.unwrap(envelope.key_id, envelope.wrapped, bound)

    def _open_version_1(self, sealed: bytes, bound: bytes) -> bytes:
        nonce, ciphertext = sealed[1 : 1 + NONCE_BYTES], sealed[1 + NONCE_BYTES :]
        for cipher in self._version_1:
            try:
                return _decrypted(cipher, nonce, ciphertext, bound)
            except SealBroken:
                continue  # under another key, or under none of them
        raise SealBroken


def _decrypted(cipher: AESGCM, nonce: bytes, ciphertext: bytes, bound: bytes) -> bytes:
    try:
        return cipher.decrypt(nonce, ciphertext, bound)
    except (InvalidTag, ValueError):  # altered, or too short to be one
        raise SealBroken from None


def _bound_to(practice_id: UUID, purpose: str) -> bytes:
    return f"{practice_id}|{purpose}".encode()
