"""Fixtures for the tests of one service: its unit of work, a fresh practice, what it said, a client on its door.

Tests are independent because each has a practice of its own, not because anything is rolled back.
"""

from __future__ import annotations

import base64
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import httpx
import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from libs.common.access import take_access
from libs.common.auth import Principal, Role
from libs.common.db import TenancySigner, make_engine
from libs.common.logging import start_logging
from libs.common.messaging import Incoming
from libs.common.service import Service
from libs.common.settings import ServiceSettings
from libs.common.telemetry import start_telemetry
from libs.common.tokens import Issuer, TokenVerifier, house_token
from libs.common.work import Work
from libs.contracts.access import MemberAccessChanged, PracticeAccessChanged
from libs.contracts.envelope import MESSAGES, PLATFORM, Message
from libs.contracts.permissions import GRANTS, Permission
from libs.testing.postgres import TENANCY_KEY, TestDatabase

POOLED = "VANTAGE_TEST_POOLED" in os.environ
"""Whether services meet their database through a pooler (tests/integration/test_pooler.py asks for it)."""

ISSUER = "https://issuer.vantage.example"
AUDIENCE = "authenticated"
SECRETS_KEYS = "test:5e81f2c6a09b37d4410cfd6e92b8037a1f65cc28d7490eb3864ad15907fe3b62"
CURSOR_KEY = "c30d9a5b7716ef42880fb1643c5da92e07e4d8516bfa3390c17d24a86f5e0b99"
GATEWAY_KEY = "91b7d3c50a4e6f28e0c17d5b3a9642f8570ce1d4b86a39f20d7e5c8164b3fa90"
GATEWAY_PROOF = "0b6e93f1d8275ac4e7190f3b5d82c6a4719e0c5f38bd2467a1f30e9c8d5b7264"
HOOK_SECRET = "v1,whsec_" + base64.b64encode(bytes(range(32))).decode()
EXTRA: dict[str, dict[str, str]] = {
    "audit": {"ledger_signing_key": "11" * 32},
    "practices": {
        "auth_url": "http://127.0.0.1:1", "auth_service_key": "service", "hook_secrets": HOOK_SECRET, "site_url": "https://app.vantage.example",
    },
}  # fmt: skip
"""What single services are told besides."""

Outbox = Callable[[UUID], Awaitable[list[Message]]]
Token = Callable[..., str]
Headers = dict[str, str]
Join = Callable[..., Awaitable[Headers]]


@pytest.fixture(scope="session", autouse=True)
def _quiet() -> None:
    start_logging("test", "critical")
    start_telemetry("test", None)


@pytest.fixture(scope="session")
def service_name() -> str:
    """Overridden by each service's conftest."""
    message = "define the fixture service_name in the service's tests/conftest.py"
    raise LookupError(message)


@pytest.fixture(scope="session")
async def _works(database: TestDatabase) -> AsyncIterator[Callable[[str], Work]]:
    """One unit of work per service and worker. A worker runs tests of several services one after another."""
    made: dict[str, Work] = {}

    def work_of(service: str) -> Work:
        if service not in made:
            engine = make_engine(database.app(service), application=f"test {service}", pooled=POOLED)
            made[service] = Work(service, engine, TenancySigner(TENANCY_KEY))
        return made[service]

    yield work_of
    for work in made.values():
        await work.engine.dispose()


@pytest.fixture
def work(_works: Callable[[str], Work], service_name: str) -> Work:
    """The unit of work of the service under test, as its application role."""
    return _works(service_name)


@pytest.fixture
def practice() -> UUID:
    return uuid4()


@pytest.fixture
def admin(practice: UUID) -> Principal:
    return Principal("user", str(uuid4()), Role.PRACTICE_ADMIN, practice, GRANTS[Role.PRACTICE_ADMIN])


@pytest.fixture
def outbox(work: Work) -> Outbox:
    """What the service said for a practice, oldest first."""

    async def said(practice: UUID) -> list[Message]:
        async with work.batch([practice], Principal.system("test")) as tx:
            rows = await tx.rows("SELECT type, payload FROM outbox WHERE practice_id = $1 ORDER BY seq", practice)
        return [MESSAGES[row["type"]].model_validate(row["payload"]) for row in rows]

    return said


class _OneKey:
    """The issuer's key set without the network."""

    def __init__(self, key: ec.EllipticCurvePrivateKey) -> None:
        self._key = jwt.PyJWK.from_dict(
            {**jwt.algorithms.ECAlgorithm.to_jwk(key.public_key(), as_dict=True), "kid": "test", "alg": "ES256"}
        )

    async def key(self, _: str) -> jwt.PyJWK:
        return self._key


def trusting(service: Service, key: ec.EllipticCurvePrivateKey) -> Service:
    """The service with the test's key in place of the identity provider's published ones."""
    verifier: TokenVerifier = service.app.state.verifier
    verifier.issuers[ISSUER] = Issuer(ISSUER, AUDIENCE, "ES256", _OneKey(key))
    return service


