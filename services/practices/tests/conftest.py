"""The service under test, a practice with its admin, a Vantage admin; and how somebody accepts an invitation."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from typing import Any
from uuid import UUID, uuid4

import httpx
import psycopg
import pytest

from libs.common.auth import Principal
from libs.common.service import Service
from libs.common.work import Work
from libs.contracts.envelope import PLATFORM
from libs.testing.fixtures import Headers, Token
from libs.testing.postgres import TestDatabase
from services.practices.app import build
from services.practices.commands.identity import token_for
from services.practices.commands.operators import add_operator
from services.practices.commands.sending import known_as
from services.practices.settings import Settings

ADA = {"name": "Ada Lund", "email": "Ada.Lund@Lindenhof.example", "role": "practice_admin"}
JONAS = {"name": "Jonas Falk", "email": "jonas.falk@lindenhof.example"}
LINDENHOF = {"name": "Lindenhof", "time_zone": "Europe/Berlin", "users": [ADA]}

Accept = Callable[..., Awaitable[str]]


@pytest.fixture(scope="session")
def service_name() -> str:
    return "practices"


@pytest.fixture(scope="session")
def service(settings_for: Callable[..., Any]) -> Service:
    return build(settings_for(Settings))


@pytest.fixture
def superuser(database: TestDatabase) -> Iterator[psycopg.Connection[tuple[Any, ...]]]:
    with psycopg.connect(database.url("postgres"), autocommit=True) as connection:
        yield connection


@pytest.fixture
def accept(work: Work) -> Accept:
    """``await accept(practice_id, user_id)``: the invited person comes in; returns their identity."""

    async def come(practice_id: UUID, user_id: UUID | str, identity: str | None = None) -> str:
        identity = identity or str(uuid4())
        async with work(Principal.system("test", practice_id)) as tx:
            await known_as((practice_id, UUID(str(user_id))), identity, tx)
        answer = await token_for(identity, practice_id, work)
        assert answer.refusal is None, answer.refusal
        return identity

    return come


@pytest.fixture
async def operator_id(work: Work, accept: Accept) -> tuple[UUID, str]:
    """A Vantage admin: our id and theirs at the identity provider."""
    invited = await add_operator("Vera Voss", f"vera.{uuid4()}@vantage.example", work)
    return invited.user_id, await accept(PLATFORM, invited.user_id)


@pytest.fixture
async def as_vantage_admin(operator_id: tuple[UUID, str], token: Token) -> Headers:
    return {"Authorization": f"Bearer {token(None, subject=operator_id[1])}"}


@pytest.fixture
async def lindenhof(client: httpx.AsyncClient, as_vantage_admin: Headers) -> dict[str, Any]:
    answer = await client.post("/v1/practices", json=LINDENHOF, headers=as_vantage_admin)
    assert answer.status_code == 201, answer.text
    view: dict[str, Any] = answer.json()
    return view


@pytest.fixture
def practice(lindenhof: dict[str, Any]) -> UUID:
    """The practice just made; the headers of the tests are those of its people."""
    return UUID(lindenhof["id"])


@pytest.fixture
async def ada(lindenhof: dict[str, Any], practice: UUID, accept: Accept) -> tuple[UUID, str]:
    """The practice's admin: our id and theirs at the identity provider."""
    user_id = lindenhof["invitations"][0]["user_id"]
    return UUID(user_id), await accept(practice, user_id)


@pytest.fixture
async def as_admin(ada: tuple[UUID, str], practice: UUID, token: Token) -> Headers:
    return {"Authorization": f"Bearer {token(practice, subject=ada[1])}"}
