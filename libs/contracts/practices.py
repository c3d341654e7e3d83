"""What the practices service says: tenants and the people who work in them."""

from __future__ import annotations

from enum import StrEnum
from uuid import UUID

from libs.contracts.envelope import Event
from libs.contracts.marks import Personal


class UserRole(StrEnum):
    VANTAGE_ADMIN = "vantage_admin"
    PRACTICE_ADMIN = "practice_admin"
    REGULAR_USER = "regular_user"


class PracticeCreated(Event, type="vantage.practices.practice-created.v1", subject="practice/{new_practice_id}"):
    """A practice exists. ``time_zone`` is an IANA name."""

    new_practice_id: UUID
    name: str
    time_zone: str


class UserAdded(Event, type="vantage.practices.user-added.v1", subject="user/{user_id}"):
    """Somebody works in the practice from now on."""

    user_id: UUID
    role: UserRole
    name: Personal[str]
    email: Personal[str]


class UserRoleChanged(Event, type="vantage.practices.user-role-changed.v1", subject="user/{user_id}"):
    """A user has another role from now on."""

    user_id: UUID
    role: UserRole
    previous_role: UserRole


class UserDeactivated(Event, type="vantage.practices.user-deactivated.v1", subject="user/{user_id}"):
    """A user may no longer act."""

    user_id: UUID
