"""Whoever walks through every door with another practice's ids finds the same nothing as with ids nobody has."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from typing import Any
from uuid import UUID, uuid4

import httpx
import psycopg
import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from libs.common.auth import Role
from libs.contracts.topics import SERVICES
from libs.testing.fixtures import Token, _OneKey
from libs.testing.postgres import TestDatabase
from tests.architecture.doors import BODIES, PUBLIC, THINGS, Operation, build, operations, plant

OPERATIONS = list(operations())
WITH_IDS = [operation for operation in OPERATIONS if (operation.ids or operation.query_ids) and operation.path not in PUBLIC]
OWN_PRACTICE = "practice_id"
"""``GET /v1/practices/{practice_id}``: here the id is the practice itself."""

Clients = dict[str, httpx.AsyncClient]


@pytest.fixture(scope="module")
async def clients(database: TestDatabase, signing_key: ec.EllipticCurvePrivateKey) -> AsyncIterator[Clients]:
    """A client on the door of every service."""
    built = {service: build(service, database.app(service)) for service in SERVICES}
    for service in built.values():
        service.app.state.verifier._keys = _OneKey(signing_key)
    yield {name: httpx.AsyncClient(transport=httpx.ASGITransport(it.app), base_url="http://vantage.test") for name, it in built.items()}
    for service in built.values():
        await service.engine.dispose()


@pytest.fixture
def superuser(database: TestDatabase) -> Iterator[psycopg.Connection[tuple[Any, ...]]]:
    with psycopg.connect(database.url("postgres"), autocommit=True) as connection:
        yield connection


def headers(token: Token, practice: UUID) -> dict[str, str]:
    return {"Authorization": f"Bearer {token(Role.PRACTICE_ADMIN, practice)}"}


async def walk(operation: Operation, values: dict[str, UUID], client: httpx.AsyncClient, sent: dict[str, str]) -> httpx.Response:
    path = operation.path.format_map(values)
    query = {name: str(values[name]) for name in operation.query_ids}
    return await client.request(operation.method, path, params=query, json=BODIES.get(str(operation)), headers=sent)


def essence(response: httpx.Response) -> object:
    """What an answer says, without what differs between any two answers."""
    if response.headers.get("content-type", "").startswith("application/"):
        return {key: value for key, value in response.json().items() if key not in {"instance", "correlation_id", "trace_id"}}
    return response.text


@pytest.mark.parametrize("operation", WITH_IDS, ids=str)
async def test_another_practices_ids_are_nobodys(
    operation: Operation, clients: Clients, token: Token, superuser: psycopg.Connection[tuple[Any, ...]]
) -> None:
    theirs, mine = uuid4(), uuid4()
    names = {*operation.ids, *operation.query_ids}
    made = {name: theirs if name == OWN_PRACTICE else plant(superuser, name, theirs) for name in names}
    client, stranger = clients[operation.service], headers(token, mine)
    answer = await walk(operation, made, client, stranger)
    nobody = await walk(operation, {name: uuid4() for name in names}, client, stranger)
    assert (answer.status_code, essence(answer)) == (nobody.status_code, essence(nobody))
    if operation.ids:
        assert answer.status_code == 404, answer.text


@pytest.mark.parametrize("operation", [op for op in WITH_IDS if op.method == "GET" and op.ids and OWN_PRACTICE not in op.ids], ids=str)
async def test_its_own_practice_finds_it(
    operation: Operation, clients: Clients, token: Token, superuser: psycopg.Connection[tuple[Any, ...]]
) -> None:
    mine = uuid4()
    made = {name: plant(superuser, name, mine) for name in operation.ids}
    answer = await walk(operation, made, clients[operation.service], headers(token, mine))
    assert answer.status_code == 200, answer.text


@pytest.mark.parametrize("operation", [op for op in OPERATIONS if op.path not in PUBLIC], ids=str)
async def test_nobody_enters_without_a_token(operation: Operation, clients: Clients) -> None:
    values = {name: uuid4() for name in (*operation.ids, *operation.query_ids)}
    answer = await walk(operation, values, clients[operation.service], {})
    assert answer.status_code == 401
    assert answer.headers["content-type"] == "application/problem+json"


def test_every_id_an_operation_takes_can_be_walked_with() -> None:
    taken = {name for operation in WITH_IDS for name in (*operation.ids, *operation.query_ids)}
    assert taken - {OWN_PRACTICE} == set(THINGS)


LISTS = [op for op in OPERATIONS if op.method == "GET" and not op.ids and op.path not in PUBLIC]


@pytest.mark.parametrize("operation", LISTS, ids=str)
async def test_lists_show_nothing_of_another_practice(
    operation: Operation, clients: Clients, token: Token, superuser: psycopg.Connection[tuple[Any, ...]]
) -> None:
    theirs = uuid4()
    made = {name: plant(superuser, name, theirs) for name in THINGS}
    answer = await walk(operation, {name: uuid4() for name in operation.query_ids}, clients[operation.service], headers(token, uuid4()))
    assert answer.status_code < 500
    assert [name for name, thing in made.items() if str(thing) in answer.text] == []
