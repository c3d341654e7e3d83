"""The states a practice's published workflows go through, numbered, and what was in force from which to which.

An event keeps the number it met (``commands.history``): what it does not name, but listened to it then, its filter kept out.
"""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

from libs.common.work import Tx

_NEXT = """
INSERT INTO revision VALUES ($1, 1) ON CONFLICT (practice_id) DO UPDATE SET number = revision.number + 1 RETURNING number
"""
_ENDS = "UPDATE in_force SET until = $3 WHERE practice_id = $1 AND workflow_id = $2 AND until IS NULL"
_BEGINS = "INSERT INTO in_force (practice_id, workflow_id, since, version, events) VALUES ($1, $2, $3, $4, $5)"


async def next_revision(tx: Tx) -> int:
    """Tells every process that its compiled workflows of this practice are old."""
    number: int = await tx.value(_NEXT, tx.practice_id)
    return number


async def comes_into_force(workflow_id: UUID, version: int, events: Sequence[str], tx: Tx) -> None:
    """This version in place of the one before, if any, for events of these types."""
    number = await goes_out_of_force(workflow_id, tx)
    await tx.execute(_BEGINS, tx.practice_id, workflow_id, number, version, list(events))


async def goes_out_of_force(workflow_id: UUID, tx: Tx) -> int:
    """Whatever version of it was in force is no more, from the revision returned."""
    number = await next_revision(tx)
    await tx.execute(_ENDS, tx.practice_id, workflow_id, number)
    return number
