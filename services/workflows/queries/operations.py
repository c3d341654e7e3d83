"""Named selects for what starts and steers runs besides events."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from uuid import UUID

import asyncpg

from libs.common.work import Tx
from services.workflows.queries.world import Key


async def scheduled(practice_id: UUID, tx: Tx) -> list[asyncpg.Record]:
    """The schedules of a practice, with the trigger in force."""
    return await tx.rows(
        """
        SELECT s.workflow_id, v.definition -> 'trigger' AS trigger FROM schedule s
        JOIN workflow w ON w.practice_id = s.practice_id AND w.id = s.workflow_id
        JOIN workflow_version v ON v.practice_id = w.practice_id AND v.workflow_id = w.id AND v.version = w.published_version
        WHERE s.practice_id = $1 AND v.definition -> 'trigger' ->> 'kind' = 'schedule' ORDER BY s.workflow_id
        """,
        practice_id,
    )


async def patients_after(practice_id: UUID, after: UUID | None, limit: int, tx: Tx) -> list[asyncpg.Record]:
    """Patients in the order of their ids, from behind ``after``."""
    return await tx.rows(
        "SELECT * FROM patient WHERE practice_id = $1 AND ($2::uuid IS NULL OR id > $2) ORDER BY id LIMIT $3", practice_id, after, limit
    )


async def patient_count(practice_id: UUID, tx: Tx) -> int:
    found: int = await tx.value("SELECT count(*) FROM patient WHERE practice_id = $1", practice_id)
    return found


async def active_patients(practice_id: UUID, workflow_id: UUID, people: Sequence[UUID | None], tx: Tx) -> set[UUID | None]:
    """Which of these (None: the practice itself) have a run of the workflow that goes on."""
    rows: list[Any] = await tx.rows(
        """
        SELECT DISTINCT patient_id FROM run WHERE practice_id = $1 AND workflow_id = $2 AND status = 'running'
          AND (patient_id = ANY($3::uuid[]) OR patient_id IS NULL)
        """,
        practice_id, workflow_id, [one for one in people if one is not None],
    )  # fmt: skip
    return {row["patient_id"] for row in rows}


async def active_pairs(pairs: Sequence[tuple[UUID, UUID]], tx: Tx) -> set[tuple[UUID, UUID]]:
    """Of these (workflow and patient), those with a run that goes on."""
    rows = await tx.rows(
        """
        SELECT DISTINCT workflow_id, patient_id FROM run r JOIN unnest($2::uuid[], $3::uuid[]) AS t (workflow_id, patient_id)
          USING (workflow_id, patient_id) WHERE r.practice_id = $1 AND r.status = 'running'
        """,
        tx.practice_id, [workflow for workflow, _ in pairs], [patient for _, patient in pairs],
    )  # fmt: skip
    return {(row["workflow_id"], row["patient_id"]) for row in rows}


async def decision_on(practice_id: UUID, event_id: UUID, workflow_id: UUID, tx: Tx) -> tuple[str, UUID | None]:
    """What was decided about one workflow at one event, and the run it started."""
    decisions = await tx.value("SELECT decisions FROM event_log WHERE practice_id = $1 AND event_id = $2", practice_id, event_id)
    for workflow, _, verdict, run_id in decisions or ():
        if workflow == str(workflow_id):
            return verdict, UUID(run_id) if run_id else None
    return "unknown", None


async def latest_rerun(workflow_id: UUID, event_id: UUID, tx: Tx) -> int:
    """How often the workflow was run again for an event; 0 for never."""
    found: int = await tx.value(
        "SELECT coalesce(max(rerun), 0) FROM run WHERE practice_id = $1 AND workflow_id = $2 AND trigger_event_id = $3",
        tx.practice_id, workflow_id, event_id,
    )  # fmt: skip
    return found


async def version_named(workflow_id: UUID, version: int, tx: Tx) -> str | None:
    """The name of a version that was published once."""
    found: str | None = await tx.value(
        "SELECT name FROM workflow_version WHERE practice_id = $1 AND workflow_id = $2 AND version = $3",
        tx.practice_id,
        workflow_id,
        version,
    )
    return found


async def pause_of(workflow_id: UUID, tx: Tx) -> bool | None:
    """Whether the workflow is paused; None for one there is not."""
    found: bool | None = await tx.value("SELECT paused FROM workflow WHERE practice_id = $1 AND id = $2", tx.practice_id, workflow_id)
    return found


async def held_runs(workflow_id: UUID, after: UUID | None, limit: int, tx: Tx) -> list[UUID]:
    """Runs held with their workflow, the oldest ids first."""
    rows = await tx.rows(
        """
        SELECT id FROM run WHERE practice_id = $1 AND workflow_id = $2 AND status = 'running' AND held AND ($3::uuid IS NULL OR id > $3)
        ORDER BY id LIMIT $4
        """,
        tx.practice_id, workflow_id, after, limit,
    )  # fmt: skip
    return [row["id"] for row in rows]


async def durable_runs(workflow_id: UUID, tx: Tx) -> list[UUID]:
    """Runs of a workflow that go on, are not paused, and that another engine than ours keeps going."""
    rows = await tx.rows(
        "SELECT id FROM run WHERE practice_id = $1 AND workflow_id = $2 AND status = 'running' AND NOT paused AND engine <> 'builtin'",
        tx.practice_id, workflow_id,
    )  # fmt: skip
    return [row["id"] for row in rows]


async def backlog_of(workflow_id: UUID, tx: Tx) -> asyncpg.Record:
    """How many runs are held with their workflow, and since when the oldest waits."""
    found = await tx.row(
        "SELECT count(*) AS held, min(started_at) AS oldest FROM run WHERE practice_id = $1 AND workflow_id = $2 AND status = 'running' AND held",
        tx.practice_id, workflow_id,
    )  # fmt: skip
    assert found is not None
    return found


async def suppressions(tx: Tx, *, after: tuple[str, ...] | None, limit: int) -> list[asyncpg.Record]:
    """The suppression list in the order of patient ids; one more than ``limit`` when there is more."""
    return await tx.rows(
        "SELECT * FROM suppression WHERE practice_id = $1 AND ($2::uuid IS NULL OR patient_id > $2) ORDER BY patient_id LIMIT $3",
        tx.practice_id, UUID(after[0]) if after else None, limit + 1,
    )  # fmt: skip


async def webhook_secret(practice_id: UUID, workflow_id: UUID, tx: Tx) -> asyncpg.Record | None:
    """The sealed secrets of a workflow's address."""
    return await tx.row("SELECT * FROM webhook_secret WHERE practice_id = $1 AND workflow_id = $2", practice_id, workflow_id)


