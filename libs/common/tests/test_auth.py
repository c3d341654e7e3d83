"""A token is believed when everything about it is right, and refused in the same words whatever is wrong."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import httpx
import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from libs.common import auth
from libs.common.auth import KeySet, KeysUnavailable, Principal, Role, TokenMissing, TokenRefused, TokenVerifier
from libs.testing.fixtures import AUDIENCE, ISSUER

URL = "https://issuer.vantage.example/.well-known/jwks.json"


class Issuer:
    """Publishes keys through a transport without a network; counts how often it is asked."""

    def __init__(self) -> None:
        self.keys: dict[str, ec.EllipticCurvePrivateKey] = {"first": ec.generate_private_key(ec.SECP256R1())}
        self.asked = 0
        self.answer: Callable[[], httpx.Response] | None = None

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.asked += 1
        if self.answer is not None:
            return self.answer()
        published = [
            {**jwt.algorithms.ECAlgorithm.to_jwk(key.public_key(), as_dict=True), "kid": kid, "alg": "ES256", "use": "sig"}
            for kid, key in self.keys.items()
        ]
        return httpx.Response(200, json={"keys": published})

    def token(self, *, kid: str = "first", headers: dict[str, Any] | None = None, drop: tuple[str, ...] = (), **claims: Any) -> str:
        now = datetime.now(UTC)
        body = {
            "iss": ISSUER, "aud": AUDIENCE, "sub": "somebody", "iat": now, "exp": now + timedelta(minutes=30),
            "app_metadata": {"vantage_role": "practice_admin"}, "practice_id": str(PRACTICE), **claims,
        }  # fmt: skip
        kept = {name: value for name, value in body.items() if name not in drop}
        return jwt.encode(kept, self.keys[kid], algorithm="ES256", headers={"kid": kid, **(headers or {})})


PRACTICE = uuid4()


@pytest.fixture
def issuer(monkeypatch: pytest.MonkeyPatch) -> Issuer:
    here = Issuer()
    client = httpx.AsyncClient
    monkeypatch.setattr(httpx, "AsyncClient", lambda **options: client(transport=httpx.MockTransport(here), **options))
    return here


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The monotonic clock; change its first value to move it."""
    now = [1000.0]
    monkeypatch.setattr(auth, "monotonic", lambda: now[0])
    return now


@pytest.fixture
def verifier(issuer: Issuer, clock: list[float]) -> TokenVerifier:
    return TokenVerifier(KeySet(URL, "ES256"), issuer=ISSUER, audience=AUDIENCE, algorithm="ES256")


async def principal(verifier: TokenVerifier, token: str) -> Principal:
    return await verifier.principal(f"Bearer {token}")


class TestBelieves:
    async def test_a_token_of_a_practice(self, verifier: TokenVerifier, issuer: Issuer) -> None:
        assert await principal(verifier, issuer.token()) == Principal("user", "somebody", Role.PRACTICE_ADMIN, PRACTICE)

    async def test_a_vantage_admin_has_no_practice(self, verifier: TokenVerifier, issuer: Issuer) -> None:
        token = issuer.token(app_metadata={"vantage_role": "vantage_admin"}, drop=("practice_id",))
        assert (await principal(verifier, token)).practice_id is None

    async def test_the_scheme_in_any_case(self, verifier: TokenVerifier, issuer: Issuer) -> None:
        assert (await verifier.principal(f"bearer {issuer.token()}")).id == "somebody"


def _unsigned(issuer: Issuer) -> str:
    body = issuer.token().split(".")[1]
    head = base64.urlsafe_b64encode(json.dumps({"alg": "none", "kid": "first"}).encode()).decode().rstrip("=")
    return f"{head}.{body}."


def _symmetric(issuer: Issuer) -> str:
    """The published key used as a shared secret: what an algorithm taken from the token would fall for."""
    claims = jwt.decode(issuer.token(), options={"verify_signature": False})
    return jwt.encode(claims, "x" * 32, algorithm="HS256", headers={"kid": "first"})


def _another_key(issuer: Issuer) -> str:
    stranger = Issuer()
    return stranger.token()


def _rsa(issuer: Issuer) -> str:
    claims = jwt.decode(issuer.token(), options={"verify_signature": False})
    return jwt.encode(claims, rsa.generate_private_key(65537, 2048), algorithm="RS256", headers={"kid": "first"})


