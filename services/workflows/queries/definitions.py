"""Named selects over workflows, their versions, and the action catalogue."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any
from uuid import UUID

import asyncpg
from sqlalchemy import select

from libs.common.work import Tx
from services.workflows.model import PublishedVersion, Workflow

Version = tuple[UUID, UUID, int]
"""Practice, workflow and number."""


async def workflow_by_id(workflow_id: UUID, tx: Tx, *, for_update: bool = False) -> Workflow | None:
    query = select(Workflow).where(Workflow.practice_id == tx.practice_id, Workflow.id == workflow_id)
    # Not against rows that refer to it: an enrolment written meanwhile does not wait for a publication, nor the other way round.
    locked = query.with_for_update(key_share=True) if for_update else query
    return (await tx.session.execute(locked)).scalar_one_or_none()


async def workflow_ids(tx: Tx) -> frozenset[UUID]:
    """Every workflow of the practice."""
    return frozenset((await tx.session.execute(select(Workflow.id).where(Workflow.practice_id == tx.practice_id))).scalars())


async def published_version(workflow_id: UUID, version: int, tx: Tx) -> PublishedVersion | None:
    return await tx.session.get(PublishedVersion, (tx.practice_id, workflow_id, version))


async def versions(workflow_id: UUID, tx: Tx, *, before: int | None, limit: int) -> list[PublishedVersion]:
    """Newest first; one more than ``limit`` when there is more."""
    query = select(PublishedVersion).where(PublishedVersion.practice_id == tx.practice_id, PublishedVersion.workflow_id == workflow_id)
    if before is not None:
        query = query.where(PublishedVersion.version < before)
    return list((await tx.session.execute(query.order_by(PublishedVersion.version.desc()).limit(limit + 1))).scalars())


async def version_exists(workflow_id: UUID, version: int, tx: Tx) -> bool:
    return await tx.session.get(PublishedVersion, (tx.practice_id, workflow_id, version)) is not None


async def published(practice_ids: list[UUID], tx: Tx, workflow_id: UUID | None = None) -> list[asyncpg.Record]:
    """What is in force in these practices, or the one workflow."""
    return await tx.rows(
        """
        SELECT v.practice_id, v.workflow_id, v.version, v.name, v.definition, w.paused FROM workflow w
        JOIN workflow_version v ON v.practice_id = w.practice_id AND v.workflow_id = w.id AND v.version = w.published_version
        WHERE w.practice_id = ANY($1::uuid[]) AND ($2::uuid IS NULL OR w.id = $2) ORDER BY v.practice_id, v.workflow_id
        """,
        practice_ids,
        workflow_id,
    )


async def state_of_practices(practice_ids: list[UUID], tx: Tx) -> list[asyncpg.Record]:
    """What is in force in these practices, each row with the practice's revision; a practice with nothing in force has one row without a workflow.

    One statement: a publication that commits meanwhile is in all of it or in nothing.
    """
    return await tx.rows(
        """
        SELECT p AS practice_id, coalesce(r.number, 0) AS revision, v.workflow_id, v.version, v.name, w.paused FROM unnest($1::uuid[]) AS p
        LEFT JOIN revision r ON r.practice_id = p
        LEFT JOIN (workflow w JOIN workflow_version v ON v.practice_id = w.practice_id AND v.workflow_id = w.id AND v.version = w.published_version)
          ON w.practice_id = p ORDER BY p, v.workflow_id
        """,
        practice_ids,
    )


async def frozen(versions: list[Version], tx: Tx) -> dict[Version, dict[str, Any]]:
    """The definitions of these versions."""
    rows = await tx.rows(
        """
        SELECT v.practice_id, v.workflow_id, v.version, v.definition FROM workflow_version v
        JOIN unnest($1::uuid[], $2::uuid[], $3::int[]) AS t (practice_id, workflow_id, version) USING (practice_id, workflow_id, version)
        """,
        [practice_id for practice_id, _, _ in versions], [workflow_id for _, workflow_id, _ in versions], [version for *_, version in versions],
    )  # fmt: skip
    return {(row["practice_id"], row["workflow_id"], row["version"]): row["definition"] for row in rows}


async def version_of(practice_id: UUID, workflow_id: UUID, version: int, tx: Tx) -> dict[str, Any]:
    """The frozen definition a run started with."""
    definition: dict[str, Any] = await tx.value(
        "SELECT definition FROM workflow_version WHERE practice_id = $1 AND workflow_id = $2 AND version = $3",
        practice_id,
        workflow_id,
        version,
    )
    return definition


async def catalogue(tx: Tx) -> dict[str, dict[str, Any]]:
    """Every action any service offers, by name."""
    return {row["name"]: row["description"] for row in await tx.rows("SELECT name, description FROM action ORDER BY name")}


async def action_owners(names: Iterable[str], tx: Tx) -> dict[str, str]:
    """Which service performs each action."""
    sql = "SELECT name, description ->> 'owner_service' AS owner FROM action WHERE name = ANY($1::text[])"
    return {row["name"]: row["owner"] for row in await tx.rows(sql, list(names))}