async def active_runs(workflow_id: UUID, patient_id: UUID, but: UUID, limit: int, tx: Tx) -> list[UUID]:
    """Runs of a workflow that go on for a patient, without one."""
    rows = await tx.rows(
        "SELECT id FROM run WHERE practice_id = $1 AND workflow_id = $2 AND patient_id = $3 AND status = 'running' AND id <> $4 ORDER BY id LIMIT $5",
        tx.practice_id, workflow_id, patient_id, but, limit,
    )  # fmt: skip
    return [row["id"] for row in rows]


async def runs_of_patient(patient_id: UUID, limit: int, tx: Tx) -> list[UUID]:
    """Runs that go on for a patient, of whatever workflow."""
    rows = await tx.rows(
        "SELECT id FROM run WHERE practice_id = $1 AND patient_id = $2 AND status = 'running' ORDER BY id LIMIT $3",
        tx.practice_id,
        patient_id,
        limit,
    )
    return [row["id"] for row in rows]


async def appointment_of(run_id: UUID, tx: Tx) -> UUID | None:
    """Which appointment a run is about."""
    found: UUID | None = await tx.value("SELECT appointment_id FROM run WHERE practice_id = $1 AND id = $2", tx.practice_id, run_id)
    return found


async def suppressed_among(patients: Sequence[Key], tx: Tx) -> set[Key]:
    """Which of these (practice and patient) are on the suppression list."""
    rows = await tx.rows(
        "SELECT practice_id, patient_id FROM suppression JOIN unnest($1::uuid[], $2::uuid[]) AS t (practice_id, patient_id) USING (practice_id, patient_id)",
        [practice_id for practice_id, _ in patients], [patient_id for _, patient_id in patients],
    )  # fmt: skip
    return {(row["practice_id"], row["patient_id"]) for row in rows}


async def suspended(practice_id: UUID, tx: Tx) -> bool:
    """Whether the practice may not work now."""
    return bool(await tx.value("SELECT suspended FROM access_practice WHERE practice_id = $1", practice_id))