@pytest.fixture(scope="session")
def signing_key() -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(ec.SECP256R1())


@pytest.fixture(scope="session")
def token(signing_key: ec.EllipticCurvePrivateKey) -> Token:
    """``token(practice_id, subject=..., **claims)``: an access token as the issuer makes it. What its holder may is not in it."""

    def make(home: UUID | None, /, *, subject: str | None = None, **claims: Any) -> str:
        now = datetime.now(UTC)
        body = {
            "iss": ISSUER, "aud": AUDIENCE, "sub": subject or str(uuid4()), "iat": now, "exp": now + timedelta(minutes=30),
            "role": "authenticated", "app_metadata": {}, "is_anonymous": False, **claims,
        }  # fmt: skip
        if home is not None:
            body["practice_id"] = str(home)
        return jwt.encode(body, signing_key, algorithm="ES256", headers={"kid": "test"})

    return make


@pytest.fixture(scope="session")
def settings_for(database: TestDatabase) -> Callable[..., Any]:
    """``settings_for(Settings, **extra)``: settings of the service the class belongs to, without an environment."""

    def make(settings: type[ServiceSettings], **extra: Any) -> ServiceSettings:
        service_name = settings.__module__.split(".")[1]
        values: dict[str, Any] = {
            "http_port": 1, "database_url": database.app(service_name), "kafka": "127.0.0.1:1", "tenancy_key": TENANCY_KEY,
            "database_pooled": POOLED, "secrets_keys": SECRETS_KEYS, "cursor_key": CURSOR_KEY, "gateway_key": GATEWAY_KEY, "gateway_proof": GATEWAY_PROOF, "issuer": ISSUER, "jwks_url": "http://127.0.0.1:1/",
            **EXTRA.get(service_name, {}), **extra,
        }  # fmt: skip
        return settings(**values)

    return make


@pytest.fixture
async def client(service: Service, signing_key: ec.EllipticCurvePrivateKey) -> AsyncIterator[httpx.AsyncClient]:
    """A client on the service's HTTP door, in process, with real token verification."""
    app = trusting(service, signing_key).app
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://vantage.test") as client:
        yield client


async def admit(
    work: Work, practice_id: UUID | None, role: Role, identity: str, *, user_id: UUID | None = None, active: bool = True
) -> None:
    """Let the service of ``work`` know a member, as the events of practices would."""
    home = practice_id or PLATFORM
    member = MemberAccessChanged(user_id=user_id or uuid4(), identity=identity, role=role, active=active, version=1)
    practice = PracticeAccessChanged(changed_practice_id=home, suspended=False, origins=[], version=0)
    async with work.batch([home], Principal.system("test")) as tx:
        await take_access([(home, member), (home, practice)], tx)


@pytest.fixture
def join(work: Work, token: Token) -> Join:
    """``await join(role, practice_id)``: headers of somebody whom the service under test knows as that."""

    async def make(role: Role, practice_id: UUID | None, *, user_id: UUID | None = None) -> Headers:
        identity = str(uuid4())
        await admit(work, practice_id, role, identity, user_id=user_id)
        return {"Authorization": f"Bearer {token(practice_id, subject=identity)}"}

    return make


@pytest.fixture
def with_key() -> Callable[..., Headers]:
    """``with_key(practice_id, *scopes)``: headers as the gateway passes an API key's request on."""

    def make(practice_id: UUID, *scopes: Permission) -> Headers:
        claims = {"sub": str(uuid4()), "practice_id": str(practice_id), "scopes": [str(scope) for scope in scopes]}
        return {"Authorization": f"Bearer {house_token(bytes.fromhex(GATEWAY_KEY), claims)}"}

    return make


@pytest.fixture
async def as_admin(join: Join, practice: UUID) -> Headers:
    """Headers of a practice admin of the test's practice."""
    return await join(Role.PRACTICE_ADMIN, practice)


@pytest.fixture
async def as_user(join: Join, practice: UUID) -> Headers:
    return await join(Role.REGULAR_USER, practice)


@pytest.fixture
async def as_stranger(join: Join) -> Headers:
    """Headers of an admin of another practice."""
    return await join(Role.PRACTICE_ADMIN, uuid4())


@pytest.fixture
async def as_vantage_admin(join: Join) -> Headers:
    return await join(Role.VANTAGE_ADMIN, None)


_offsets: Iterator[int] = iter(range(10**9))


def incoming(message: Message, practice: UUID, **headers: str) -> Incoming:
    """The message as a Kafka record would bring it; ``headers`` override."""
    envelope = {
        "ce_id": str(uuid4()), "ce_type": message.type, "ce_source": f"/vantage/{message.owner}", "ce_subject": message.subject,
        "ce_time": datetime.now(UTC).isoformat(), "ce_specversion": "1.0", "ce_partitionkey": str(practice), "ce_actor": "user:test",
        "correlation_id": str(uuid4()), "traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
    }  # fmt: skip
    return Incoming(f"vantage.{message.owner}.events", 0, next(_offsets), {**envelope, **headers}, message.model_dump_json().encode())
