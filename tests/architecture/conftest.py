"""Every service's door in one process, a superuser, and callers of every kind."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from typing import Any

import httpx
import psycopg
import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from libs.contracts.topics import SERVICES
from libs.testing.fixtures import Token, trusting
from libs.testing.postgres import TestDatabase
from tests.architecture.doors import Callers, build


@pytest.fixture(scope="module")
async def clients(database: TestDatabase, signing_key: ec.EllipticCurvePrivateKey) -> AsyncIterator[dict[str, httpx.AsyncClient]]:
    """A client on the door of every service."""
    built = {service: trusting(build(service, database.app(service)), signing_key) for service in SERVICES}
    yield {name: httpx.AsyncClient(transport=httpx.ASGITransport(it.app), base_url="http://vantage.test") for name, it in built.items()}
    for service in built.values():
        await service.engine.dispose()


@pytest.fixture(scope="module")
def root(database: TestDatabase) -> Iterator[psycopg.Connection[tuple[Any, ...]]]:
    """A superuser whose statements count at once. One connection for all tests of a module: nothing may be set on it for good."""
    with psycopg.connect(database.url("postgres"), autocommit=True) as connection:
        yield connection


@pytest.fixture(scope="module")
def callers(root: psycopg.Connection[tuple[Any, ...]], token: Token) -> Callers:
    return Callers(root, token)
