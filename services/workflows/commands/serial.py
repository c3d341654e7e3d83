"""One engine transaction per practice at a time.

Events, answers, timers and people move runs from several sides. Whoever moves runs of a practice takes its lock first, before
any row, and several in one order: nobody can wait in a circle, a wait cannot miss an event that is being handled beside it,
and what enrolment reads stays true. The times transactions write down are in the order of their turns. Released with the transaction,
whatever becomes of it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from uuid import UUID

from libs.common.work import Tx

_LOCK = "SELECT pg_advisory_xact_lock(hashtextextended(p, 5)) FROM unnest($1::text[]) AS p"
_TRY = "SELECT p FROM unnest($1::text[]) AS p WHERE pg_try_advisory_xact_lock(hashtextextended(p, 5))"
_RESERVE = "SELECT p FROM unnest($1::text[]) AS p WHERE pg_try_advisory_xact_lock(hashtextextended(p, 6))"


async def one_at_a_time(practice_ids: Iterable[UUID], tx: Tx) -> None:
    """Waits for whoever is at it. Call it before anything else that locks. It is then later than all they wrote down."""
    ids = sorted({str(practice_id) for practice_id in practice_ids})
    if ids:
        await tx.execute(_LOCK, ids)
        tx.begin_now()


async def free_turns(practice_ids: Sequence[UUID], share: int, tx: Tx) -> list[UUID]:
    """Turns of up to ``share`` of these, the first one first, without those another worker has reserved.

    Waits at most once, for the first: what is busy with other work all the time is not passed over for ever. The others are
    taken only if free, so nobody waits here while holding a turn.
    """
    reserved: list[str] = []
    for start in range(0, len(practice_ids), share):
        if len(reserved) < share:
            chunk = [str(practice_id) for practice_id in practice_ids[start : start + share - len(reserved)]]
            taken = {row["p"] for row in await tx.rows(_RESERVE, chunk)}
            reserved += [one for one in chunk if one in taken]
    if not reserved:
        return []
    await tx.execute(_LOCK, reserved[:1])
    free = await tx.rows(_TRY, reserved[1:]) if reserved[1:] else []
    tx.begin_now()
    return [UUID(reserved[0]), *(UUID(row["p"]) for row in free)]
