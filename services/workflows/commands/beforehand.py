"""What real runs had left behind when the span of a backtest begins: who had been through, who was on the way.

Read as it was then, from enrolments and from when runs began and ended, so that a backtest starts nothing that the practice
would not have had. Of a key that was let in again within the span only a policy ``once`` can tell when it was let in before.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from libs.common.work import Tx
from libs.contracts.scheduling import AppointmentBooked
from services.workflows.queries import backtests
from services.workflows.queries.definitions import catalogue
from services.workflows.rules.definitions.compiling import CompiledDefinition
from services.workflows.rules.definitions.triggers import started_types
from services.workflows.rules.simulation.answering import made_up
from services.workflows.rules.simulation.given import Given

PAGE = 2000
MOST_ENROLLED = 500_000


async def given_at(
    practice_id: UUID, workflow_id: UUID, versions: Sequence[CompiledDefinition], span: tuple[datetime, datetime], tx: Tx
) -> Given:
    """Only what these versions ask of it is read."""
    policies = {one.definition.enrolment.policy for one in versions if one.definition.enrolment}
    books = any(AppointmentBooked.type in started_types(one.definition.trigger) for one in versions)
    since, _ = span
    return Given(
        suppressed=await backtests.suppressed_patients(practice_id, tx),
        enrolled=await _enrolled(practice_id, workflow_id, since, tx) if policies & {"once", "by_key"} else {},
        active=await backtests.active_at(practice_id, workflow_id, since, tx) if "once_while_active" in policies else {},
        waiting=await backtests.waiting_at(practice_id, workflow_id, since, tx) if any(one.anchored for one in versions) else {},
        booked=await backtests.booked_before(practice_id, workflow_id, span, tx) if books else {},
        results={name: made_up(described["result_schema"]) for name, described in (await catalogue(tx)).items()},
    )


async def _enrolled(practice_id: UUID, workflow_id: UUID, since: datetime, tx: Tx) -> dict[str, Any]:
    """Page by page; what is beyond the most that are kept counts as never enrolled."""
    found = await backtests.enrolled_again(practice_id, workflow_id, since, tx)
    after = ""
    while len(found) < MOST_ENROLLED:
        rows = await backtests.enrolled_before(practice_id, workflow_id, since, after, PAGE, tx)
        found |= {row["key"]: (row["at"], row["until"]) for row in rows}
        if len(rows) < PAGE:
            break
        after = rows[-1]["key"]
    return found
