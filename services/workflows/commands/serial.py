"""One engine transaction per practice at a time.

Events, answers, timers and people move runs from several sides. Whoever moves runs of a practice takes its lock first, before
any row, and several in one order: nobody can wait in a circle, a wait cannot miss an event that is being handled beside it,
and what enrolment reads stays true. Released with the transaction, whatever becomes of it.
"""

from __future__ import annotations

from collections.abc import Iterable
from uuid import UUID

from libs.common.work import Tx

_LOCK = "SELECT pg_advisory_xact_lock(hashtextextended(p, 5)) FROM unnest($1::text[]) AS p"


async def one_at_a_time(practice_ids: Iterable[UUID], tx: Tx) -> None:
    """Waits for whoever is at it. Call it before anything else that locks."""
    ids = sorted({str(practice_id) for practice_id in practice_ids})
    if ids:
        await tx.execute(_LOCK, ids)
