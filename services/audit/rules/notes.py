"""C2SP signed notes, tlog checkpoints and tlog proofs: the texts a checkpoint and a receipt are.

Sources: c2sp.org/signed-note, c2sp.org/tlog-checkpoint, c2sp.org/tlog-proof. Ed25519 only; signatures by keys we do not
know are passed over, as the format asks; one by a known key that fails refuses the note.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

_ED25519 = b"\x01"
_DASH = "\u2014 "
PROOF_HEADER = "c2sp.org/tlog-proof@v1"
MAX_SIGNATURES = 100
MAX_SIZE_DIGITS = 19


class NoteInvalid(ValueError):
    """The note is malformed, or no signature on it is by a key we trust."""


@dataclass(frozen=True)
class Verifier:
    """A trusted key. ``name`` is what signatures call it."""

    name: str
    public_key: bytes

    @property
    def key_id(self) -> bytes:
        return hashlib.sha256(self.name.encode() + b"\n" + _ED25519 + self.public_key).digest()[:4]

    @property
    def vkey(self) -> str:
        """The key as text: ``name+keyid+key``."""
        return f"{self.name}+{self.key_id.hex()}+{base64.b64encode(_ED25519 + self.public_key).decode()}"

    @classmethod
    def parse(cls, vkey: str) -> Verifier:
        """Raises ``NoteInvalid``."""
        try:
            name, key_id, key = vkey.strip().split("+", 2)
            raw = base64.b64decode(key, validate=True)
        except (ValueError, binascii.Error):
            raise NoteInvalid("the verifier key is malformed") from None
        verifier = cls(name, raw[1:])
        if raw[:1] != _ED25519 or len(raw) != 33 or verifier.key_id.hex() != key_id:
            raise NoteInvalid("the verifier key does not fit its id")
        return verifier


@dataclass(frozen=True)
class Checkpoint:
    """What a log says of itself: its name, its size, its root."""

    origin: str
    size: int
    root: bytes

    @property
    def body(self) -> str:
        return f"{self.origin}\n{self.size}\n{base64.b64encode(self.root).decode()}\n"

    @classmethod
    def parse(cls, body: str) -> Checkpoint:
        """Raises ``NoteInvalid``."""
        lines = body.split("\n")
        try:
            origin, size, root = lines[0], lines[1], base64.b64decode(lines[2], validate=True)
        except (IndexError, binascii.Error, ValueError):
            raise NoteInvalid("this is not a checkpoint") from None
        if (
            not origin
            or len(size) > MAX_SIZE_DIGITS
            or not size.isascii()
            or not size.isdecimal()
            or str(int(size)) != size
            or len(root) != 32
        ):
            raise NoteInvalid("this is not a checkpoint")
        return cls(origin, int(size), root)


def verifier_of(name: str, key: Ed25519PrivateKey) -> Verifier:
    return Verifier(name, key.public_key().public_bytes_raw())


def sign(body: str, name: str, key: Ed25519PrivateKey) -> str:
    """The signed note: body, empty line, one signature line. ``body`` ends with a newline."""
    signature = verifier_of(name, key).key_id + key.sign(body.encode())
    return f"{body}\n{_DASH}{name} {base64.b64encode(signature).decode()}\n"


def opened(note: str, trusted: Sequence[Verifier]) -> str:
    """The body of a note signed by at least one trusted key. Raises ``NoteInvalid``."""
    body, separator, signatures = note.rpartition("\n\n")
    if not separator or not signatures.endswith("\n"):
        raise NoteInvalid("the note has no signatures")
    lines = signatures[:-1].split("\n")
    if len(lines) > MAX_SIGNATURES:
        raise NoteInvalid("the note has too many signatures")
    keys = {(verifier.name, verifier.key_id): verifier for verifier in trusted}
    good = [_checked(line, body + "\n", keys) for line in lines]
    if not any(good):
        raise NoteInvalid("no signature is by a trusted key")
    return body + "\n"


def _checked(line: str, body: str, keys: dict[tuple[str, bytes], Verifier]) -> bool:
    name, _, encoded = line.removeprefix(_DASH).partition(" ")
    try:
        raw = base64.b64decode(encoded, validate=True)
    except (binascii.Error, ValueError):
        raw = b""
    if not line.startswith(_DASH) or len(raw) < 5:
        raise NoteInvalid("a signature line is malformed")
    verifier = keys.get((name, raw[:4]))
    if verifier is None:
        return False
    try:
        Ed25519PublicKey.from_public_bytes(verifier.public_key).verify(raw[4:], body.encode())
    except InvalidSignature:
        raise NoteInvalid("the signature of a trusted key does not fit") from None
    return True


def proof_text(index: int, proof: Sequence[bytes], note: str) -> str:
    """A receipt that stands alone: index, audit path, signed checkpoint (c2sp.org/tlog-proof)."""
    hashes = "".join(base64.b64encode(node).decode() + "\n" for node in proof)
    return f"{PROOF_HEADER}\nindex {index}\n{hashes}\n{note}"


def parse_proof(text: str) -> tuple[int, list[bytes], str]:
    """Index, path and note of a receipt. Raises ``NoteInvalid``."""
    head, separator, note = text.partition("\n\n")
    lines = head.split("\n")
    try:
        if not separator or lines[0] != PROOF_HEADER or not lines[1].startswith("index "):
            raise ValueError
        return int(lines[1].removeprefix("index ")), [base64.b64decode(line, validate=True) for line in lines[2:]], note
    except (ValueError, IndexError, binascii.Error):
        raise NoteInvalid("this is not a proof") from None
