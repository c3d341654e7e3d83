"""A Supabase Auth simulator and who talks to it, for the tests of it."""

from __future__ import annotations

import base64
import json
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import jwt
from cryptography.hazmat.primitives.asymmetric import ec
from supabase_auth import AsyncGoTrueClient
from supabase_auth._async.gotrue_admin_api import AsyncGoTrueAdminAPI

from libs.common.clock import utc_now
from libs.testing.simulators.supabase.server import SupabaseSimulator
from libs.testing.simulators.supabase.settings import Settings

BASE = "http://auth.test"
ISSUER = "https://auth.vantage.example/auth/v1"
SITE = "https://console.vantage.example"
ADA = "ada@lindenhof.example"
PASSWORD = "a long password of Ada"
SECRETS = [f"whsec_{base64.b64encode(bytes([number]) * 32).decode()}" for number in (1, 2)]


def private_key(kid: str, *operations: str) -> dict[str, Any]:
    jwk: dict[str, Any] = jwt.algorithms.ECAlgorithm.to_jwk(ec.generate_private_key(ec.SECP256R1()), as_dict=True)
    return {**jwk, "kid": kid, "alg": "ES256", "use": "sig", "key_ops": list(operations)}


KEYS = [private_key("older", "verify"), private_key("current", "sign", "verify")]
ENVIRONMENT = {
    "GOTRUE_JWT_KEYS": json.dumps(KEYS), "GOTRUE_JWT_ISSUER": ISSUER, "GOTRUE_SITE_URL": SITE, "API_EXTERNAL_URL": ISSUER,
    "GOTRUE_JWT_SECRET": "the secret of before, thirty-two bytes", "GOTRUE_MAILER_AUTOCONFIRM": "true",
}  # fmt: skip


class Hands:
    """A clock a test moves."""

    def __init__(self) -> None:
        self.ahead = timedelta(0)

    def __call__(self) -> datetime:
        return utc_now() + self.ahead

    def forward(self, seconds: float) -> None:
        self.ahead += timedelta(seconds=seconds)


class House:
    """A simulator and who talks to it: ``http`` plainly, ``admin`` and any number of ``person`` by the provider's client."""

    def __init__(self, state: Path, hands: Hands, *, hook_seconds: float = 30.0, **environment: str) -> None:
        settings = Settings.read({**ENVIRONMENT, **environment})
        self.simulator = SupabaseSimulator(state, settings, now=hands, hook_seconds=hook_seconds, hook_pause=0.01)
        self.http = httpx.AsyncClient(transport=httpx.ASGITransport(self.simulator.app()), base_url=BASE)
        claims = {"role": "service_role", "iss": ISSUER, "exp": int(hands().timestamp()) + 10**6}
        self.service = {"Authorization": f"Bearer {self.simulator.keys.sign(claims)}"}
        self.admin = AsyncGoTrueAdminAPI(url=BASE, headers=self.service, http_client=self.http)

    def person(self) -> AsyncGoTrueClient:
        return AsyncGoTrueClient(url=BASE, auto_refresh_token=False, persist_session=False, http_client=self.http)

    async def ada(self) -> AsyncGoTrueClient:
        person = self.person()
        await person.sign_up({"email": ADA, "password": PASSWORD})
        return person

    async def signed_in(self) -> dict[str, Any]:
        answer = await self.http.post("/token?grant_type=password", json={"email": ADA, "password": PASSWORD})
        assert answer.status_code == 200, answer.text
        found: dict[str, Any] = answer.json()
        return found

    async def refreshed(self, token: str) -> httpx.Response:
        return await self.http.post("/token?grant_type=refresh_token", json={"refresh_token": token})

    async def mails(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = (await self.http.get("/_control/mails")).json()
        return found


def code(answer: httpx.Response) -> tuple[int, str]:
    """Status and error code, which the header repeats."""
    body = answer.json()
    assert set(body) - {"weak_password"} == {"code", "error_code", "msg"}
    assert body["code"] == answer.status_code
    assert answer.headers["x-sb-error-code"] == body["error_code"]
    return answer.status_code, body["error_code"]


def claims_in(token: str) -> dict[str, Any]:
    found: dict[str, Any] = jwt.decode(token, options={"verify_signature": False})
    return found
