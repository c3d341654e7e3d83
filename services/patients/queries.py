"""Named selects. Every one is scoped to the practice of the transaction, by row security and by itself."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from sqlalchemy import select, tuple_

from libs.common.work import Tx
from services.patients.model import Patient, TimelineEntry


async def patient_by_id(patient_id: UUID, tx: Tx, *, for_update: bool = False) -> Patient | None:
    query = select(Patient).where(Patient.practice_id == tx.practice_id, Patient.id == patient_id)
    return (await tx.session.execute(query.with_for_update() if for_update else query)).scalar_one_or_none()


async def patients_by_name(tx: Tx, *, after: tuple[str, ...] | None, limit: int) -> list[Patient]:
    """Ordered by family name, given name, id; one more than ``limit`` when there is more."""
    query = select(Patient).where(Patient.practice_id == tx.practice_id)
    if after is not None:
        family, given, patient_id = after
        query = query.where(tuple_(Patient.family_name, Patient.given_name, Patient.id) > (family, given, UUID(patient_id)))
    query = query.order_by(Patient.family_name, Patient.given_name, Patient.id).limit(limit + 1)
    return list((await tx.session.execute(query)).scalars())


async def timeline_of(
    patient_id: UUID, tx: Tx, *, kinds: list[str] | None, after: tuple[str, ...] | None, limit: int
) -> list[TimelineEntry]:
    """Newest first; one more than ``limit`` when there is more."""
    query = select(TimelineEntry).where(TimelineEntry.practice_id == tx.practice_id, TimelineEntry.patient_id == patient_id)
    if kinds:
        query = query.where(TimelineEntry.kind.in_(kinds))
    if after is not None:
        at, entry_id = after
        query = query.where(tuple_(TimelineEntry.at, TimelineEntry.id) < (datetime.fromisoformat(at), UUID(entry_id)))
    query = query.order_by(TimelineEntry.at.desc(), TimelineEntry.id.desc()).limit(limit + 1)
    return list((await tx.session.execute(query)).scalars())
