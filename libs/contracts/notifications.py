"""What the notifications service says and is asked: messages to people and what became of them."""

from __future__ import annotations

from enum import StrEnum
from uuid import UUID

from pydantic import AwareDatetime

from libs.contracts.actions import ActionRequest, ActionResult, EffectLeft
from libs.contracts.envelope import Event
from libs.contracts.marks import Personal


class MessageStatus(StrEnum):
    QUEUED = "queued"
    SENT = "sent"
    DELIVERED = "delivered"
    OPENED = "opened"
    CLICKED = "clicked"
    DEFERRED = "deferred"
    BOUNCED = "bounced"
    DROPPED = "dropped"
    COMPLAINED = "complained"
    UNSUBSCRIBED = "unsubscribed"
    FAILED = "failed"
    UNKNOWN = "unknown"


class EmailAccepted(Event, type="vantage.notifications.email-accepted.v1", subject="message/{message_id}"):
    """The provider took an e-mail for delivery."""

    message_id: UUID
    patient_id: UUID | None = None
    effect_key: UUID
    provider: str
    provider_message_id: str
    email_subject: Personal[str]


class EmailStatusChanged(Event, type="vantage.notifications.email-status-changed.v1", subject="message/{message_id}"):
    """What the provider reported about an e-mail. ``at`` is the provider's time, UTC."""

    message_id: UUID
    patient_id: UUID | None = None
    status: MessageStatus
    at: AwareDatetime
    reason_code: str | None = None


class TaskCreated(Event, type="vantage.notifications.task-created.v1", subject="task/{task_id}"):
    """There is something to do for the staff: for a user, for a role, or for everybody."""

    task_id: UUID
    patient_id: UUID | None = None
    title: Personal[str]
    due_at: AwareDatetime | None = None
    assignee_role: str | None = None
    assignee_id: UUID | None = None


class TaskCompleted(Event, type="vantage.notifications.task-completed.v1", subject="task/{task_id}"):
    """Somebody did what a task asked for; who is the envelope's actor."""

    task_id: UUID
    patient_id: UUID | None = None


class TaskUpdated(Event, type="vantage.notifications.task-updated.v1", subject="task/{task_id}"):
    """An open task changed: ``changed`` names the fields, the others tell the task after the change."""

    task_id: UUID
    patient_id: UUID | None = None
    changed: list[str]
    title: Personal[str]
    due_at: AwareDatetime | None = None
    assignee_role: str | None = None
    assignee_id: UUID | None = None


class TaskReopened(Event, type="vantage.notifications.task-reopened.v1", subject="task/{task_id}"):
    """A completed task is to be done after all."""

    task_id: UUID
    patient_id: UUID | None = None


class PerformAction(ActionRequest, type="vantage.notifications.perform-action.v1", subject="effect/{effect_key}"):
    """Asks the notifications service for one of its actions (``send_email``, ``create_task``, ...)."""


class LeaveEffect(EffectLeft, type="vantage.notifications.leave-effect.v1", subject="effect/{effect_key}"):
    """Tells the notifications service that a person has said what became of an effect of its: it is left alone."""


class ActionFinished(ActionResult, type="vantage.notifications.action-finished.v1", subject="effect/{effect_key}"):
    """What became of an action of the notifications service."""
