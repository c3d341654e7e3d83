"""A token is believed when everything about it is right, and refused in the same words whatever is wrong."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import httpx
import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from libs.common import tokens
from libs.common.tokens import (
    HOUSE_ISSUER,
    Claims,
    KeySet,
    KeysUnavailable,
    SharedSecret,
    TokenMissing,
    TokenRefused,
    TokenVerifier,
    house_issuer,
    house_token,
)
from libs.common.tokens import Issuer as Trusted
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
            "role": "authenticated", "practice_id": str(PRACTICE), **claims,
        }  # fmt: skip
        kept = {name: value for name, value in body.items() if name not in drop}
        return jwt.encode(kept, self.keys[kid], algorithm="ES256", headers={"kid": kid, **(headers or {})})


PRACTICE = uuid4()
HOUSE_KEY = bytes(range(32))
SECRET = "a shared secret of forty characters and two"


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
    monkeypatch.setattr(tokens, "monotonic", lambda: now[0])
    return now


@pytest.fixture
def verifier(issuer: Issuer, clock: list[float]) -> TokenVerifier:
    return TokenVerifier(Trusted(ISSUER, AUDIENCE, "ES256", KeySet(URL, "ES256")), house_issuer(HOUSE_KEY))


async def claims_of(verifier: TokenVerifier, token: str) -> Claims:
    return await verifier.claims(f"Bearer {token}")


class TestBelieves:
    async def test_a_token_of_a_practice(self, verifier: TokenVerifier, issuer: Issuer) -> None:
        claims = await claims_of(verifier, issuer.token())
        assert (claims["sub"], claims["practice_id"]) == ("somebody", str(PRACTICE))

    async def test_the_scheme_in_any_case(self, verifier: TokenVerifier, issuer: Issuer) -> None:
        assert (await verifier.claims(f"bearer {issuer.token()}"))["sub"] == "somebody"

    async def test_an_audience_given_as_a_list(self, verifier: TokenVerifier, issuer: Issuer) -> None:
        """Auth's first token after its start carries one."""
        assert (await claims_of(verifier, issuer.token(aud=[AUDIENCE])))["sub"] == "somebody"

    async def test_a_token_of_the_house(self, verifier: TokenVerifier) -> None:
        claims = await claims_of(verifier, house_token(HOUSE_KEY, {"sub": "key", "scopes": []}))
        assert (claims["iss"], claims["sub"]) == (HOUSE_ISSUER, "key")

    async def test_one_of_an_issuer_with_a_shared_secret(self) -> None:
        verifier = TokenVerifier(Trusted(ISSUER, AUDIENCE, "HS256", SharedSecret(SECRET.encode())))
        token = jwt.encode(jwt.decode(Issuer().token(), options={"verify_signature": False}), SECRET, algorithm="HS256")
        assert (await claims_of(verifier, token))["sub"] == "somebody"

    async def test_one_it_has_verified_without_verifying_it_again(
        self, verifier: TokenVerifier, issuer: Issuer, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        token = issuer.token()
        first = await claims_of(verifier, token)
        monkeypatch.setattr(verifier, "_verify", None)
        assert await claims_of(verifier, token) == first

    async def test_a_verified_one_no_longer_than_it_lasts(
        self, verifier: TokenVerifier, issuer: Issuer, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        token = issuer.token()
        await claims_of(verifier, token)
        later = datetime.now(UTC) + timedelta(minutes=31)
        monkeypatch.setattr(tokens, "utc_now", lambda: later)
        monkeypatch.setattr(verifier, "_verify", lambda _: _refuse())
        with pytest.raises(TokenRefused):
            await claims_of(verifier, token)


async def _refuse() -> Claims:
    raise TokenRefused


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


def _confused(issuer: Issuer) -> str:
    """HS256 over the published key's own text, made by hand: the library refuses to help."""
    pem = issuer.keys["first"].public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    return _signed(issuer, {"alg": "HS256", "typ": "JWT", "kid": "first"}, {}, pem)


def _signed(issuer: Issuer, header: dict[str, Any], changed: dict[str, Any], key: bytes) -> str:
    claims = {**jwt.decode(issuer.token(), options={"verify_signature": False}), **changed}
    parts = [base64.urlsafe_b64encode(json.dumps(part).encode()).decode().rstrip("=") for part in (header, claims)]
    signature = hmac.new(key, ".".join(parts).encode(), hashlib.sha256).digest()
    return ".".join([*parts, base64.urlsafe_b64encode(signature).decode().rstrip("=")])


def _raw(issuer: Issuer, changed: dict[str, Any]) -> str:
    """Claims the library would not write, signed well."""
    claims = {**jwt.decode(issuer.token(), options={"verify_signature": False}), **changed}
    return jwt.PyJWS().encode(json.dumps(claims).encode(), issuer.keys["first"], algorithm="ES256", headers={"kid": "first", "typ": "JWT"})


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
    "a subject that is a number": lambda issuer: _raw(issuer, {"sub": 17}),
    "an expiry that is a text": lambda issuer: _raw(issuer, {"exp": "2099-01-01"}),
    "an expiry that is a fraction": lambda issuer: _raw(issuer, {"exp": NOW.timestamp() + 60.5}),
    "ten years": lambda issuer: issuer.token(exp=NOW + timedelta(days=3650)),
    "an issuer with something before it": lambda issuer: issuer.token(iss=f"x{ISSUER}"),
    "an issuer with something behind it": lambda issuer: issuer.token(iss=f"{ISSUER}/"),
    "no audience": lambda issuer: issuer.token(drop=("aud",)),
    "a list of other audiences": lambda issuer: issuer.token(aud=["anon", "service_role"]),
    "the house, signed by the issuer": lambda issuer: issuer.token(iss=HOUSE_ISSUER, aud=HOUSE_ISSUER),
    "the house, signed with another key": lambda _: house_token(bytes(32), {"sub": "key"}),
    "a critical header nobody knows": lambda issuer: issuer.token(headers={"crit": ["exp"], "exp": 1}),
    "a key inside the token": lambda issuer: issuer.token(headers={"jwk": {"kty": "EC"}}),
    "an address of keys inside the token": lambda issuer: issuer.token(headers={"jku": "https://keys.attacker.example/"}),
    "a certificate inside the token": lambda issuer: issuer.token(headers={"x5u": "https://keys.attacker.example/"}),
    "another type": lambda issuer: issuer.token(headers={"typ": "id+jwt"}),
    "no type": lambda issuer: issuer.token(headers={"typ": None}),
    "a key id that is a path": lambda issuer: issuer.token(headers={"kid": "../../etc/passwd"}),
    "a key id that is an address": lambda issuer: issuer.token(headers={"kid": "https://keys.attacker.example/first"}),
    "a key id that is SQL": lambda issuer: issuer.token(headers={"kid": "first' OR '1'='1"}),
    "a very long key id": lambda issuer: issuer.token(headers={"kid": "k" * 7000}),
    "five parts": lambda issuer: f"{issuer.token()}.a.b",
    "something behind it": lambda issuer: f"{issuer.token()}=",
    "no signature": lambda issuer: issuer.token().rpartition(".")[0] + ".",
    "signed with the public key as a secret": _confused,
    "a key nobody published": lambda issuer: issuer.token(headers={"kid": "unknown"}),
    "a key id that is no text": lambda issuer: _unsigned(issuer).replace("first", "17"),
    "too long": lambda issuer: issuer.token(padding="x" * 9000),
    "no token at all": lambda issuer: "abc",
    "three empty parts": lambda issuer: "..",
}


class TestRefuses:
    @pytest.mark.parametrize("what", BAD)
    async def test_in_the_same_words(self, what: str, verifier: TokenVerifier, issuer: Issuer) -> None:
        await claims_of(verifier, issuer.token())
        with pytest.raises(TokenRefused) as refused:
            await claims_of(verifier, BAD[what](issuer))
        assert (refused.value.code, refused.value.details) == ("token_refused", {})

    @pytest.mark.parametrize("header", [None, ""])
    async def test_a_missing_one(self, header: str | None, verifier: TokenVerifier) -> None:
        with pytest.raises(TokenMissing):
            await verifier.claims(header)

    @pytest.mark.parametrize("header", ["Basic YTpi", "Bearer", "Bearer ", "token"])
    async def test_another_scheme(self, header: str, verifier: TokenVerifier) -> None:
        with pytest.raises(TokenRefused):
            await verifier.claims(header)

    @pytest.mark.parametrize(
        ("algorithm", "keys"), [("HS256", KeySet(URL, "HS256")), ("ES256", SharedSecret(b"x" * 32)), ("none", KeySet(URL, "none"))]
    )
    def test_an_algorithm_that_does_not_go_with_its_keys(self, algorithm: str, keys: Any) -> None:
        with pytest.raises(ValueError, match="HS256"):
            Trusted(ISSUER, AUDIENCE, algorithm, keys)

    def test_a_short_shared_secret(self) -> None:
        with pytest.raises(ValueError, match="32 bytes"):
            SharedSecret(b"secret")

    async def test_without_asking_anybody_for_keys_a_token_names(self, verifier: TokenVerifier, issuer: Issuer) -> None:
        with pytest.raises(TokenRefused):
            await claims_of(verifier, issuer.token(headers={"jku": "https://keys.attacker.example/"}))
        assert issuer.asked == 0


class TestKeys:
    async def test_are_fetched_once_for_many_tokens(self, verifier: TokenVerifier, issuer: Issuer) -> None:
        for _ in range(5):
            await claims_of(verifier, issuer.token())
        assert issuer.asked == 1

    async def test_a_new_key_is_found_when_a_token_names_it(self, verifier: TokenVerifier, issuer: Issuer, clock: list[float]) -> None:
        await claims_of(verifier, issuer.token())
        issuer.keys["second"] = ec.generate_private_key(ec.SECP256R1())
        clock[0] += tokens.UNKNOWN_KEY_PAUSE_SECONDS + 1
        assert (await claims_of(verifier, issuer.token(kid="second")))["sub"] == "somebody"

    async def test_a_withdrawn_key_is_forgotten(self, verifier: TokenVerifier, issuer: Issuer, clock: list[float]) -> None:
        token = issuer.token()
        await claims_of(verifier, token)
        issuer.keys = {"second": ec.generate_private_key(ec.SECP256R1())}
        clock[0] += tokens.JWKS_MAX_AGE_SECONDS + 1
        with pytest.raises(TokenRefused):
            await claims_of(verifier, token)

    async def test_a_flood_of_unknown_keys_is_no_flood_of_fetches(self, verifier: TokenVerifier, issuer: Issuer) -> None:
        await claims_of(verifier, issuer.token())
        for number in range(20):
            with pytest.raises(TokenRefused):
                await claims_of(verifier, issuer.token(headers={"kid": f"forged-{number}"}))
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
        await claims_of(verifier, issuer.token())
        issuer.answer = answer
        clock[0] += tokens.JWKS_MAX_AGE_SECONDS + 1
        assert (await claims_of(verifier, issuer.token()))["sub"] == "somebody"

    async def test_without_any_nobody_is_refused_but_asked_to_come_back(
        self, verifier: TokenVerifier, issuer: Issuer, clock: list[float]
    ) -> None:
        def away() -> httpx.Response:
            raise httpx.ConnectError("away")

        issuer.answer = away
        for _ in range(10):
            with pytest.raises(KeysUnavailable):
                await claims_of(verifier, issuer.token())
        assert issuer.asked == 1
        issuer.answer = None
        clock[0] += tokens.FAILURE_PAUSE_SECONDS + 1
        assert (await claims_of(verifier, issuer.token()))["sub"] == "somebody"
