"""Named selects over runs and their steps."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID

import asyncpg

from libs.common.work import Tx
from services.workflows.queries.world import Key
from services.workflows.rules.definitions.definition import Definition
from services.workflows.rules.definitions.steps import walk


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


async def runs(tx: Tx, *, after: tuple[str, ...] | None, limit: int, **wanted: Any) -> list[asyncpg.Record]:
    """Newest first; one more than ``limit`` when there is more.

    ``wanted``: workflow_id, patient_id, status, error_code, failed_step, trigger (the event type), stuck; None does not count.
    """
    return await tx.rows(
        """
        SELECT * FROM run r WHERE practice_id = $1 AND ($2::uuid IS NULL OR workflow_id = $2) AND ($3::uuid IS NULL OR patient_id = $3)
          AND ($4::text IS NULL OR status = $4) AND ($5::timestamptz IS NULL OR (started_at, id) < ($5, $6::uuid))
          AND ($8::text IS NULL OR error_code = $8) AND ($9::text IS NULL OR failed_step = $9) AND ($10::text IS NULL OR trigger_type = $10)
          AND ($11::bool IS NULL OR $11 = EXISTS (SELECT FROM stuck s WHERE s.practice_id = r.practice_id AND s.run_id = r.id))
        ORDER BY started_at DESC, id DESC LIMIT $7
        """,
        tx.practice_id, wanted.get("workflow_id"), wanted.get("patient_id"), wanted.get("status"),
        datetime.fromisoformat(after[0]) if after else None, UUID(after[1]) if after else None, limit + 1,
        wanted.get("error_code"), wanted.get("failed_step"), wanted.get("trigger"), wanted.get("stuck"),
    )  # fmt: skip


async def kept_for(keys: list[Key], tx: Tx) -> list[Key]:
    """Of these runs those for which something was kept that they have yet to take up."""
    rows = await tx.rows(
        "SELECT DISTINCT i.practice_id, i.run_id FROM run_input i JOIN unnest($1::uuid[], $2::uuid[]) AS t (practice_id, run_id) USING (practice_id, run_id)",
        [key[0] for key in keys], [key[1] for key in keys],
    )  # fmt: skip
    return [(row["practice_id"], row["run_id"]) for row in rows]


async def stuck_causes(run_id: UUID, tx: Tx) -> list[asyncpg.Record]:
    """Why somebody has to look at a run."""
    return await tx.rows("SELECT * FROM stuck WHERE practice_id = $1 AND run_id = $2 ORDER BY since, step_id", tx.practice_id, run_id)


async def unknown_effects(tx: Tx, *, after: tuple[str, ...] | None, limit: int) -> list[asyncpg.Record]:
    """Steps whose outcome nobody knows, with their runs; the oldest first, one more than ``limit`` when there is more."""
    return await tx.rows(
        """
        SELECT s.run_id, s.step_id, s.action, s.effect_key, s.attempt, s.error_code, s.started_at AS since, r.workflow_id, r.workflow_name,
          r.version, r.patient_id, r.status AS run_status
        FROM step s JOIN run r ON r.practice_id = s.practice_id AND r.id = s.run_id
        WHERE s.practice_id = $1 AND s.status = 'unknown' AND ($2::timestamptz IS NULL OR (s.started_at, s.run_id, s.step_id) > ($2, $3::uuid, $4::text))
        ORDER BY s.started_at, s.run_id, s.step_id LIMIT $5
        """,
        tx.practice_id, datetime.fromisoformat(after[0]) if after else None, UUID(after[1]) if after else None, after[2] if after else None,
        limit + 1,
    )  # fmt: skip


async def run_by_id(run_id: UUID, tx: Tx) -> asyncpg.Record | None:
    return await tx.row("SELECT * FROM run WHERE practice_id = $1 AND id = $2", tx.practice_id, run_id)


async def steps_of(run_id: UUID, tx: Tx) -> list[asyncpg.Record]:
    """In the order of the definition the run started with."""
    definition = await tx.value(
        "SELECT v.definition FROM run r JOIN workflow_version v USING (practice_id, workflow_id, version) WHERE r.practice_id = $1 AND r.id = $2",
        tx.practice_id, run_id,
    )  # fmt: skip
    rows = await tx.rows("SELECT * FROM step WHERE practice_id = $1 AND run_id = $2", tx.practice_id, run_id)
    if definition is None:
        return rows
    places = {step.id: place for place, (step, _, _) in enumerate(walk(Definition.model_validate(definition).steps))}
    return sorted(rows, key=lambda row: places.get(row["step_id"], -1))


async def begun(keys: list[Key], tx: Tx) -> dict[UUID, datetime]:
    """Which of these runs exist, and since when."""
    if not keys:
        return {}
    rows = await tx.rows(
        "SELECT r.id, r.started_at FROM run r JOIN unnest($1::uuid[], $2::uuid[]) AS t (practice_id, id) USING (practice_id, id)",
        [key[0] for key in keys], [key[1] for key in keys],
    )  # fmt: skip
    return {row["id"]: row["started_at"] for row in rows}


async def depths_of(causes: list[tuple[UUID, UUID]], tx: Tx) -> dict[tuple[UUID, UUID], int]:
    """How deep the runs stand whose action requests (by practice and message id) caused something."""
    if not causes:
        return {}
    rows = await tx.rows(
        """
        SELECT o.practice_id, o.id, r.depth FROM unnest($1::uuid[], $2::uuid[]) AS t (practice_id, id)
        JOIN outbox o USING (practice_id, id) JOIN run r ON r.practice_id = o.practice_id AND r.id = (o.payload ->> 'run_id')::uuid
        """,
        [practice_id for practice_id, _ in causes], [message_id for _, message_id in causes],
    )  # fmt: skip
    return {(row["practice_id"], row["id"]): row["depth"] for row in rows}


async def anchored_runs(appointments: list[Key], tx: Tx) -> list[asyncpg.Record]:
    """Runs that wait for a time of these appointments (practice and appointment id)."""
    return await tx.rows(
        """
        SELECT r.practice_id, r.id, r.appointment_id, r.patient_id FROM run r
        JOIN unnest($1::uuid[], $2::uuid[]) AS t (practice_id, appointment_id) USING (practice_id, appointment_id)
        WHERE r.status = 'running' AND r.anchored
        """,
        [key[0] for key in appointments], [key[1] for key in appointments],
    )  # fmt: skip


async def waits_for_time(workflow_id: UUID, appointment_id: UUID, tx: Tx) -> bool:
    """Whether a run of the workflow waits for the time of this appointment first of all, or is about to."""
    found: bool = await tx.value(
        """
        SELECT EXISTS (SELECT FROM run WHERE practice_id = $1 AND workflow_id = $2 AND appointment_id = $3 AND status = 'running' AND cursor = 0
          AND (anchored OR NOT waiting))
        """,
        tx.practice_id, workflow_id, appointment_id,
    )  # fmt: skip
    return found


async def called_off_since(anchors: list[tuple[UUID, str]], cancelled: str, tx: Tx) -> set[UUID]:
    """Of ended runs (each with a step that waits for a time of its appointment): those that came to it, and whose appointment was
    cancelled since they ended, by an event of the type ``cancelled``. One they waited for themselves is no news to them.
    """
    rows = await tx.rows(
        """
        SELECT DISTINCT r.id FROM unnest($2::uuid[], $3::text[]) AS t (run_id, step_id)
        JOIN run r ON r.practice_id = $1 AND r.id = t.run_id
        JOIN step s ON s.practice_id = $1 AND s.run_id = t.run_id AND s.step_id = t.step_id AND s.status = 'succeeded'
        JOIN appointment a ON a.practice_id = $1 AND a.id = r.appointment_id AND a.status = 'cancelled'
        WHERE EXISTS (SELECT FROM event_log e WHERE e.practice_id = $1 AND e.appointment_id = r.appointment_id AND e.type = $4
          AND e.recorded_at >= r.finished_at
          AND NOT EXISTS (SELECT FROM jsonb_each(r.memory -> 'outputs') o WHERE o.value ->> 'id' = e.event_id::text))
        """,
        tx.practice_id, [run_id for run_id, _ in anchors], [step_id for _, step_id in anchors], cancelled,
    )  # fmt: skip
    return {row["id"] for row in rows}


async def open_waits(subjects: list[tuple[UUID, str, UUID]], tx: Tx) -> list[asyncpg.Record]:
    """Who waits for events of these types about these subjects (practice, event type, patient or appointment id).

    Without a step: runs of the durable engine that may, by the time they have taken up what was handed over to them.
    """
    return await tx.rows(
        """
        WITH told AS (SELECT DISTINCT * FROM unnest($1::uuid[], $2::text[], $3::uuid[]) AS t (practice_id, event_type, subject)),
          behind AS NOT MATERIALIZED (SELECT r.practice_id, r.id, r.patient_id, r.appointment_id FROM run r WHERE r.engine = 'temporal' AND r.status = 'running'
            AND EXISTS (SELECT FROM run_input i WHERE i.practice_id = r.practice_id AND i.run_id = r.id))
        SELECT w.practice_id, w.run_id, w.step_id, w.number, w.event_type, w.subject FROM event_wait w JOIN told USING (practice_id, event_type, subject)
        UNION ALL SELECT b.practice_id, b.id, '', 0, t.event_type, t.subject FROM told t JOIN behind b USING (practice_id) WHERE b.patient_id = t.subject
        UNION ALL SELECT b.practice_id, b.id, '', 0, t.event_type, t.subject FROM told t JOIN behind b USING (practice_id) WHERE b.appointment_id = t.subject
        ORDER BY 1, 2, 3, 4
        """,
        [practice for practice, _, _ in subjects], [event_type for _, event_type, _ in subjects], [subject for _, _, subject in subjects],
    )  # fmt: skip


async def events_since(
    run: Key, subject: UUID, types: list[str], after: tuple[datetime, UUID], until: datetime | None, but: UUID, tx: Tx
) -> list[asyncpg.Record]:
    """Events about a patient or an appointment that came here after that moment (and event), oldest first, up to 200; none after ``until``.

    By our own clock: what was sent earlier and came late counts as well. Without the one that started the run, and without
    those that were handed over to the run and that it has yet to come to.
    """
    return await tx.rows(
        """
        SELECT event_id, type, data, at, recorded_at FROM event_log
        WHERE practice_id = $1 AND (patient_id = $2 OR appointment_id = $2) AND type = ANY($3::text[]) AND recorded_at >= $4
          AND (recorded_at, event_id) > ($4, $5) AND event_id <> $6 AND ($8::timestamptz IS NULL OR recorded_at <= $8) AND NOT EXISTS (
            SELECT FROM run_input i WHERE i.practice_id = $1 AND i.run_id = $7 AND i.input ->> 'event_id' = event_log.event_id::text)
        ORDER BY recorded_at, event_id LIMIT 200
        """,
        run[0], subject, types, *after, but, run[1], until,
    )  # fmt: skip
