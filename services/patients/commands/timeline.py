"""What happened to a patient, told by the events of every service: one entry per event, newest read first."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Self
from uuid import UUID

from pydantic import BaseModel

from libs.common.messaging import Received
from libs.common.work import Tx, json_text
from libs.contracts.marks import without_personal
from libs.contracts.patients import PatientRecordViewed
from services.patients.commands.records import PatientNotFound
from services.patients.model import TimelineEntry
from services.patients.queries.records import patient_by_id, timeline_of

_INSERT = """
INSERT INTO timeline_entry (practice_id, id, patient_id, at, kind, subject, actor, correlation_id, details)
SELECT * FROM unnest($1::uuid[], $2::uuid[], $3::uuid[], $4::timestamptz[], $5::text[], $6::text[], $7::text[], $8::text[], $9::jsonb[])
ON CONFLICT DO NOTHING
"""


class TimelineView(BaseModel):
    """One entry: ``kind`` is the event's name without owner and version. Times are UTC."""

    id: UUID
    at: datetime
    kind: str
    subject: str
    actor: str
    correlation_id: str
    details: dict[str, Any]

    @classmethod
    def of(cls, entry: TimelineEntry) -> Self:
        return cls(
            id=entry.id, at=entry.at, kind=entry.kind, subject=entry.subject, actor=entry.actor,
            correlation_id=entry.correlation_id, details=entry.details,
        )  # fmt: skip


async def add_to_timeline(events: list[Received[Any]], tx: Tx) -> None:
    """An entry for every event that names a patient. The entry's id is the event's: once, whatever is delivered again."""
    told = [event for event in events if event.data.patient_id is not None]
    if not told:
        return
    await tx.execute(
        _INSERT,
        [event.practice_id for event in told],
        [event.id for event in told],
        [event.data.patient_id for event in told],
        [event.time for event in told],
        [event.type.split(".")[2] for event in told],
        [event.subject for event in told],
        [event.actor for event in told],
        [event.correlation_id for event in told],
        [json_text(without_personal(event.data)) for event in told],
    )


async def show_timeline(
    patient_id: UUID, tx: Tx, *, kinds: list[str] | None, after: tuple[str, ...] | None, limit: int
) -> list[TimelineView]:
    """Newest first, one more than ``limit`` when there is more. Raises ``PatientNotFound``."""
    if await patient_by_id(patient_id, tx) is None:
        raise PatientNotFound
    entries = await timeline_of(patient_id, tx, kinds=kinds, after=after, limit=limit)
    tx.emit(PatientRecordViewed(patient_id=patient_id, view="timeline"))
    return [TimelineView.of(entry) for entry in entries]
