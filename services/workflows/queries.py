"""Named selects over definitions, runs and projections."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Any
from uuid import UUID

import asyncpg
from sqlalchemy import select, tuple_

from libs.common.work import Tx
from services.workflows.model import PublishedVersion, Workflow

Key = tuple[UUID, UUID]
"""Practice id and id: what identifies a row of a tenant table."""


async def workflow_by_id(workflow_id: UUID, tx: Tx, *, for_update: bool = False) -> Workflow | None:
    query = select(Workflow).where(Workflow.practice_id == tx.practice_id, Workflow.id == workflow_id)
    return (await tx.session.execute(query.with_for_update() if for_update else query)).scalar_one_or_none()


async def workflows(tx: Tx, *, after: tuple[str, ...] | None, limit: int) -> list[Workflow]:
    """By name; one more than ``limit`` when there is more."""
    query = select(Workflow).where(Workflow.practice_id == tx.practice_id).order_by(Workflow.name, Workflow.id).limit(limit + 1)
    if after is not None:
        query = query.where(tuple_(Workflow.name, Workflow.id) > (after[0], UUID(after[1])))
    return list((await tx.session.execute(query)).scalars())


async def version_exists(workflow_id: UUID, version: int, tx: Tx) -> bool:
    return await tx.session.get(PublishedVersion, (tx.practice_id, workflow_id, version)) is not None


async def revisions(practice_ids: Iterable[UUID], tx: Tx) -> dict[UUID, int]:
    """Which state of its published workflows each practice has; 0 for one that never published."""
    ids = list(practice_ids)
    rows = await tx.rows("SELECT practice_id, number FROM revision WHERE practice_id = ANY($1::uuid[])", ids)
    return dict.fromkeys(ids, 0) | {row["practice_id"]: row["number"] for row in rows}


async def published(practice_ids: list[UUID], tx: Tx) -> list[asyncpg.Record]:
    return await tx.rows(
        """
        SELECT v.practice_id, v.workflow_id, v.version, v.name, v.definition FROM workflow w
        JOIN workflow_version v ON v.practice_id = w.practice_id AND v.workflow_id = w.id AND v.version = w.published_version
        WHERE w.practice_id = ANY($1::uuid[]) ORDER BY v.practice_id, v.workflow_id
        """,
        practice_ids,
    )


async def version_of(practice_id: UUID, workflow_id: UUID, version: int, tx: Tx) -> dict[str, Any]:
    """The frozen definition a run started with."""
    definition: dict[str, Any] = await tx.value(
        "SELECT definition FROM workflow_version WHERE practice_id = $1 AND workflow_id = $2 AND version = $3",
        practice_id,
        workflow_id,
        version,
    )
    return definition


async def patients(keys: Iterable[Key], tx: Tx) -> dict[Key, dict[str, Any]]:
    return await _projected(
        "SELECT p.* FROM unnest($1::uuid[], $2::uuid[]) AS t (practice_id, id) JOIN patient p USING (practice_id, id)", keys, tx
    )


async def appointments(keys: Iterable[Key], tx: Tx) -> dict[Key, dict[str, Any]]:
    return await _projected(
        "SELECT a.* FROM unnest($1::uuid[], $2::uuid[]) AS t (practice_id, id) JOIN appointment a USING (practice_id, id)", keys, tx
    )


async def _projected(sql: str, keys: Iterable[Key], tx: Tx) -> dict[Key, dict[str, Any]]:
    wanted = sorted(set(keys))
    if not wanted:
        return {}
    rows = await tx.rows(sql, [key[0] for key in wanted], [key[1] for key in wanted])
    return {(row["practice_id"], row["id"]): dict(row) for row in rows}


async def practices(practice_ids: Iterable[UUID], tx: Tx) -> dict[UUID, dict[str, Any]]:
    """Name and time zone; a practice not heard of yet has only its id."""
    ids = list(set(practice_ids))
    rows = await tx.rows("SELECT practice_id, name, time_zone FROM practice WHERE practice_id = ANY($1::uuid[])", ids)
    known = {row["practice_id"]: {"id": row["practice_id"], "name": row["name"], "time_zone": row["time_zone"]} for row in rows}
    return {practice_id: known.get(practice_id, {"id": practice_id}) for practice_id in ids}


async def catalogue(tx: Tx) -> dict[str, dict[str, Any]]:
    """Every action any service offers, by name."""
    return {row["name"]: row["description"] for row in await tx.rows("SELECT name, description FROM action ORDER BY name")}


async def action_owners(names: Iterable[str], tx: Tx) -> dict[str, str]:
    """Which service performs each action."""
    sql = "SELECT name, description ->> 'owner_service' AS owner FROM action WHERE name = ANY($1::text[])"
    return {row["name"]: row["owner"] for row in await tx.rows(sql, list(names))}


async def runs_for_change(keys: list[Key], tx: Tx) -> dict[Key, asyncpg.Record]:
    """The runs, locked in one order so that two batches cannot wait for each other."""
    rows = await tx.rows(
        """
        SELECT r.* FROM run r JOIN unnest($1::uuid[], $2::uuid[]) AS t (practice_id, id) USING (practice_id, id)
        ORDER BY r.practice_id, r.id FOR UPDATE OF r
        """,
        [key[0] for key in keys], [key[1] for key in keys],
    )  # fmt: skip
    return {(row["practice_id"], row["id"]): row for row in rows}


async def runs(
    tx: Tx, *, workflow_id: UUID | None, patient_id: UUID | None, status: str | None, after: tuple[str, ...] | None, limit: int
) -> list[asyncpg.Record]:
    """Newest first; one more than ``limit`` when there is more."""
    return await tx.rows(
        """
        SELECT * FROM run WHERE practice_id = $1 AND ($2::uuid IS NULL OR workflow_id = $2) AND ($3::uuid IS NULL OR patient_id = $3)
          AND ($4::text IS NULL OR status = $4) AND ($5::timestamptz IS NULL OR (started_at, id) < ($5, $6::uuid))
        ORDER BY started_at DESC, id DESC LIMIT $7
        """,
        tx.practice_id, workflow_id, patient_id, status, datetime.fromisoformat(after[0]) if after else None,
        UUID(after[1]) if after else None, limit + 1,
    )  # fmt: skip


async def run_by_id(run_id: UUID, tx: Tx) -> asyncpg.Record | None:
    return await tx.row("SELECT * FROM run WHERE practice_id = $1 AND id = $2", tx.practice_id, run_id)


async def steps_of(run_id: UUID, tx: Tx) -> list[asyncpg.Record]:
    """In the order of the definition the run started with."""
    return await tx.rows(
        """
        SELECT s.* FROM run r JOIN workflow_version v USING (practice_id, workflow_id, version)
        CROSS JOIN LATERAL jsonb_array_elements(v.definition -> 'steps') WITH ORDINALITY AS d (step, position)
        JOIN step s ON s.practice_id = r.practice_id AND s.run_id = r.id AND s.step_id = d.step ->> 'id'
        WHERE r.practice_id = $1 AND r.id = $2 ORDER BY d.position
        """,
        tx.practice_id, run_id,
    )  # fmt: skip
