"""The identity provider of development: access tokens in the shape Supabase Auth gives them, and the keys to verify them.

``POST /token {"sub", "vantage_role", "practice_id", "email"}`` answers ``{"access_token", ...}``. ES256, one hour at most.
"""

from __future__ import annotations

import time
import uuid
from pathlib import Path
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric import ec
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp

from libs.testing.simulators.control import Faults, Record, main, simulator
from libs.testing.simulators.sendgrid import _kept_key

ISSUER = "https://issuer.vantage.example"
LIFETIME_SECONDS = 3600


class IssuerSimulator:
    def __init__(self, state: Path) -> None:
        self._key = _kept_key(state / "issuer-key.pem")
        self._jwk: dict[str, Any] = jwt.algorithms.ECAlgorithm.to_jwk(self._key.public_key(), as_dict=True)
        self._kid = str(uuid.uuid5(uuid.NAMESPACE_URL, self._jwk["x"]))
        self.record = Record(state / "accepted.jsonl")

    def app(self) -> ASGIApp:
        routes = [Route("/.well-known/jwks.json", self.jwks), Route("/token", self.token, methods=["POST"])]
        return simulator(routes, self.record, Faults(), self.page)

    async def jwks(self, _: Request) -> Response:
        key = {**self._jwk, "kid": self._kid, "alg": "ES256", "use": "sig", "key_ops": ["verify"]}
        return JSONResponse({"keys": [key]}, headers={"Cache-Control": "public, max-age=300"})

    async def token(self, request: Request) -> Response:
        try:
            body = await request.json()
            claims = self.claims(body["sub"], body["vantage_role"], body.get("practice_id"), body.get("email", "person@vantage.example"))
        except (ValueError, KeyError, TypeError):
            return JSONResponse({"code": 400, "error_code": "validation_failed", "msg": "sub and vantage_role are needed"}, 400)
        return JSONResponse({"access_token": self.sign(claims), "token_type": "bearer", "expires_in": LIFETIME_SECONDS})

    def claims(self, sub: str, role: str, practice_id: str | None, email: str) -> dict[str, Any]:
        now = int(time.time())
        found: dict[str, Any] = {
            "iss": ISSUER, "aud": "authenticated", "sub": sub, "email": email, "iat": now, "exp": now + LIFETIME_SECONDS,
            "role": "authenticated", "aal": "aal1", "amr": [{"method": "password", "timestamp": now}], "session_id": str(uuid.uuid4()),
            "is_anonymous": False, "app_metadata": {"provider": "email", "vantage_role": role}, "user_metadata": {},
        }  # fmt: skip
        if practice_id:
            found["practice_id"] = practice_id
        return found

    def sign(self, claims: dict[str, Any]) -> str:
        key: ec.EllipticCurvePrivateKey = self._key
        return jwt.encode(claims, key, algorithm="ES256", headers={"kid": self._kid})

    def page(self, _: Request) -> Response:
        return JSONResponse({"issuer": ISSUER, "keys": "/.well-known/jwks.json", "token": "POST /token"})


if __name__ == "__main__":
    main(lambda state: IssuerSimulator(state).app())
