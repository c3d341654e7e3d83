"""What the debug operations tell an admin holds no secret of any service, whatever it was configured with."""

from __future__ import annotations

from typing import Any

import httpx
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from pydantic import SecretStr

from libs.common.auth import Role
from libs.contracts.envelope import PLATFORM
from libs.contracts.topics import SERVICES
from libs.testing.fixtures import trusting
from libs.testing.postgres import TestDatabase
from tests.architecture.doors import Callers, build

OPERATIONS = ("session", "auth-status", "db-config", "env")


@pytest.mark.parametrize("service", SERVICES)
async def test_holds_no_configured_secret(
    service: str, database: TestDatabase, callers: Callers, signing_key: ec.EllipticCurvePrivateKey
) -> None:
    built = trusting(build(service, database.app(service)), signing_key)
    hidden = {
        name: value.get_secret_value()
        for name in type(built.settings).model_fields
        if isinstance(value := getattr(built.settings, name), SecretStr)
    }
    assert {"database_url", "tenancy_key", "secrets_keys", "cursor_key", "gateway_key", "gateway_proof"} <= hidden.keys()
    sent = callers.person(service, Role.VANTAGE_ADMIN, PLATFORM)
    told: dict[str, Any] = {}
    async with httpx.AsyncClient(transport=httpx.ASGITransport(built.app), base_url="http://vantage.test") as client:
        for operation in OPERATIONS:
            answer = await client.get(f"/v1/debug/{service}/{operation}", headers=sent)
            assert answer.status_code == 200, answer.text
            told[operation] = answer.text
    await built.engine.dispose()
    text = "".join(told.values())
    parts = {
        part
        for value in hidden.values()
        for part in (value, *value.split(":"), *value.split("@"))
        if len(part) >= 16 and not part.isdigit()
    }
    host = database.app(service).rpartition("@")[2]
    assert [part for part in parts if part in text and part not in host] == []
    assert "VANTAGE_TENANCY_KEY" in told["env"]


async def test_says_how_the_caller_was_understood(clients: dict[str, httpx.AsyncClient], callers: Callers) -> None:
    sent = callers.person("patients", Role.VANTAGE_ADMIN, PLATFORM)
    session = (await clients["patients"].get("/v1/debug/patients/session", headers=sent)).json()
    assert (session["role"], session["practice_id"], session["through_gateway"]) == ("vantage_admin", None, False)
    status = (await clients["patients"].get("/v1/debug/patients/auth-status", headers=sent)).json()
    assert {issuer["algorithm"] for issuer in status} == {"ES256", "HS256"}
    tables = (await clients["patients"].get("/v1/debug/patients/db-config", headers=sent)).json()["tables_without_row_security"]
    assert {"inbox", "access_practice"} <= set(tables)
