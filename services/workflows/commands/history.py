"""Remember what happened and what was decided about it: for waits that look back, for why and why not, for backtests.

One row per event, kept ``KEPT`` and then forgotten. Of a thousand workflows that an event may start it names those that it did something
with; that the filters of the others kept it out follows from what was in force (``queries.decided``). What expressions saw of the patient, the appointment and the practice is
kept with it, so that an answer given later is about what was known then.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import timedelta
from types import MappingProxyType
from uuid import UUID

from libs.common.auth import Principal
from libs.common.work import Tx, Work, json_text
from libs.contracts.envelope import PLATFORM
from services.workflows.commands.happening import Happening
from services.workflows.commands.world import World

KEPT = timedelta(days=40)
STARTED_ALREADY = "started_already"
NOTHING_MET: Mapping[UUID, int] = MappingProxyType({})
FORGOTTEN_AT_ONCE = 5000
PRACTICES_AT_ONCE = 20
SYSTEM = Principal.system("history")

_RECORD = """
INSERT INTO event_log SELECT * FROM unnest($1::uuid[], $2::uuid[], $3::text[], $4::uuid[], $5::uuid[], $6::timestamptz[], $7::timestamptz[],
  $8::jsonb[], $9::jsonb[], $10::jsonb[], $11::bigint[]) ON CONFLICT DO NOTHING
"""
_FORGET = """
DELETE FROM event_log WHERE ctid IN (SELECT ctid FROM event_log WHERE practice_id = $1 AND recorded_at < $2 LIMIT $3)
"""

_FORGET_BACKTESTS = "DELETE FROM backtest WHERE practice_id = $1 AND created_at < $2 AND status NOT IN ('queued', 'running')"
_PRACTICES = "SELECT practice_id FROM access_practice WHERE practice_id > $1 ORDER BY practice_id LIMIT $2"


@dataclass(frozen=True)
class Decision:
    """What became of one workflow at one event: ``started`` with its run, ``filtered``, or the reason it did not go on.

    ``started_already`` names the run an earlier event about the same booking had started.
    """

    workflow_id: UUID
    version: int
    verdict: str
    run_id: UUID | None = None

    def compact(self, began: Collection[UUID]) -> list[object]:
        verdict = STARTED_ALREADY if self.run_id is not None and self.run_id not in began else self.verdict
        return [str(self.workflow_id), self.version, verdict, str(self.run_id) if self.run_id else None]


async def record(
    happenings: list[Happening],
    decisions: Mapping[UUID, list[Decision]],
    began: Collection[UUID],
    world: World,
    tx: Tx,
    met: Mapping[UUID, int] = NOTHING_MET,
) -> None:
    """Write down a batch, in one statement. ``began``: the runs that are new.

    ``met``: of practices whose happenings met all that is in force, its revision; their decisions leave out what the filters kept out.
    """
    if not happenings:
        return
    ids = [one.ids() for one in happenings]
    await tx.execute(
        _RECORD, [one.practice_id for one in happenings], [one.id for one in happenings], [one.data.type for one in happenings],
        [one["patient_id"] for one in ids], [one["appointment_id"] for one in ids], [one.at for one in happenings],
        [tx.now] * len(happenings), [one.text for one in happenings],
        [json_text(world.seen(one.practice_id, found)) for one, found in zip(happenings, ids, strict=True)],
        [json_text([decision.compact(began) for decision in decisions.get(one.id, ())]) for one in happenings],
        [met.get(one.practice_id) for one in happenings],
    )  # fmt: skip


async def forget_old(work: Work) -> int:
    """Forget what is older than ``KEPT``, of every practice, a few practices per transaction; returns how many events went.

    If we die in between the rest goes next time.
    """
    gone, after = await _forget([PLATFORM], work), PLATFORM
    while True:
        async with work.batch([], SYSTEM) as tx:
            found = [row["practice_id"] for row in await tx.rows(_PRACTICES, after, PRACTICES_AT_ONCE)]
        if not found:
            return gone
        gone += await _forget(found, work)
        after = found[-1]


async def _forget(practice_ids: list[UUID], work: Work) -> int:
    gone = 0
    async with work.batch(practice_ids, SYSTEM) as tx:
        for practice_id in practice_ids:
            tag = await tx.execute(_FORGET, practice_id, tx.now - KEPT, FORGOTTEN_AT_ONCE)
            gone += int(tag.rpartition(" ")[2])
            await tx.execute(_FORGET_BACKTESTS, practice_id, tx.now - KEPT)
    return gone