NOW = datetime.now(UTC)
BAD: dict[str, Callable[[Issuer], str]] = {
    "not signed": _unsigned,
    "signed with a shared secret": _symmetric,
    "signed with another key": _another_key,
    "signed with another algorithm": _rsa,
    "another issuer": lambda issuer: issuer.token(iss="https://elsewhere.example"),
    "another audience": lambda issuer: issuer.token(aud="anon"),
    "expired": lambda issuer: issuer.token(iat=NOW - timedelta(hours=1), exp=NOW - timedelta(minutes=5)),
    "not valid yet": lambda issuer: issuer.token(nbf=NOW + timedelta(minutes=5)),
    "issued in the future": lambda issuer: issuer.token(iat=NOW + timedelta(minutes=5), exp=NOW + timedelta(minutes=9)),
    "valid for too long": lambda issuer: issuer.token(exp=NOW + timedelta(days=30)),
    "without an expiry": lambda issuer: issuer.token(drop=("exp",)),
    "without an issue time": lambda issuer: issuer.token(drop=("iat",)),
    "without a subject": lambda issuer: issuer.token(drop=("sub",)),
    "an empty subject": lambda issuer: issuer.token(sub=""),
    "without a role": lambda issuer: issuer.token(app_metadata={}),
    "a role nobody has": lambda issuer: issuer.token(app_metadata={"vantage_role": "root"}),
    "a role that is no text": lambda issuer: issuer.token(app_metadata={"vantage_role": ["practice_admin"]}),
    "metadata that is none": lambda issuer: issuer.token(app_metadata="practice_admin"),
    "no practice": lambda issuer: issuer.token(drop=("practice_id",)),
    "a practice that is no id": lambda issuer: issuer.token(practice_id="mine"),
    "the platform as practice": lambda issuer: issuer.token(practice_id=str(UUID(int=0))),
    "a vantage admin in a practice": lambda issuer: issuer.token(app_metadata={"vantage_role": "vantage_admin"}),
    "a key nobody published": lambda issuer: issuer.token(headers={"kid": "unknown"}),
    "a key id that is no text": lambda issuer: _unsigned(issuer).replace("first", "17"),
    "too long": lambda issuer: issuer.token(padding="x" * 9000),
    "no token at all": lambda issuer: "abc",
    "three empty parts": lambda issuer: "..",
}


class TestRefuses:
    @pytest.mark.parametrize("what", BAD)
    async def test_in_the_same_words(self, what: str, verifier: TokenVerifier, issuer: Issuer) -> None:
        await principal(verifier, issuer.token())
        with pytest.raises(TokenRefused) as refused:
            await principal(verifier, BAD[what](issuer))
        assert (refused.value.code, refused.value.details) == ("token_refused", {})

    @pytest.mark.parametrize("header", [None, ""])
    async def test_a_missing_one(self, header: str | None, verifier: TokenVerifier) -> None:
        with pytest.raises(TokenMissing):
            await verifier.principal(header)

    @pytest.mark.parametrize("header", ["Basic YTpi", "Bearer", "Bearer ", "token"])
    async def test_another_scheme(self, header: str, verifier: TokenVerifier) -> None:
        with pytest.raises(TokenRefused):
            await verifier.principal(header)

    def test_an_algorithm_that_is_not_pinned_to_a_key_pair(self) -> None:
        with pytest.raises(ValueError, match="HS256"):
            TokenVerifier(KeySet(URL, "HS256"), issuer=ISSUER, audience=AUDIENCE, algorithm="HS256")


class TestKeys:
    async def test_are_fetched_once_for_many_tokens(self, verifier: TokenVerifier, issuer: Issuer) -> None:
        for _ in range(5):
            await principal(verifier, issuer.token())
        assert issuer.asked == 1

    async def test_a_new_key_is_found_when_a_token_names_it(self, verifier: TokenVerifier, issuer: Issuer, clock: list[float]) -> None:
        await principal(verifier, issuer.token())
        issuer.keys["second"] = ec.generate_private_key(ec.SECP256R1())
        clock[0] += auth.JWKS_MIN_AGE_SECONDS + 1
        assert (await principal(verifier, issuer.token(kid="second"))).id == "somebody"

    async def test_a_withdrawn_key_is_forgotten(self, verifier: TokenVerifier, issuer: Issuer, clock: list[float]) -> None:
        token = issuer.token()
        await principal(verifier, token)
        issuer.keys = {"second": ec.generate_private_key(ec.SECP256R1())}
        clock[0] += auth.JWKS_MAX_AGE_SECONDS + 1
        with pytest.raises(TokenRefused):
            await principal(verifier, token)

    async def test_a_flood_of_unknown_keys_is_no_flood_of_fetches(self, verifier: TokenVerifier, issuer: Issuer) -> None:
        await principal(verifier, issuer.token())
        for number in range(20):
            with pytest.raises(TokenRefused):
                await principal(verifier, issuer.token(headers={"kid": f"forged-{number}"}))
        assert issuer.asked == 1

    @pytest.mark.parametrize(
        "answer",
        [
            lambda: httpx.Response(500),
            lambda: httpx.Response(200, text="<html>"),
            lambda: httpx.Response(200, json={}),
            lambda: httpx.Response(200, json=["keys"]),
            lambda: httpx.Response(200, json={"keys": [{"kty": "EC"}]}),
        ],
        ids=["an error", "no JSON", "no keys", "a list", "a broken key"],
    )
    async def test_old_ones_stay_in_use_while_the_issuer_says(
        self, answer: Callable[[], httpx.Response], verifier: TokenVerifier, issuer: Issuer, clock: list[float]
    ) -> None:
        await principal(verifier, issuer.token())
        issuer.answer = answer
        clock[0] += auth.JWKS_MAX_AGE_SECONDS + 1
        assert (await principal(verifier, issuer.token())).id == "somebody"

    async def test_without_any_nobody_is_refused_but_asked_to_come_back(
        self, verifier: TokenVerifier, issuer: Issuer, clock: list[float]
    ) -> None:
        def away() -> httpx.Response:
            raise httpx.ConnectError("away")

        issuer.answer = away
        for _ in range(10):
            with pytest.raises(KeysUnavailable):
                await principal(verifier, issuer.token())
        assert issuer.asked == 1
        issuer.answer = None
        clock[0] += auth.JWKS_MIN_AGE_SECONDS + 1
        assert (await principal(verifier, issuer.token())).id == "somebody"
