"""Every operation lets in whom the permission matrix names, and nobody else: every role, every key scope."""

from __future__ import annotations

from uuid import UUID, uuid4

import httpx
import pytest

from libs.common.auth import Role
from libs.contracts.envelope import PLATFORM
from libs.contracts.permissions import ENTERED, GRANTS, SCOPES, Permission
from tests.architecture.doors import Callers, Operation, operations

OPERATIONS = list(operations())
PROTECTED = [operation for operation in OPERATIONS if operation.permission is not None]
PUBLIC = {
    "POST /webhooks/calcom/{practice_id}",
    "POST /webhooks/retell/{practice_id}",
    "POST /webhooks/sendgrid/{practice_id}",
    "POST /webhooks/workflows/{practice_id}/{workflow_id}",
    "POST /hooks/supabase/access-token",
    "POST /hooks/supabase/user-change",
}
"""Doors whose callers prove themselves by a signature; their services' tests walk them."""

REFUSALS = {"permission_missing", "entry_needed"}
Clients = dict[str, httpx.AsyncClient]


async def refused(operation: Operation, client: httpx.AsyncClient, sent: dict[str, str]) -> bool:
    """Whether the door itself refuses; what happens behind it is not asked here."""
    path = operation.at({name: uuid4() for name in operation.ids})
    body: dict[str, str] | None = None if operation.method in {"GET", "DELETE"} else {}
    answer = await client.request(operation.method, path, json=body, headers=sent)
    assert answer.status_code != 401, answer.text
    return answer.status_code == 403 and answer.json()["code"] in REFUSALS


@pytest.mark.parametrize("role", list(Role))
@pytest.mark.parametrize("operation", PROTECTED, ids=str)
async def test_lets_in_the_roles_it_names(operation: Operation, role: Role, clients: Clients, callers: Callers) -> None:
    home = PLATFORM if role is Role.VANTAGE_ADMIN else uuid4()
    sent = callers.person(operation.service, role, home)
    assert await refused(operation, clients[operation.service], sent) == (operation.permission not in GRANTS[role])


@pytest.mark.parametrize("operation", PROTECTED, ids=str)
async def test_lets_in_a_vantage_admin_through_an_entry_only(operation: Operation, clients: Clients, callers: Callers) -> None:
    practice: UUID = uuid4()
    inside = callers.entered(operation.service, practice)
    assert await refused(operation, clients[operation.service], inside) == (operation.permission not in ENTERED)
    outside = {**callers.person(operation.service, Role.VANTAGE_ADMIN, PLATFORM), "Vantage-Practice": str(practice)}
    assert await refused(operation, clients[operation.service], outside)


@pytest.mark.parametrize("operation", PROTECTED, ids=str)
async def test_lets_in_keys_with_its_scope_and_no_other(operation: Operation, clients: Clients, callers: Callers) -> None:
    assert operation.permission is not None
    client = clients[operation.service]
    with_it = callers.key(operation.service, uuid4(), [operation.permission])
    assert await refused(operation, client, with_it) == (operation.permission not in SCOPES)
    if operation.permission is not Permission.ME_READ:
        without = callers.key(operation.service, uuid4(), SCOPES - {operation.permission})
        assert await refused(operation, client, without)


def test_every_public_operation_is_one_we_know() -> None:
    assert {str(operation) for operation in OPERATIONS if operation.permission is None} == PUBLIC


def test_every_permission_guards_something() -> None:
    assert {operation.permission for operation in PROTECTED} == set(Permission)
