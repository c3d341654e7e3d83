"""Tasks for the staff: created by workflows and by people, changed, completed and reopened by people."""

from __future__ import annotations

from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, Self
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field, model_validator

from libs.common.actions import Effect
from libs.common.auth import Principal, Role
from libs.common.command import LINE_SCHEMA, TEXT_SCHEMA, Command, Line, Moment, Text, not_both
from libs.common.errors import NotFound, Refused
from libs.common.work import Tx
from libs.contracts.notifications import TaskCompleted, TaskCreated, TaskReopened
from services.notifications.queries import TaskFilter, is_contact, is_member, task_by_id, tasks

_ADD = """
INSERT INTO task (practice_id, id, patient_id, title, text, due_at, assignee_role, assignee_id, run_id, created_at, created_by)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)
"""
_COMPLETE = """
UPDATE task SET completed_at = $3, completed_by = $4 WHERE practice_id = $1 AND id = $2 AND completed_at IS NULL RETURNING patient_id
"""
_REOPEN = """
UPDATE task SET completed_at = NULL, completed_by = NULL WHERE practice_id = $1 AND id = $2 AND completed_at IS NOT NULL RETURNING patient_id
"""


class TaskNotFound(NotFound):
    """No such task."""


class AssigneeUnknown(Refused):
    """The practice has no such active user."""


class PatientUnknown(NotFound):
    """No such patient."""


class StaffRole(StrEnum):
    """Whom a task may be for."""

    PRACTICE_ADMIN = Role.PRACTICE_ADMIN.value
    REGULAR_USER = Role.REGULAR_USER.value


class CreateTask(Command):
    """For everybody, unless a role or a user is named."""

    model_config = ConfigDict(
        json_schema_extra={
            "allOf": [
                not_both("due_at", "due_in_hours", "a task is due at a time or in hours, not both"),
                not_both("role", "user_id", "a task is for a role or for a user, not both"),
            ]
        }
    )

    title: Line = Field(title="Title", description="One line, at most 200 characters.", json_schema_extra=LINE_SCHEMA)
    text: Text | None = Field(None, title="Text", description="What is to be done, in more words.", json_schema_extra=TEXT_SCHEMA)
    due_at: Moment | None = Field(None, title="Due", description="Until when, with a time zone. Not together with hours.")
    due_in_hours: float | None = Field(None, gt=0, le=8760, title="Due in hours", description="Hours from when the task is created.")
    role: StaffRole | None = Field(None, title="For a role", description="Everybody with this role. Not together with a user.")
    user_id: UUID | None = Field(None, title="For a user", description="One user of the practice.")

    @model_validator(mode="after")
    def _one_of_two(self) -> Self:
        if self.due_at is not None and self.due_in_hours is not None:
            message = "a task is due at a time or in hours, not both"
            raise ValueError(message)
        if self.role is not None and self.user_id is not None:
            message = "a task is for a role or for a user, not both"
            raise ValueError(message)
        return self


class AddTask(CreateTask):
    """For everybody, unless a role or a user is named; about a patient, or about none."""

    patient_id: UUID | None = Field(None, title="Patient", description="Whom it is about.")


class CreateTaskResult(BaseModel):
    task_id: UUID = Field(title="Task", description="The task's id.")


class TaskView(BaseModel):
    """A task. Times are UTC. ``run_id`` names the run of the workflow that asked for it, ``created_by`` the person who created it instead."""

    id: UUID
    patient_id: UUID | None
    title: str
    text: str | None
    due_at: datetime | None
    assignee_role: StaffRole | None
    assignee_id: UUID | None
    run_id: UUID | None
    created_at: datetime
    created_by: str | None
    completed_at: datetime | None
    completed_by: str | None

    @classmethod
    def of(cls, row: Any) -> Self:
        return cls(**dict(row))


async def create_task(parameters: CreateTask, effect: Effect, tx: Tx) -> CreateTaskResult:
    """The action ``create_task``. Raises ``AssigneeUnknown``."""
    return CreateTaskResult(task_id=await _create(parameters, effect.request.patient_id, effect.request.run_id, tx))


async def add_task(cmd: AddTask, tx: Tx) -> TaskView:
    """A person's. Raises ``AssigneeUnknown``, ``PatientUnknown``."""
    if cmd.patient_id is not None and not await is_contact(cmd.patient_id, tx):
        raise PatientUnknown(pointer="/patient_id")
    return await show_task(await _create(cmd, cmd.patient_id, None, tx), tx)


async def _create(parameters: CreateTask, patient_id: UUID | None, run_id: UUID | None, tx: Tx) -> UUID:
    if parameters.user_id is not None and not await is_member(parameters.user_id, tx):
        raise AssigneeUnknown(pointer="/user_id")
    due = parameters.due_at
    if parameters.due_in_hours is not None:
        due = tx.now + timedelta(hours=parameters.due_in_hours)
    task_id = tx.new_id()
    await tx.execute(
        _ADD, tx.practice_id, task_id, patient_id, parameters.title, parameters.text, due, parameters.role, parameters.user_id, run_id,
        tx.now, tx.principal.actor if run_id is None else None,
    )  # fmt: skip
    created = TaskCreated(
        task_id=task_id, patient_id=patient_id, title=parameters.title, due_at=due, assignee_role=parameters.role,
        assignee_id=parameters.user_id,
    )  # fmt: skip
    tx.emit(created)
    return task_id


async def complete_task(task_id: UUID, tx: Tx) -> TaskView:
    """Completing a completed one changes nothing. Raises ``TaskNotFound``."""
    row = await tx.row(_COMPLETE, tx.practice_id, task_id, tx.now, tx.principal.actor)
    if row is not None:
        tx.emit(TaskCompleted(task_id=task_id, patient_id=row["patient_id"]))
    return await show_task(task_id, tx)


async def reopen_task(task_id: UUID, tx: Tx) -> TaskView:
    """Reopening an open one changes nothing. Raises ``TaskNotFound``."""
    row = await tx.row(_REOPEN, tx.practice_id, task_id)
    if row is not None:
        tx.emit(TaskReopened(task_id=task_id, patient_id=row["patient_id"]))
    return await show_task(task_id, tx)


async def show_task(task_id: UUID, tx: Tx) -> TaskView:
    """Raises ``TaskNotFound``."""
    row = await task_by_id(task_id, tx)
    if row is None:
        raise TaskNotFound
    return TaskView.of(row)


async def list_tasks(wanted: TaskFilter, principal: Principal, tx: Tx, *, after: tuple[str, ...] | None, limit: int) -> list[TaskView]:
    """Newest first, one more than ``limit`` when there is more."""
    me = UUID(principal.id) if principal.kind == "user" else None
    return [TaskView.of(row) for row in await tasks(tx, wanted, me=me, role=principal.role, after=after, limit=limit)]
