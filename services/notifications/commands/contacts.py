"""Follow the patients' names and addresses."""

from __future__ import annotations

import asyncio
from typing import Any
from uuid import UUID

from libs.common.auth import Principal
from libs.common.messaging import Received
from libs.common.work import Tx, Work
from services.notifications.queries import is_contact

_FOLLOW = """
INSERT INTO contact (practice_id, patient_id, version, name, email)
SELECT DISTINCT ON (practice_id, patient_id) * FROM unnest($1::uuid[], $2::uuid[], $3::int[], $4::text[], $5::text[])
  AS t (practice_id, patient_id, version, name, email) ORDER BY practice_id, patient_id, version DESC
ON CONFLICT (practice_id, patient_id) DO UPDATE SET version = excluded.version, name = excluded.name, email = excluded.email
WHERE contact.version < excluded.version
"""

LOOKS = 10
LOOK_AGAIN_SECONDS = 0.1


async def await_contact(patient_id: UUID, practice_id: UUID, work: Work) -> None:
    """Give a patient registered a moment ago time to arrive here: returns when they have, or after a second."""
    for _ in range(LOOKS):
        async with work(Principal.system("notifications", practice_id)) as tx:
            if await is_contact(patient_id, tx):
                return
        await asyncio.sleep(LOOK_AGAIN_SECONDS)


async def follow_patients(events: list[Received[Any]], tx: Tx) -> None:
    """Keep the newest details of each patient."""
    await tx.execute(
        _FOLLOW,
        [event.practice_id for event in events],
        [event.data.patient_id for event in events],
        [event.data.version for event in events],
        [f"{event.data.details.given_name} {event.data.details.family_name}" for event in events],
        [event.data.details.email for event in events],
    )
