"""Key-encryption keys: they wrap the data keys of sealed values and never touch a secret themselves."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from itertools import pairwise
from typing import Protocol, Self

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from libs.common.secrets.envelope import NONCE_BYTES, KeyUnknown, SealBroken

_HEX_KEY = re.compile(r"[0-9a-fA-F]{64}")
_LOCAL_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,31}")
_DISTINCT_BYTES = 16
"""Of 32 random bytes fewer are different less than once in 10^16 keys; in what people type instead of a key, nearly always."""


class KeyWrong(ValueError):
    """A setting that should hold keys does not. The text names places, never what stands there."""


class KeyEncryption(Protocol):
    """Wraps data keys. A key management service fits behind it. Safe for concurrent use.

    ``bound`` says whom the wrapped key belongs to (it is text, in bytes); with another ``bound`` it must not unwrap.
    """

    @property
    def current(self) -> str:
        """Id of the key ``wrap`` uses."""

    def wrap(self, data_key: bytes, bound: bytes) -> tuple[str, bytes]:
        """The current key's id, and the data key encrypted with it."""

    def unwrap(self, key_id: str, wrapped: bytes, bound: bytes) -> bytes:
        """Raises ``KeyUnknown`` for an id it has no key of, ``SealBroken`` for what the key does not open."""


class LocalKeys:
    """Keys from the service's own environment: the first wraps, all of them unwrap."""

    def __init__(self, keys: Mapping[str, bytes]) -> None:
        """``keys``: id -> 32 bytes, the current one first."""
        self._ciphers = {key_id: AESGCM(key) for key_id, key in keys.items()}
        self.current = next(iter(keys))
        self.bare = tuple(keys.values())

    @classmethod
    def parse(cls, text: str) -> Self:
        """``id:hex32[,id:hex32…]``. Raises ``KeyWrong``."""
        keys: dict[str, bytes] = {}
        for number, entry in enumerate(text.split(","), start=1):
            key_id, colon, digits = entry.strip().partition(":")
            if not colon or not _LOCAL_ID.fullmatch(key_id):
                raise KeyWrong(f"entry {number} is not id:key")
            key = key_from_hex(digits, f"the key of entry {number}")
            if key_id in keys:
                raise KeyWrong(f"entry {number} repeats the id of another")
            if key in keys.values():
                raise KeyWrong(f"entry {number} repeats the key of another")
            keys[key_id] = key
        return cls(keys)

    def wrap(self, data_key: bytes, bound: bytes) -> tuple[str, bytes]:
        nonce = os.urandom(NONCE_BYTES)
        return self.current, nonce + self._ciphers[self.current].encrypt(nonce, data_key, _bound_to(self.current, bound))

    def unwrap(self, key_id: str, wrapped: bytes, bound: bytes) -> bytes:
        if key_id not in self._ciphers:
            raise KeyUnknown
        try:
            return self._ciphers[key_id].decrypt(wrapped[:NONCE_BYTES], wrapped[NONCE_BYTES:], _bound_to(key_id, bound))
        except (InvalidTag, ValueError):  # altered, or too short to be one
            raise SealBroken from None


def key_from_hex(digits: str, what: str = "it") -> bytes:
    """32 bytes that somebody drew at random. Raises ``KeyWrong`` for another length and for what is plainly a placeholder."""
    if not _HEX_KEY.fullmatch(digits):
        raise KeyWrong(f"{what} is not 32 bytes in hex")
    key = bytes.fromhex(digits)
    steps = {(after - before) % 256 for before, after in pairwise(key)}
    if len(set(key)) < _DISTINCT_BYTES or len(steps) == 1:
        raise KeyWrong(f"{what} is a placeholder, not a random key")
    return key


def _bound_to(key_id: str, bound: bytes) -> bytes:
    return b"data key|" + key_id.encode() + b"|" + bound
