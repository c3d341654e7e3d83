"""Named selects over messages, settings and tasks."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from uuid import UUID

import asyncpg

from libs.common.work import Tx

_MESSAGE = """
SELECT m.id, m.patient_id, m.subject, m.status, m.status_at, m.created_at, e.effect_key, e.run_id, e.step_id, e.state AS effect_state,
       e.attempts, e.error_code, e.result ->> 'provider_message_id' AS provider_message_id
FROM message m JOIN effect e ON e.practice_id = m.practice_id AND e.effect_key = m.effect_key
"""

_TASK = """
SELECT id, patient_id, title, text, due_at, assignee_role, assignee_id, run_id, created_at, created_by, completed_at, completed_by FROM task
"""
_MEMBER = "SELECT EXISTS (SELECT 1 FROM access_member WHERE practice_id = $1 AND user_id = $2 AND active)"


async def message_by_id(message_id: UUID, tx: Tx) -> asyncpg.Record | None:
    return await tx.row(_MESSAGE + "WHERE m.practice_id = $1 AND m.id = $2", tx.practice_id, message_id)


async def messages(
    tx: Tx, *, patient_id: UUID | None, status: str | None, after: tuple[str, ...] | None, limit: int
) -> list[asyncpg.Record]:
    """Newest first; one more than ``limit`` when there is more."""
    return await tx.rows(
        _MESSAGE
        + """
        WHERE m.practice_id = $1 AND ($2::uuid IS NULL OR m.patient_id = $2) AND ($3::text IS NULL OR m.status = $3)
          AND ($4::uuid IS NULL OR m.id < $4) ORDER BY m.id DESC LIMIT $5
        """,
        tx.practice_id, patient_id, status, UUID(after[0]) if after else None, limit + 1,
    )  # fmt: skip


async def settings_of(tx: Tx) -> asyncpg.Record | None:
    return await tx.row(
        "SELECT api_key, sender_email, sender_name, webhook_key, updated_at FROM email_settings WHERE practice_id = $1", tx.practice_id
    )


async def task_by_id(task_id: UUID, tx: Tx, *, for_update: bool = False) -> asyncpg.Record | None:
    return await tx.row(_TASK + "WHERE practice_id = $1 AND id = $2" + (" FOR UPDATE" if for_update else ""), tx.practice_id, task_id)


class TaskStatus(StrEnum):
    OPEN = "open"
    COMPLETED = "completed"


@dataclass(frozen=True, slots=True)
class TaskFilter:
    """``mine``: for the caller, for their role, or for everybody. ``due_before`` leaves out what is not due at all."""

    status: TaskStatus | None = None
    mine: bool = False
    patient_id: UUID | None = None
    user_id: UUID | None = None
    due_before: datetime | None = None


async def tasks(
    tx: Tx, wanted: TaskFilter, *, me: UUID | None, role: str | None, after: tuple[str, ...] | None, limit: int
) -> list[asyncpg.Record]:
    """Newest first; one more than ``limit`` when there is more. ``me`` and ``role`` are the caller's."""
    completed = None if wanted.status is None else wanted.status is TaskStatus.COMPLETED
    return await tx.rows(
        _TASK
        + """
        WHERE practice_id = $1 AND ($2::boolean IS NULL OR (completed_at IS NOT NULL) = $2) AND ($3::uuid IS NULL OR patient_id = $3)
          AND (NOT $4 OR assignee_id = $5 OR assignee_role = $6 OR (assignee_id IS NULL AND assignee_role IS NULL))
          AND ($7::uuid IS NULL OR assignee_id = $7) AND ($8::timestamptz IS NULL OR due_at < $8)
          AND ($9::uuid IS NULL OR id < $9) ORDER BY id DESC LIMIT $10
        """,
        tx.practice_id, completed, wanted.patient_id, wanted.mine, me, role, wanted.user_id, wanted.due_before,
        UUID(after[0]) if after else None, limit + 1,
    )  # fmt: skip


async def is_contact(patient_id: UUID, tx: Tx) -> bool:
    """Whether the patient is known here. A patient registered a moment ago may not have arrived yet."""
    return await tx.value("SELECT true FROM contact WHERE practice_id = $1 AND patient_id = $2", tx.practice_id, patient_id) is True


async def is_member(user_id: UUID, tx: Tx) -> bool:
    return bool(await tx.value(_MEMBER, tx.practice_id, user_id))
