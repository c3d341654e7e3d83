"""Remember what happened and what was decided about it: for waits that look back, for why and why not, for backtests.

One row per event, kept ``KEPT`` and then forgotten. What expressions saw of the patient, the appointment and the practice is
kept with it, so that an answer given later is about what was known then.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from uuid import UUID

from libs.common.auth import Principal
from libs.common.work import Tx, Work, json_text
from services.workflows.commands.happening import Happening
from services.workflows.commands.world import World

KEPT = timedelta(days=40)
FORGOTTEN_AT_ONCE = 5000
SYSTEM = Principal.system("history")

_RECORD = """
INSERT INTO event_log SELECT * FROM unnest($1::uuid[], $2::uuid[], $3::text[], $4::uuid[], $5::uuid[], $6::timestamptz[], $7::timestamptz[],
  $8::jsonb[], $9::jsonb[], $10::jsonb[]) ON CONFLICT DO NOTHING
"""
_FORGET = """
DELETE FROM event_log WHERE ctid IN (SELECT ctid FROM event_log WHERE practice_id = $1 AND recorded_at < $2 LIMIT $3)
"""


@dataclass(frozen=True)
class Decision:
    """What became of one workflow at one event: ``started`` with its run, ``filtered``, or the reason it did not go on."""

    workflow_id: UUID
    version: int
    verdict: str
    run_id: UUID | None = None

    def compact(self) -> list[object]:
        return [str(self.workflow_id), self.version, self.verdict, str(self.run_id) if self.run_id else None]


async def record(happenings: list[Happening], decisions: Mapping[UUID, list[Decision]], world: World, tx: Tx) -> None:
    """Write down a batch, in one statement."""
    if not happenings:
        return
    ids = [one.ids() for one in happenings]
    await tx.execute(
        _RECORD, [one.practice_id for one in happenings], [one.id for one in happenings], [one.data.type for one in happenings],
        [one["patient_id"] for one in ids], [one["appointment_id"] for one in ids], [one.at for one in happenings],
        [tx.now] * len(happenings), [one.text for one in happenings],
        [json_text(world.seen(one.practice_id, found)) for one, found in zip(happenings, ids, strict=True)],
        [json_text([decision.compact() for decision in decisions.get(one.id, ())]) for one in happenings],
    )  # fmt: skip


async def forget_old(practice_ids: list[UUID], work: Work) -> int:
    """Forget what is older than ``KEPT``; returns how many rows went."""
    gone = 0
    async with work.batch(practice_ids, SYSTEM) as tx:
        for practice_id in practice_ids:
            tag = await tx.execute(_FORGET, practice_id, tx.now - KEPT, FORGOTTEN_AT_ONCE)
            gone += int(tag.rpartition(" ")[2])
    return gone
