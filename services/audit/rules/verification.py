"""Whether an export is genuine, from the export alone: no database, no network.

Checks, in order: the checkpoint's signature; every entry canonical; event ids unique; the root over the entries equal to
the checkpoint's. Only hashlib, JSON and an Ed25519 library are needed.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum

from services.audit.rules.merkle import append, leaf_hash, root_of
from services.audit.rules.notes import Checkpoint, NoteInvalid, Verifier, opened


class Verdict(IntEnum):
    """Exit codes of ``verify``."""

    GENUINE = 0
    TAMPERED = 1
    BAD_SIGNATURE = 2
    TRUNCATED = 3
    UNUSABLE = 5


@dataclass(frozen=True)
class Report:
    verdict: Verdict
    text: str
    first_bad: int | None = None


def verify_export(entries: Sequence[bytes], note: str, vkey: str) -> Report:
    """Judge an export: its canonical entries in order, the signed checkpoint, the key to trust."""
    try:
        trusted = Verifier.parse(vkey)
    except NoteInvalid as error:
        return Report(Verdict.UNUSABLE, str(error))
    try:
        checkpoint = Checkpoint.parse(opened(note, [trusted]))
    except NoteInvalid as error:
        return Report(Verdict.BAD_SIGNATURE, str(error))
    if len(entries) < checkpoint.size:
        return Report(Verdict.TRUNCATED, f"{len(entries)} entries, the signed checkpoint has {checkpoint.size}", len(entries))
    covered = entries[: checkpoint.size]
    bad = _first_bad(covered)
    if bad is not None:
        return bad
    frontier, _ = append([], 0, (leaf_hash(entry) for entry in covered))
    if root_of(frontier) != checkpoint.root:
        return Report(Verdict.TAMPERED, "the entries do not lead to the signed root")
    return Report(Verdict.GENUINE, f"{checkpoint.size} entries lead to the signed root of {checkpoint.origin}")


def _first_bad(entries: Sequence[bytes]) -> Report | None:
    seen: set[str] = set()
    log: str | None = None
    for index, raw in enumerate(entries):
        try:
            entry = json.loads(raw)
            canonical = json.dumps(entry, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()
            event_id, entry_log = entry["event_id"], entry["log"]
        except (ValueError, KeyError, TypeError):
            return Report(Verdict.TAMPERED, f"entry {index} is not an entry", index)
        if canonical != raw:
            return Report(Verdict.TAMPERED, f"entry {index} is not in canonical form", index)
        if event_id in seen:
            return Report(Verdict.TAMPERED, f"entry {index} repeats an event", index)
        if log is not None and entry_log != log:
            return Report(Verdict.TAMPERED, f"entry {index} belongs to another log", index)
        seen.add(event_id)
        log = entry_log
    return None
