"""Sign what was appended: one checkpoint per log and round, never one that contradicts an earlier one.

Before signing, the entries since the last checkpoint are hashed again from their bytes and appended to the frontier that
was signed; the result must be the head. A changed or missing entry stops the signature and is reported.
"""

from __future__ import annotations

from dataclasses import dataclass
from uuid import UUID

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from libs.common.auth import Principal
from libs.common.logging import get_logger
from libs.common.work import Tx, Work
from services.audit.queries import latest_checkpoint
from services.audit.rules.merkle import append, leaf_hash, pack, root_of, unpack
from services.audit.rules.notes import Checkpoint, Verifier, opened, sign, verifier_of

log = get_logger()

ROUND = 200


class Inconsistent(Exception):
    """The log's entries do not continue what was signed before."""


@dataclass(frozen=True)
class Signer:
    """Holds the key. ``name`` is what its signatures are called by."""

    name: str
    key: Ed25519PrivateKey

    @classmethod
    def of(cls, name: str, seed_hex: str) -> Signer:
        return cls(name, Ed25519PrivateKey.from_private_bytes(bytes.fromhex(seed_hex)))

    @property
    def verifier(self) -> Verifier:
        return verifier_of(self.name, self.key)

    def note(self, checkpoint: Checkpoint) -> str:
        return sign(checkpoint.body, self.name, self.key)


async def sign_changed(work: Work, signer: Signer) -> int:
    """Sign every log that changed since its last checkpoint; returns how many were looked at."""
    system = Principal.system("signer")
    async with work.batch([], system) as tx:
        waiting = [row["practice_id"] for row in await tx.rows("SELECT practice_id FROM unsigned ORDER BY since LIMIT $1", ROUND)]
    for practice_id in waiting:
        try:
            async with work(Principal.system("signer", practice_id)) as tx:
                await _sign(practice_id, signer, tx)
        except Inconsistent as error:
            log.error("ledger.inconsistent", practice_id=str(practice_id), exc_info=error)
    return len(waiting)


async def _sign(practice_id: UUID, signer: Signer, tx: Tx) -> None:
    head = await tx.row(
        "SELECT h.size, h.frontier, l.origin FROM head h JOIN log l USING (practice_id) WHERE practice_id = $1 FOR UPDATE OF h", practice_id
    )
    assert head is not None
    last = await latest_checkpoint(tx, practice_id)
    size, frontier = (last["size"], unpack(last["frontier"])) if last else (0, [])
    if last and root_of(frontier) != Checkpoint.parse(opened(last["note"], [signer.verifier])).root:
        raise Inconsistent
    rows = await tx.rows("SELECT seq, entry, leaf FROM entry WHERE practice_id = $1 AND seq >= $2 ORDER BY seq", practice_id, size)
    leaves = [leaf_hash(row["entry"]) for row in rows]
    contiguous = [row["seq"] for row in rows] == list(range(size, size + len(rows)))
    frontier, size = append(frontier, size, leaves)
    if not contiguous or leaves != [row["leaf"] for row in rows] or size != head["size"] or pack(frontier) != head["frontier"]:
        raise Inconsistent
    await tx.execute("DELETE FROM unsigned WHERE practice_id = $1", practice_id)
    if last is None or size > last["size"]:
        checkpoint = Checkpoint(head["origin"], size, root_of(frontier))
        await tx.execute(
            "INSERT INTO checkpoint VALUES ($1, $2, $3, $4, $5, $6)",
            practice_id, size, checkpoint.root, pack(frontier), signer.note(checkpoint), tx.now,
        )  # fmt: skip
