"""Change an open task: what is to be done, until when, and by whom."""

from __future__ import annotations

from typing import Any, ClassVar, Self
from uuid import UUID

from pydantic import Field, model_validator

from libs.common.command import Command, Line, Moment, Text
from libs.common.errors import Refused
from libs.common.work import Tx
from libs.contracts.notifications import TaskUpdated
from services.notifications.commands.tasks import AssigneeUnknown, StaffRole, TaskNotFound, TaskView, show_task
from services.notifications.queries import is_member, task_by_id

_CHANGE = "UPDATE task SET title = $3, text = $4, due_at = $5, assignee_role = $6, assignee_id = $7 WHERE practice_id = $1 AND id = $2"


class TaskIsCompleted(Refused):
    """The task is completed; reopen it first."""


class UpdateTask(Command):
    """Only the fields given change; null empties a field that may be empty. A task for a user is for no role any more, and the other way."""

    title: Line | None = Field(None, title="Title", description="Left out: stays as it is.")
    text: Text | None = Field(None, title="Text", description="Null takes it away.")
    due_at: Moment | None = Field(None, title="Due", description="Until when, with a time zone; null: at no time.")
    role: StaffRole | None = Field(None, title="For a role", description="Null: for no role; for everybody when no user is named.")
    user_id: UUID | None = Field(None, title="For a user", description="Null: for no user; for everybody when no role is named.")

    columns: ClassVar[dict[str, str]] = {"role": "assignee_role", "user_id": "assignee_id"}

    @model_validator(mode="after")
    def _makes_sense(self) -> Self:
        if "title" in self.model_fields_set and self.title is None:
            message = "a title cannot be emptied"
            raise ValueError(message)
        if self.role is not None and self.user_id is not None:
            message = "a task is for a role or for a user, not both"
            raise ValueError(message)
        return self

    def applied_to(self, task: dict[str, Any]) -> dict[str, Any]:
        """The task after the change."""
        given = {self.columns.get(name, name): getattr(self, name) for name in self.model_fields_set}
        if self.role is not None:
            given["assignee_id"] = None
        if self.user_id is not None:
            given["assignee_role"] = None
        return task | given


async def update_task(task_id: UUID, cmd: UpdateTask, tx: Tx) -> TaskView:
    """Raises ``TaskNotFound``, ``TaskIsCompleted``, ``AssigneeUnknown``."""
    row = await task_by_id(task_id, tx, for_update=True)
    if row is None:
        raise TaskNotFound
    if row["completed_at"] is not None:
        raise TaskIsCompleted
    before = dict(row)
    after = cmd.applied_to(before)
    changed = sorted(name for name, value in after.items() if value != before[name])
    if "assignee_id" in changed and after["assignee_id"] is not None and not await is_member(after["assignee_id"], tx):
        raise AssigneeUnknown(pointer="/user_id")
    if changed:
        values = (after[name] for name in ("title", "text", "due_at", "assignee_role", "assignee_id"))
        await tx.execute(_CHANGE, tx.practice_id, task_id, *values)
        told = {name: after[name] for name in ("patient_id", "title", "due_at", "assignee_role", "assignee_id")}
        tx.emit(TaskUpdated(task_id=task_id, changed=changed, **told))
    return await show_task(task_id, tx)
