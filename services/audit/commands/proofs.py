"""Prove and export: receipts, consistency between checkpoints, and bundles that verify without us."""

from __future__ import annotations

import base64
import io
import tarfile
from typing import Any
from uuid import UUID

import orjson
from pydantic import BaseModel

from libs.common.errors import NotFound, Refused
from libs.common.work import Tx
from services.audit.queries import checkpoint_of_size, entry_by_event, exported, latest_checkpoint, leaves
from services.audit.rules.merkle import consistency_proof, inclusion_proof
from services.audit.rules.notes import proof_text

README = b"""This is an export of a practice's audit ledger.

entries.jsonl  one entry a line, canonical JSON (RFC 8785), in the order of the log
checkpoint     the signed checkpoint (C2SP signed note) over these entries
vkey           the key that signed it; compare it with one you got another way

Verify it without any service:  python -m services.audit verify BUNDLE --vkey KEY
"""


class EntryNotFound(NotFound):
    """No such entry."""


class NotSignedYet(NotFound):
    """The ledger has no signed checkpoint that covers this yet."""


class SizesInvalid(Refused):
    """Old and new are sizes of signed checkpoints, old the smaller one."""


class EntryView(BaseModel):
    """One entry: its place in the log, its leaf hash (hex), and what it says."""

    seq: int
    event_id: UUID
    leaf: str
    entry: dict[str, Any]

    @classmethod
    def of(cls, row: Any) -> EntryView:
        return cls(seq=row["seq"], event_id=row["event_id"], leaf=row["leaf"].hex(), entry=orjson.loads(row["entry"]))


class ConsistencyProof(BaseModel):
    """That the log of size ``old`` is a prefix of that of size ``new`` (RFC 9162 §2.1.4). Hashes are base64."""

    old: int
    new: int
    proof: list[str]
    old_checkpoint: str
    new_checkpoint: str


async def show_entry(event_id: UUID, tx: Tx) -> EntryView:
    """Raises ``EntryNotFound``."""
    row = await entry_by_event(event_id, tx)
    if row is None:
        raise EntryNotFound
    return EntryView.of(row)


async def current_checkpoint(tx: Tx) -> str:
    """Raises ``NotSignedYet``."""
    row = await latest_checkpoint(tx)
    if row is None:
        raise NotSignedYet
    note: str = row["note"]
    return note


async def prove_inclusion(event_id: UUID, tx: Tx) -> str:
    """A receipt for one event. Raises ``EntryNotFound``, ``NotSignedYet``."""
    entry = await entry_by_event(event_id, tx)
    if entry is None:
        raise EntryNotFound
    checkpoint = await latest_checkpoint(tx)
    if checkpoint is None or checkpoint["size"] <= entry["seq"]:
        raise NotSignedYet
    proof = inclusion_proof(await leaves(tx, tx.practice_id, 0, checkpoint["size"]), entry["seq"])
    return proof_text(entry["seq"], proof, checkpoint["note"])


async def prove_consistency(old: int, new: int, tx: Tx) -> ConsistencyProof:
    """Raises ``SizesInvalid``."""
    before, after = await checkpoint_of_size(old, tx), await checkpoint_of_size(new, tx)
    if before is None or after is None or not 0 < old <= new:
        raise SizesInvalid(pointer="/old")
    proof = consistency_proof(await leaves(tx, tx.practice_id, 0, new), old)
    return ConsistencyProof(
        old=old,
        new=new,
        proof=[base64.b64encode(node).decode() for node in proof],
        old_checkpoint=before["note"],
        new_checkpoint=after["note"],
    )


async def export(vkey: str, tx: Tx) -> bytes:
    """The bundle, a tar archive, up to the newest checkpoint. Raises ``NotSignedYet``."""
    checkpoint = await latest_checkpoint(tx)
    if checkpoint is None:
        raise NotSignedYet
    lines = b"".join(entry + b"\n" for entry in await exported(tx, checkpoint["size"]))
    files = {"entries.jsonl": lines, "checkpoint": checkpoint["note"].encode(), "vkey": vkey.encode() + b"\n", "README": README}
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size, member.mtime = len(content), int(checkpoint["signed_at"].timestamp())
            archive.addfile(member, io.BytesIO(content))
    return buffer.getvalue()
