"""The permission matrix: who may do what. The only list there is; ``docs/permissions.md`` is generated from it.

Every operation of every service names one permission where it is declared; an operation without one does not start.
"""

from __future__ import annotations

from enum import StrEnum

P = frozenset["Permission"]


class Role(StrEnum):
    """What a person is. A Vantage admin belongs to the platform, the others to one practice each."""

    VANTAGE_ADMIN = "vantage_admin"
    PRACTICE_ADMIN = "practice_admin"
    REGULAR_USER = "regular_user"


class Permission(StrEnum):
    """``<thing>:<read or write>``. What a write may change it may also show."""

    ME_READ = "me:read"
    ME_WRITE = "me:write"
    PRACTICES_READ = "practices:read"
    PRACTICES_WRITE = "practices:write"
    ENTRIES_OPEN = "entries:open"
    ENTRIES_READ = "entries:read"
    PRACTICE_READ = "practice:read"
    PRACTICE_WRITE = "practice:write"
    USERS_READ = "users:read"
    USERS_WRITE = "users:write"
    KEYS_READ = "api-keys:read"
    KEYS_WRITE = "api-keys:write"
    PATIENTS_READ = "patients:read"
    PATIENTS_WRITE = "patients:write"
    FILTERS_READ = "patient-filters:read"
    FILTERS_WRITE = "patient-filters:write"
    APPOINTMENTS_READ = "appointments:read"
    APPOINTMENTS_WRITE = "appointments:write"
    INTEGRATIONS_READ = "integrations:read"
    INTEGRATIONS_WRITE = "integrations:write"
    WEBHOOKS_READ = "webhooks:read"
    WEBHOOKS_WRITE = "webhooks:write"
    WORKFLOWS_READ = "workflows:read"
    WORKFLOWS_WRITE = "workflows:write"
    EXPLANATIONS_READ = "explanations:read"
    RUNS_READ = "runs:read"
    RUNS_WRITE = "runs:write"
    MESSAGES_READ = "messages:read"
    CALLS_READ = "calls:read"
    TASKS_READ = "tasks:read"
    TASKS_WRITE = "tasks:write"
    LEDGER_READ = "ledger:read"
    DEBUG_READ = "debug:read"
    DEBUG_SYSTEM = "debug:system"


_ = Permission
REGULAR_USER: P = frozenset({
    _.ME_READ, _.ME_WRITE, _.PRACTICE_READ, _.USERS_READ, _.PATIENTS_READ, _.PATIENTS_WRITE, _.APPOINTMENTS_READ, _.APPOINTMENTS_WRITE,
    _.FILTERS_READ, _.FILTERS_WRITE, _.INTEGRATIONS_READ, _.WORKFLOWS_READ, _.RUNS_READ, _.MESSAGES_READ, _.CALLS_READ, _.TASKS_READ, _.TASKS_WRITE,
})  # fmt: skip
PRACTICE_ADMIN: P = REGULAR_USER | {
    _.PRACTICE_WRITE, _.USERS_WRITE, _.KEYS_READ, _.KEYS_WRITE, _.ENTRIES_READ, _.INTEGRATIONS_WRITE, _.WEBHOOKS_READ, _.WEBHOOKS_WRITE,
    _.WORKFLOWS_WRITE, _.EXPLANATIONS_READ, _.RUNS_WRITE, _.LEDGER_READ, _.DEBUG_READ,
}  # fmt: skip
VANTAGE_ADMIN: P = frozenset({_.ME_READ, _.PRACTICES_READ, _.PRACTICES_WRITE, _.ENTRIES_OPEN, _.DEBUG_READ, _.DEBUG_SYSTEM})
"""Outside every practice: names and states of practices, nothing of their people or patients."""

ENTERED: P = PRACTICE_ADMIN - {_.ME_WRITE, _.USERS_WRITE, _.KEYS_WRITE}
"""A Vantage admin inside a practice: what its admin may, except what would outlast the entry: new users and new keys."""

SCOPES: P = frozenset({
    _.ME_READ, _.PRACTICE_READ, _.USERS_READ, _.PATIENTS_READ, _.PATIENTS_WRITE, _.APPOINTMENTS_READ, _.APPOINTMENTS_WRITE, _.WEBHOOKS_READ,
    _.FILTERS_READ, _.WEBHOOKS_WRITE, _.WORKFLOWS_READ, _.RUNS_READ, _.MESSAGES_READ, _.CALLS_READ, _.TASKS_READ, _.TASKS_WRITE,
})  # fmt: skip
"""What an API key may be given, each for itself. ``me:read`` every key has."""

GRANTS: dict[Role, P] = {Role.VANTAGE_ADMIN: VANTAGE_ADMIN, Role.PRACTICE_ADMIN: PRACTICE_ADMIN, Role.REGULAR_USER: REGULAR_USER}
del _
