"""API keys: ``vk_live_<id>_<secret>_<check>``. Pure; randomness comes in from outside.

The id is for looking up and for recognising a key in a list; the check (CRC-32) tells a mistyped or cut key from a wrong
one without a look-up, and lets secret scanners recognise ours. 256 random bits need no slow hash (NIST SP 800-63B §5.1.1).
"""

from __future__ import annotations

import hashlib
import re
import zlib
from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import ip_address, ip_network

_DIGITS = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_KEY = re.compile(r"(vk_live_(?P<id>[0-9A-Za-z]{8})_[0-9A-Za-z]{43})_(?P<check>[0-9A-Za-z]{6})")
SECRET_BYTES = 32
ID_BYTES = 6


@dataclass(frozen=True)
class KeyText:
    """A key as its holder has it: shown once, never kept."""

    public_id: str
    text: str

    @property
    def prefix(self) -> str:
        return f"vk_live_{self.public_id}"

    @property
    def digest(self) -> bytes:
        return hashlib.sha256(self.text.encode()).digest()


def make_key(id_bytes: bytes, secret: bytes) -> KeyText:
    """A key from 6 and 32 random bytes."""
    public_id = _base62(id_bytes, 9)[-8:]
    body = f"vk_live_{public_id}_{_base62(secret, 43)}"
    return KeyText(public_id, f"{body}_{_check(body)}")


def read_key(text: str) -> KeyText | None:
    """The key, or None for what cannot be one."""
    match = _KEY.fullmatch(text) if len(text) <= 100 else None
    if match is None or _check(match[1]) != match["check"]:
        return None
    return KeyText(match["id"], text)


def address_block(text: str) -> str:
    """An address or a network in CIDR notation, in normal form. Raises ``ValueError``."""
    return str(ip_network(text, strict=True))


def address_allowed(address: str, blocks: Iterable[str]) -> bool:
    """Whether an address is in one of the blocks; no block allows all, an unknown address is in none."""
    blocks = list(blocks)
    if not blocks:
        return True
    try:
        found = ip_address(address)
    except ValueError:
        return False
    found = getattr(found, "ipv4_mapped", None) or found
    return any(found in ip_network(block) for block in blocks)


def _check(body: str) -> str:
    return _base62(zlib.crc32(body.encode()).to_bytes(4, "big"), 6)


def _base62(data: bytes, width: int) -> str:
    number, digits = int.from_bytes(data, "big"), ""
    while number:
        number, digit = divmod(number, 62)
        digits = _DIGITS[digit] + digits
    return digits.rjust(width, "0")
