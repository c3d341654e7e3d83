"""The HTTP door of notifications: messages, tasks, e-mail settings, SendGrid's reports."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

from fastapi import Query, Request, Response
from pydantic import BaseModel

from libs.common.actions.performing import Performing
from libs.common.auth import Permission, Principal
from libs.common.command import Moment
from libs.common.errors import NotFound
from libs.common.http import CursorQuery, DoorDep, LimitQuery, Page, Routes, WorkDep, needs, public
from libs.common.secrets import SecretBox
from libs.common.telemetry import Cause
from libs.contracts.notifications import MessageStatus
from services.notifications.adapters import sendgrid_events
from services.notifications.commands.contacts import await_contact
from services.notifications.commands.reports import check_signature, take_reports
from services.notifications.commands.settings import ConfigureEmail, EmailSettings, configure_email, show_email_settings
from services.notifications.commands.task_changes import UpdateTask, update_task
from services.notifications.commands.tasks import AddTask, TaskView, add_task, complete_task, list_tasks, reopen_task, show_task
from services.notifications.queries import TaskFilter, TaskStatus, message_by_id, messages


class MessageNotFound(NotFound):
    """No such message."""


class MessageView(BaseModel):
    """A message and its effect. Times are UTC. The text itself is not listed."""

    id: UUID
    patient_id: UUID
    subject: str
    status: str
    status_at: datetime
    created_at: datetime
    effect_key: UUID
    effect_state: str
    run_id: UUID
    step_id: str
    attempts: int
    error_code: str | None
    provider_message_id: str | None


def _view(row: Any) -> MessageView:
    return MessageView(**dict(row))


def routes(box: SecretBox, performing: Performing) -> Routes:
    router = Routes(tags=["notifications"])
    _messages(router)
    _email_settings(router, box)
    _reports(router, performing)
    _tasks(router)
    _change_tasks(router)
    return router


def _messages(router: Routes) -> None:
    @router.get("/v1/messages", response_model=Page[MessageView], **needs(Permission.MESSAGES_READ))
    async def list_page(
        door: DoorDep,
        patient_id: UUID | None = None,
        status: MessageStatus | None = None,
        limit: LimitQuery = 50,
        cursor: CursorQuery = None,
    ) -> Page[MessageView]:
        """List messages, newest first."""
        async with door.work() as tx:
            rows = await messages(tx, patient_id=patient_id, status=status, after=door.position(cursor), limit=limit)
            return door.page([_view(row) for row in rows], limit, lambda view: (view.id,))

    @router.get("/v1/messages/{message_id}", response_model=MessageView, **needs(Permission.MESSAGES_READ))
    async def show(message_id: UUID, door: DoorDep) -> Response:
        """Show a message and what became of it."""
        async with door.work() as tx:
            row = await message_by_id(message_id, tx)
            if row is None:
                raise MessageNotFound
            return await door.answer(tx, _view(row))


def _email_settings(router: Routes, box: SecretBox) -> None:
    @router.put("/v1/email-settings", response_model=EmailSettings, **needs(Permission.INTEGRATIONS_WRITE))
    async def configure(cmd: ConfigureEmail, door: DoorDep) -> Response:
        """Set the practice's SendGrid key, sender and webhook verification key. Practice admins only."""
        async with door.work() as tx:
            return await door.answer(tx, await configure_email(cmd, box, tx))

    @router.get("/v1/email-settings", response_model=EmailSettings, **needs(Permission.INTEGRATIONS_READ))
    async def settings(door: DoorDep) -> Response:
        """The practice's e-mail settings; never the key."""
        async with door.work() as tx:
            return await door.answer(tx, await show_email_settings(tx))


def _reports(router: Routes, performing: Performing) -> None:
    @router.post("/webhooks/sendgrid/{practice_id}", status_code=204, **public("the provider's signature"))
    async def webhook(practice_id: UUID, request: Request, work: WorkDep) -> Response:
        """SendGrid's signed event webhook."""
        raw = await request.body()
        signature = request.headers.get(sendgrid_events.SIGNATURE_HEADER)
        timestamp = request.headers.get(sendgrid_events.TIMESTAMP_HEADER)
        async with work(Principal.system("sendgrid", practice_id)) as tx:
            tx.cause = Cause(request.state.correlation_id, "", request.state.traceparent, "")
            await check_signature(lambda key: sendgrid_events.verify(raw, signature, timestamp, key), tx)
            await take_reports(sendgrid_events.read(raw), performing.record_in, tx)
        return Response(status_code=204)


def _tasks(router: Routes) -> None:
    @router.get("/v1/tasks", response_model=Page[TaskView], **needs(Permission.TASKS_READ))
    async def tasks(
        door: DoorDep,
        status: TaskStatus | None = None,
        mine: bool = False,
        patient_id: UUID | None = None,
        user_id: Annotated[UUID | None, Query(description="For this user by name.")] = None,
        due_before: Annotated[Moment | None, Query(description="Due before; RFC 3339.")] = None,
        limit: LimitQuery = 50,
        cursor: CursorQuery = None,
    ) -> Page[TaskView]:
        """List tasks for the staff, newest first. ``mine``: those for the caller, for their role, or for everybody."""
        async with door.work() as tx:
            wanted = TaskFilter(status, mine, patient_id, user_id, due_before)
            views = await list_tasks(wanted, door.principal, tx, after=door.position(cursor), limit=limit)
            return door.page(views, limit, lambda view: (view.id,))

    @router.get("/v1/tasks/{task_id}", response_model=TaskView, **needs(Permission.TASKS_READ))
    async def task(task_id: UUID, door: DoorDep) -> Response:
        """Show a task."""
        async with door.work() as tx:
            return await door.answer(tx, await show_task(task_id, tx))


def _change_tasks(router: Routes) -> None:
    @router.post("/v1/tasks", status_code=201, response_model=TaskView, **needs(Permission.TASKS_WRITE))
    async def add(cmd: AddTask, door: DoorDep, work: WorkDep) -> Response:
        """Create a task: for a user, for a role, or for everybody."""
        if cmd.patient_id is not None:
            await await_contact(cmd.patient_id, door.practice_id, work)
        async with door.work() as tx:
            return await door.answer(tx, await add_task(cmd, tx), status=201)

    @router.patch("/v1/tasks/{task_id}", response_model=TaskView, **needs(Permission.TASKS_WRITE))
    async def change(task_id: UUID, cmd: UpdateTask, door: DoorDep) -> Response:
        """Change an open task: its words, when it is due, whom it is for."""
        async with door.work() as tx:
            return await door.answer(tx, await update_task(task_id, cmd, tx))

    @router.post("/v1/tasks/{task_id}/complete", response_model=TaskView, **needs(Permission.TASKS_WRITE))
    async def complete(task_id: UUID, door: DoorDep) -> Response:
        """Complete a task. Completing it again changes nothing."""
        async with door.work() as tx:
            return await door.answer(tx, await complete_task(task_id, tx))

    @router.post("/v1/tasks/{task_id}/reopen", response_model=TaskView, **needs(Permission.TASKS_WRITE))
    async def reopen(task_id: UUID, door: DoorDep) -> Response:
        """Open a completed task again. Opening an open one changes nothing."""
        async with door.work() as tx:
            return await door.answer(tx, await reopen_task(task_id, tx))
