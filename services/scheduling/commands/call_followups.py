"""Ask the provider what became of calls nobody reported about: it repeats a report three times only.

A claim is a lease in the due table. If we die after it the call is asked about again when the lease ends.
"""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any, Protocol
from uuid import UUID

from libs.common.auth import Principal
from libs.common.logging import get_logger
from libs.common.secrets import SecretBox
from libs.common.work import Work
from services.scheduling.commands.calls import ASK_AFTER, RecordIn, forget, take_report
from services.scheduling.commands.retell_settings import API_PURPOSE
from services.scheduling.rules.calls import CallReport

log = get_logger()

CLAIM = 20
GIVE_UP_AFTER = timedelta(hours=4)
"""No call lasts so long; what is not known by then will not be."""

_CLAIM = """
UPDATE call_due d SET due_at = $1 FROM (
  SELECT practice_id, call_id FROM call_due
  WHERE due_at <= $2 AND practice_id <> ALL (ARRAY(SELECT practice_id FROM access_practice WHERE suspended))
  ORDER BY due_at LIMIT $3 FOR UPDATE SKIP LOCKED
) c WHERE d.practice_id = c.practice_id AND d.call_id = c.call_id RETURNING d.practice_id, d.call_id
"""
_CALL = """
SELECT c.external_id, c.created_at, s.api_key FROM call c LEFT JOIN retell_settings s USING (practice_id)
WHERE c.practice_id = $1 AND c.id = $2
"""


class Teller(Protocol):
    """Says what became of a call, None while it goes on; raises when it cannot say."""

    async def outcome(self, api_key: str, external_id: str) -> CallReport | None: ...


async def ask_about_calls(work: Work, teller: Teller, box: SecretBox, record_in: RecordIn) -> int:
    """Ask about every call whose time has come; returns how many."""
    async with work.batch([], Principal.system("calls")) as tx:
        claimed = await tx.rows(_CLAIM, tx.now + ASK_AFTER, tx.now, CLAIM)
    await asyncio.gather(*(_ask(row["practice_id"], row["call_id"], work, teller, box, record_in) for row in claimed))
    return len(claimed)


async def _ask(practice_id: UUID, call_id: UUID, work: Work, teller: Teller, box: SecretBox, record_in: RecordIn) -> None:
    principal = Principal.system("calls", practice_id)
    async with work(principal) as tx:
        call = await tx.row(_CALL, practice_id, call_id)
        if call is None or call["created_at"] < tx.now - GIVE_UP_AFTER:
            log.info("call.given_up", practice_id=str(practice_id), call_id=str(call_id))
            await forget(practice_id, call_id, tx)
            return
    report = await _told(practice_id, call, teller, box)
    if report is None:
        return  # it is asked about again when the lease ends
    async with work(principal) as tx:
        await take_report(report, box, record_in, tx)


async def _told(practice_id: UUID, call: Any, teller: Teller, box: SecretBox) -> CallReport | None:
    if call["api_key"] is None:
        return None
    try:
        return await teller.outcome(box.open(practice_id, API_PURPOSE, call["api_key"]), call["external_id"])
    except Exception as error:  # the provider cannot say now, or the key cannot be opened
        log.info("call.not_told", practice_id=str(practice_id), exc_info=error)
        return None
