"""Named selects. Every one is scoped to the practice of the transaction, by row security and by itself."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

import asyncpg
from sqlalchemy import ColumnElement, select, tuple_

from libs.common.work import Tx
from services.patients.model import Patient, TimelineEntry

_TAGS = """
SELECT t.id, t.name, p.added_at, p.added_by FROM patient_tag p JOIN tag t ON t.practice_id = p.practice_id AND t.id = p.tag_id
WHERE p.practice_id = $1 AND p.patient_id = $2 ORDER BY t.key
"""
_ALL_TAGS = """
SELECT t.id, t.name, (SELECT count(*) FROM patient_tag p WHERE p.practice_id = t.practice_id AND p.tag_id = t.id) AS patients
FROM tag t WHERE t.practice_id = $1 AND ($2::text IS NULL OR (t.name, t.id) > ($2, $3::uuid)) ORDER BY t.name, t.id LIMIT $4
"""
_NOTES = """
SELECT id, text, added_at, added_by FROM note
WHERE practice_id = $1 AND patient_id = $2 AND removed_at IS NULL AND ($3::uuid IS NULL OR id < $3) ORDER BY id DESC LIMIT $4
"""


async def patient_by_id(patient_id: UUID, tx: Tx, *, for_update: bool = False) -> Patient | None:
    query = select(Patient).where(Patient.practice_id == tx.practice_id, Patient.id == patient_id)
    return (await tx.session.execute(query.with_for_update() if for_update else query)).scalar_one_or_none()


async def patients_by_name(tx: Tx, *, after: tuple[str, ...] | None, limit: int, only: ColumnElement[bool] | None = None) -> list[Patient]:
    """Ordered by family name, given name, id; one more than ``limit`` when there is more. ``only``: those it is true of."""
    query = select(Patient).where(Patient.practice_id == tx.practice_id)
    if only is not None:
        query = query.where(only)
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


async def tags_of(patient_id: UUID, tx: Tx) -> list[asyncpg.Record]:
    return await tx.rows(_TAGS, tx.practice_id, patient_id)


async def tags_of_practice(tx: Tx, *, after: tuple[str, ...] | None, limit: int) -> list[asyncpg.Record]:
    """By name; one more than ``limit`` when there is more."""
    name, tag_id = after or (None, None)
    return await tx.rows(_ALL_TAGS, tx.practice_id, name, UUID(tag_id) if tag_id else None, limit + 1)


async def notes_of(patient_id: UUID, tx: Tx, *, after: tuple[str, ...] | None, limit: int) -> list[asyncpg.Record]:
    """Newest first; one more than ``limit`` when there is more."""
    return await tx.rows(_NOTES, tx.practice_id, patient_id, UUID(after[0]) if after else None, limit + 1)
