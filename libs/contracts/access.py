"""What every service must know to let somebody in: said by practices, kept by each service as a projection.

Each event carries the whole state of its subject and a version that only grows, so a projection takes the newest and
needs no history. ``identity`` is the identity provider's id of a person.
"""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from libs.contracts.envelope import Event
from libs.contracts.marks import Personal
from libs.contracts.permissions import Role


class MemberAccessChanged(Event, type="vantage.practices.member-access-changed.v1", subject="user/{user_id}"):
    """Who may act in the practice, and as what. Vantage admins are members of the platform (practice id all zeros)."""

    user_id: UUID
    identity: str
    role: Role
    active: bool
    version: int


class PracticeAccessChanged(Event, type="vantage.practices.practice-access-changed.v1", subject="practice/{changed_practice_id}"):
    """Whether the practice is suspended, and which web origins its pages call from."""

    changed_practice_id: UUID
    suspended: bool
    origins: list[str]
    version: int


class EntryChanged(Event, type="vantage.practices.entry-changed.v1", subject="entry/{entry_id}"):
    """A Vantage admin may act inside the practice until then; ``expires_at`` in the past: not any more. Aware UTC."""

    entry_id: UUID
    user_id: UUID
    identity: str
    reason: Personal[str]
    expires_at: datetime
    version: int


class AccessDenied(Event):
    """Somebody known asked for what they may not, or for what is not there for them. Declared once per service.

    ``operation`` is method and route template, without ids. ``code`` is the code of the answer.
    """

    denied_id: UUID
    operation: str
    code: str
    status: int


class DeniedByPractices(AccessDenied, type="vantage.practices.access-denied.v1", subject="denied/{denied_id}"):
    """Denied at the door of practices."""


class DeniedByPatients(AccessDenied, type="vantage.patients.access-denied.v1", subject="denied/{denied_id}"):
    """Denied at the door of patients."""


class DeniedByScheduling(AccessDenied, type="vantage.scheduling.access-denied.v1", subject="denied/{denied_id}"):
    """Denied at the door of scheduling."""


class DeniedByWorkflows(AccessDenied, type="vantage.workflows.access-denied.v1", subject="denied/{denied_id}"):
    """Denied at the door of workflows."""


class DeniedByNotifications(AccessDenied, type="vantage.notifications.access-denied.v1", subject="denied/{denied_id}"):
    """Denied at the door of notifications."""


class DeniedByAudit(AccessDenied, type="vantage.audit.access-denied.v1", subject="denied/{denied_id}"):
    """Denied at the door of audit."""


DENIED: dict[str, type[AccessDenied]] = {
    denied.owner: denied
    for denied in (DeniedByPractices, DeniedByPatients, DeniedByScheduling, DeniedByWorkflows, DeniedByNotifications, DeniedByAudit)
}
