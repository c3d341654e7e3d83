"""Whoever walks through every door with another practice's ids finds the same nothing as with ids nobody has.

Every operation of every service, every kind of caller that may call it, every id it takes: in the path, in the query, in
the body, and as a list's cursor. Nothing of the other practice changes, and each attempt leaves one entry in the caller's.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from uuid import UUID, uuid4

import httpx
import psycopg
import psycopg.sql
import pytest

from libs.common.auth import Role
from libs.contracts.envelope import PLATFORM
from libs.contracts.permissions import ENTERED, GRANTS, SCOPES, Permission
from libs.testing.fixtures import Headers
from tests.architecture.doors import BODIES, THINGS, Callers, Operation, operations, plant

Root = psycopg.Connection[tuple[Any, ...]]
Clients = dict[str, httpx.AsyncClient]
OPERATIONS = [operation for operation in operations() if operation.permission is not None]
WITH_IDS = [op for op in OPERATIONS if op.ids or op.query_ids or op.body_ids]
OWN_PRACTICE = "practice_id"
"""Here the id is the practice itself."""

KINDS: dict[str, tuple[frozenset[Permission], Callable[[Callers, str, UUID], Headers]]] = {
    "admin": (GRANTS[Role.PRACTICE_ADMIN], lambda callers, service, mine: callers.person(service, Role.PRACTICE_ADMIN, mine)),
    "user": (GRANTS[Role.REGULAR_USER], lambda callers, service, mine: callers.person(service, Role.REGULAR_USER, mine)),
    "key": (SCOPES, lambda callers, service, mine: callers.key(service, mine, SCOPES)),
    "entered": (ENTERED, lambda callers, service, mine: callers.entered(service, mine)),
}
WALKS = [(op, kind) for op in WITH_IDS for kind, (may, _) in KINDS.items() if op.permission in may]


async def walk(operation: Operation, values: dict[str, UUID], client: httpx.AsyncClient, sent: Headers) -> httpx.Response:
    path = operation.at(values)
    query = {name: str(values[name]) for name in operation.query_ids}
    body = {
        name: str(values[name]) if value == f"{{{name}}}" else value for name, value in BODIES.get(str(operation), {}).items()
    } if operation.method != "GET" else None  # fmt: skip
    return await client.request(operation.method, path, params=query, json=body, headers=sent)


def essence(response: httpx.Response) -> object:
    """What an answer says, without what differs between any two answers."""
    if response.headers.get("content-type", "").startswith("application/"):
        return {key: value for key, value in response.json().items() if key not in {"instance", "correlation_id", "trace_id"}}
    return response.text


_TENANT_TABLES = """
SELECT c.table_name FROM information_schema.columns c JOIN information_schema.tables t USING (table_schema, table_name)
WHERE c.table_schema = %s AND c.column_name = 'practice_id' AND t.table_type = 'BASE TABLE' ORDER BY 1
"""


_everything: dict[str, psycopg.sql.Composed] = {}
"""By service: what reads all of a practice. Every database of a run is a copy of one."""


def belongings(root: Root, service: str, practice: UUID) -> dict[str, object]:
    """Everything a practice has in a service, by table."""
    if service not in _everything:
        each = psycopg.sql.SQL("SELECT {}, array_agg(t::text ORDER BY t::text) FROM {} t WHERE practice_id = %(practice)s")
        tables = [table for (table,) in root.execute(_TENANT_TABLES, [service]).fetchall()]
        parts = [each.format(psycopg.sql.Literal(table), psycopg.sql.Identifier(service, table)) for table in tables]
        _everything[service] = psycopg.sql.SQL(" UNION ALL ").join(parts)
    return dict(root.execute(_everything[service], {"practice": practice}).fetchall())


def denials(root: Root, service: str, practice: UUID) -> int:
    query = psycopg.sql.SQL("SELECT count(*) FROM {} WHERE practice_id = %s AND type LIKE %s").format(
        psycopg.sql.Identifier(service, "outbox")
    )
    row = root.execute(query, [practice, "%.access-denied.v1"]).fetchone()
    assert row is not None
    return int(row[0])


@pytest.mark.parametrize(("operation", "kind"), WALKS, ids=str)
async def test_another_practices_ids_are_nobodys(operation: Operation, kind: str, clients: Clients, callers: Callers, root: Root) -> None:
    theirs, mine = uuid4(), uuid4()
    names = {*operation.ids, *operation.query_ids, *operation.body_ids}
    made = {name: theirs if name == OWN_PRACTICE else plant(root, name, theirs) for name in names}
    client, sent = clients[operation.service], KINDS[kind][1](callers, operation.service, mine)
    before = belongings(root, operation.service, theirs)
    answer = await walk(operation, made, client, sent)
    nobody = await walk(operation, {name: uuid4() for name in names}, client, sent)
    assert (answer.status_code, essence(answer)) == (nobody.status_code, essence(nobody))
    assert belongings(root, operation.service, theirs) == before
    if operation.ids or operation.body_ids:
        assert answer.status_code in ({404} if operation.ids else {404, 422}), answer.text
        assert denials(root, operation.service, mine) == 2 * (answer.status_code == 404)


OWN = [op for op in WITH_IDS if op.method == "GET" and op.ids and OWN_PRACTICE not in op.ids]


@pytest.mark.parametrize("operation", OWN, ids=str)
async def test_its_own_practice_finds_it(operation: Operation, clients: Clients, callers: Callers, root: Root) -> None:
    mine = uuid4()
    made = {name: plant(root, name, mine) for name in operation.ids}
    sent = callers.person(operation.service, Role.PRACTICE_ADMIN, mine)
    answer = await walk(operation, made, clients[operation.service], sent)
    assert answer.status_code == 200, answer.text


async def test_a_vantage_admin_closes_no_entry_of_another_practice(clients: Clients, callers: Callers, root: Root) -> None:
    here, there = uuid4(), uuid4()
    theirs = plant(root, "entry_id", there)
    sent = callers.person("practices", Role.VANTAGE_ADMIN, PLATFORM)
    answer = await clients["practices"].post(f"/v1/practices/{here}/entries/{theirs}/close", headers=sent)
    assert (answer.status_code, answer.json()["code"]) == (404, "entry_not_found")


@pytest.mark.parametrize("operation", OPERATIONS, ids=str)
async def test_nobody_enters_without_a_token(operation: Operation, clients: Clients) -> None:
    values = {name: uuid4() for name in (*operation.ids, *operation.query_ids, *operation.body_ids)}
    answer = await walk(operation, values, clients[operation.service], {})
    assert (answer.status_code, answer.headers["content-type"]) == (401, "application/problem+json")


def test_every_id_an_operation_takes_can_be_walked_with() -> None:
    taken = {name for operation in WITH_IDS for name in (*operation.ids, *operation.query_ids, *operation.body_ids)}
    assert taken - {OWN_PRACTICE} == set(THINGS)


LISTS = [op for op in OPERATIONS if op.method == "GET" and not op.ids and op.permission in GRANTS[Role.PRACTICE_ADMIN]]


@pytest.mark.parametrize("operation", LISTS, ids=str)
async def test_lists_show_nothing_of_another_practice(operation: Operation, clients: Clients, callers: Callers, root: Root) -> None:
    theirs = uuid4()
    made = {name: plant(root, name, theirs) for name in THINGS}
    sent = callers.person(operation.service, Role.PRACTICE_ADMIN, uuid4())
    answer = await walk(operation, {name: uuid4() for name in operation.query_ids}, clients[operation.service], sent)
    assert answer.status_code < 500
    assert [name for name, thing in made.items() if str(thing) in answer.text] == []


@pytest.mark.parametrize("operation", [op for op in LISTS if op.takes_cursor], ids=str)
async def test_a_cursor_of_another_practice_is_as_good_as_any_text(operation: Operation, clients: Clients, callers: Callers) -> None:
    cursors = clients[operation.service]._transport.app.state.cursors  # type: ignore[attr-defined]
    theirs = cursors.make(uuid4(), str(operation), ("0", str(uuid4())))
    sent = callers.person(operation.service, Role.PRACTICE_ADMIN, uuid4())
    values = {"cursor": theirs}, {"cursor": "AAAA"}
    answers = [await clients[operation.service].get(operation.path, params=query, headers=sent) for query in values]
    assert [answer.status_code for answer in answers] == [422, 422]
    assert essence(answers[0]) == essence(answers[1])


@pytest.mark.parametrize("operation", WITH_IDS, ids=str)
async def test_an_id_in_a_header_opens_nothing_either(operation: Operation, clients: Clients, callers: Callers) -> None:
    """Naming another practice, in every header somebody might try."""
    sent = callers.person(operation.service, Role.PRACTICE_ADMIN, uuid4())
    other = str(uuid4())
    values = {name: uuid4() for name in (*operation.ids, *operation.query_ids, *operation.body_ids)}
    spoofed = {**sent, "X-Practice-Id": other, "X-Key-Id": other, "X-Forwarded-User": "root", "X-HTTP-Method-Override": "GET"}
    plain = await walk(operation, values, clients[operation.service], sent)
    tried = await walk(operation, values, clients[operation.service], spoofed)
    assert (tried.status_code, essence(tried)) == (plain.status_code, essence(plain))
    named = await walk(operation, values, clients[operation.service], {**sent, "Vantage-Practice": other})
    assert (named.status_code, named.json()["code"]) == (403, "not_a_member")
