"""What the practices service says: tenants and the people who work in them. Who may act because of it: ``access``."""

from __future__ import annotations

from datetime import date, datetime
from typing import Annotated
from uuid import UUID

from pydantic import BaseModel, ConfigDict, StringConstraints

from libs.contracts.envelope import Event
from libs.contracts.marks import Personal
from libs.contracts.permissions import Permission, Role

LocalTime = Annotated[str, StringConstraints(pattern=r"^([01]\d|2[0-3]):[0-5]\d(:[0-5]\d(\.\d+)?)?$")]
"""A time of day without a zone, ISO 8601: ``08:00:00``."""


class OpeningSpan(BaseModel):
    """One span of a weekday (``monday`` …) in which the practice is open, in its own time zone."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    day: str
    opens: LocalTime
    closes: LocalTime


class ClosedDays(BaseModel):
    """The practice is closed from ``first`` to ``last``, both included."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    first: date
    last: date


class PracticeCreated(Event, type="vantage.practices.practice-created.v1", subject="practice/{new_practice_id}"):
    """A practice exists. ``time_zone`` is an IANA name. Without ``opening_hours`` nothing is said of them."""

    new_practice_id: UUID
    name: str
    time_zone: str
    opening_hours: list[OpeningSpan] | None = None
    holidays: list[ClosedDays] | None = None


class PracticeChanged(Event, type="vantage.practices.practice-changed.v1", subject="practice/{changed_practice_id}"):
    """The practice has another name or profile; ``changed`` names the fields. Hours and holidays are all of them after the change."""

    changed_practice_id: UUID
    name: str
    time_zone: str
    version: int
    changed: list[str]
    opening_hours: list[OpeningSpan] | None = None
    holidays: list[ClosedDays] | None = None


class PracticeSuspended(Event, type="vantage.practices.practice-suspended.v1", subject="practice/{suspended_practice_id}"):
    """Nobody of the practice may act, no run goes on and nothing is sent, until it is reactivated."""

    suspended_practice_id: UUID
    reason: Personal[str]


class PracticeReactivated(Event, type="vantage.practices.practice-reactivated.v1", subject="practice/{reactivated_practice_id}"):
    """The practice works again; what was held goes on."""

    reactivated_practice_id: UUID


class UserInvited(Event, type="vantage.practices.user-invited.v1", subject="user/{user_id}"):
    """Somebody was asked to join; the invitation ends by itself. Sent again: said again."""

    user_id: UUID
    role: Role
    expires_at: datetime
    name: Personal[str]
    email: Personal[str]


class InvitationRevoked(Event, type="vantage.practices.invitation-revoked.v1", subject="user/{user_id}"):
    """The invitation counts no more."""

    user_id: UUID


class UserAdded(Event, type="vantage.practices.user-added.v1", subject="user/{user_id}"):
    """Somebody works in the practice from now on: the invitation was accepted."""

    user_id: UUID
    role: Role
    name: Personal[str]
    email: Personal[str]


class UserChanged(Event, type="vantage.practices.user-changed.v1", subject="user/{user_id}"):
    """A user has another name or address."""

    user_id: UUID
    name: Personal[str]
    email: Personal[str]


class UserRoleChanged(Event, type="vantage.practices.user-role-changed.v1", subject="user/{user_id}"):
    """A user has another role from now on."""

    user_id: UUID
    role: Role
    previous_role: Role


class UserDeactivated(Event, type="vantage.practices.user-deactivated.v1", subject="user/{user_id}"):
    """A user may no longer act."""

    user_id: UUID


class UserReactivated(Event, type="vantage.practices.user-reactivated.v1", subject="user/{user_id}"):
    """A deactivated user may act again."""

    user_id: UUID


class ApiKeyCreated(Event, type="vantage.practices.api-key-created.v1", subject="api-key/{key_id}"):
    """An integrator has a key from now on. ``replaces`` is the key it was rotated from."""

    key_id: UUID
    name: str
    prefix: str
    scopes: list[Permission]
    expires_at: datetime | None
    replaces: UUID | None


class ApiKeyRevoked(Event, type="vantage.practices.api-key-revoked.v1", subject="api-key/{key_id}"):
    """A key counts no more from ``ends_at`` on."""

    key_id: UUID
    ends_at: datetime
