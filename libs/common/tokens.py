"""From a bearer token to verified claims. Behind the gateway as well as without it.

Two issuers, each with one algorithm pinned in settings and never read from the token (RFC 8725 §3.1): the identity
provider (ES256 or RS256 by its published keys, or HS256 by a shared secret) and the house itself, whose short-lived
tokens stand for API keys behind the gateway. Refused besides what the library refuses: unknown ``crit``, keys inside the
token, key ids that are none, lifetimes beyond an hour, tokens without a subject, tokens of nobody (anonymous, service).
"""

from __future__ import annotations

import asyncio
import hashlib
import re
from dataclasses import dataclass
from typing import Any, Protocol

import httpx
import jwt

from libs.common.clock import monotonic, utc_now
from libs.common.errors import Unauthenticated, Unavailable
from libs.common.logging import get_logger

log = get_logger()

LEEWAY_SECONDS = 30
MAX_LIFETIME_SECONDS = 3600
MAX_TOKEN_BYTES = 8192
JWKS_MAX_AGE_SECONDS = 600.0
JWKS_STALE_SECONDS = 86_400.0
UNKNOWN_KEY_PAUSE_SECONDS = 30.0
FAILURE_PAUSE_SECONDS = 5.0
REMEMBERED = 10_000
REMEMBERED_SECONDS = 60.0
HOUSE_ISSUER = "vantage"
HOUSE_LIFETIME_SECONDS = 60
_KID = re.compile(r"[A-Za-z0-9._:-]{1,64}")
_FORBIDDEN_HEADERS = frozenset({"jwk", "jku", "x5u", "x5c", "crit"})
_TYPES = frozenset({"JWT", "at+jwt"})

Claims = dict[str, Any]


class TokenMissing(Unauthenticated):
    """A bearer token is needed."""


class TokenRefused(Unauthenticated):
    """The bearer token is not valid here."""


class KeysUnavailable(Unavailable):
    """The token issuer's keys cannot be read right now."""


class Keys(Protocol):
    """Where an issuer's keys come from."""

    async def key(self, kid: str) -> Any: ...


class SharedSecret:
    """The one key of an issuer that signs with HS256. At least 32 bytes (RFC 7518 §3.2)."""

    def __init__(self, secret: bytes) -> None:
        if len(secret) < 32:
            message = "a shared token secret has at least 32 bytes"
            raise ValueError(message)
        self._secret = secret

    async def key(self, _: str) -> bytes:
        return self._secret


class KeySet:
    """The issuer's published keys, fetched when needed and kept for ten minutes.

    An unknown key id triggers one early fetch at most every thirty seconds, so rotation works and a flood of forged
    tokens does not become a flood of fetches. While the issuer is down the last good set counts, a day at most.
    """

    def __init__(self, url: str, algorithm: str) -> None:
        self._url = url
        self._algorithm = algorithm
        self._keys: dict[str, jwt.PyJWK] = {}
        self._read_at: float | None = None
        self._not_before = 0.0
        self._lock = asyncio.Lock()

    @property
    def known(self) -> list[str]:
        """Ids of the keys accepted right now."""
        return sorted(self._keys)

    async def key(self, kid: str) -> jwt.PyJWK:
        """The key named ``kid``. Raises ``TokenRefused`` when unknown, ``KeysUnavailable`` when none could be read."""
        if kid not in self._keys or self._older_than(JWKS_MAX_AGE_SECONDS):
            await self._refresh()
        if self._older_than(JWKS_STALE_SECONDS):
            raise KeysUnavailable(retry_after_seconds=int(FAILURE_PAUSE_SECONDS))
        try:
            return self._keys[kid]
        except KeyError:
            raise TokenRefused from None

    def _older_than(self, seconds: float) -> bool:
        return self._read_at is None or monotonic() - self._read_at > seconds

    async def _refresh(self) -> None:
        async with self._lock:
            if monotonic() < self._not_before:
                return
            try:
                async with httpx.AsyncClient(timeout=5.0) as client:
                    document = (await client.get(self._url)).raise_for_status().json()
                keys = [jwt.PyJWK(key, algorithm=self._algorithm) for key in document["keys"]]
            except (httpx.HTTPError, ValueError, KeyError, TypeError, jwt.PyJWTError) as error:
                # While the issuer is down its callers are answered at once, not each after a time-out.
                self._not_before = monotonic() + FAILURE_PAUSE_SECONDS
                log.warning("keys.not_read", exc_info=error)
                return
            self._keys = {key.key_id: key for key in keys if key.key_id}
            self._read_at = monotonic()
            self._not_before = self._read_at + UNKNOWN_KEY_PAUSE_SECONDS


@dataclass(frozen=True)
class Issuer:
    """Whose tokens are accepted, and how they must be signed."""

    name: str
    audience: str
    algorithm: str
    keys: Keys

    def __post_init__(self) -> None:
        if self.algorithm not in {"ES256", "RS256", "HS256"}:
            message = f"algorithm {self.algorithm!r} is not one of ES256, RS256, HS256"
            raise ValueError(message)
        if isinstance(self.keys, SharedSecret) != (self.algorithm == "HS256"):
            message = "HS256 goes with a shared secret, ES256 and RS256 go with published keys"
            raise ValueError(message)


class TokenVerifier:
    """Verifies access tokens of the issuers it was given. Safe for concurrent use.

    What was verified is remembered for a minute by the token's digest: a busy client costs one signature check a minute.
    """

    def __init__(self, *issuers: Issuer) -> None:
        self.issuers = {issuer.name: issuer for issuer in issuers}
        self._verified: dict[bytes, tuple[float, Claims]] = {}

    async def claims(self, authorization: str | None) -> Claims:
        """The claims of an ``Authorization`` header. Raises ``TokenMissing``, ``TokenRefused`` or ``KeysUnavailable``."""
        if not authorization:
            raise TokenMissing
        scheme, _, token = authorization.partition(" ")
        if scheme.lower() != "bearer" or not token or len(token) > MAX_TOKEN_BYTES:
            raise TokenRefused
        digest = hashlib.sha256(token.encode("utf-8", "surrogateescape")).digest()
        until, claims = self._verified.get(digest, (0.0, {}))
        if monotonic() < until and claims["exp"] + LEEWAY_SECONDS > utc_now().timestamp():
            return claims
        claims = await self._verify(token)
        if len(self._verified) >= REMEMBERED:
            self._verified.clear()
        self._verified[digest] = (monotonic() + REMEMBERED_SECONDS, claims)
        return claims

    async def _verify(self, token: str) -> Claims:
        try:
            header = jwt.get_unverified_header(token)
            issuer = self.issuers[jwt.decode(token, options={"verify_signature": False})["iss"]]
            _check_header(header, issuer)
            claims: Claims = jwt.decode(
                token,
                await issuer.keys.key(header.get("kid", "")),
                algorithms=[issuer.algorithm],
                issuer=issuer.name,
                audience=issuer.audience,
                leeway=LEEWAY_SECONDS,
                options={"require": ["exp", "iat", "sub", "iss", "aud"]},
            )
        except (jwt.PyJWTError, KeyError, TypeError, ValueError) as error:
            raise TokenRefused from error
        _check_claims(claims)
        return claims


def _check_header(header: dict[str, Any], issuer: Issuer) -> None:
    kid = header.get("kid", None if issuer.algorithm != "HS256" else "shared")
    named = isinstance(kid, str) and _KID.fullmatch(kid) is not None
    if header.get("alg") != issuer.algorithm or header.get("typ") not in _TYPES or not named or _FORBIDDEN_HEADERS & header.keys():
        raise TokenRefused


def _check_claims(claims: Claims) -> None:
    numbers = claims["exp"], claims["iat"]
    if any(isinstance(number, bool) or not isinstance(number, int) for number in numbers):
        raise TokenRefused
    subject = claims["sub"]
    if claims["exp"] - claims["iat"] > MAX_LIFETIME_SECONDS or not isinstance(subject, str) or not subject:
        raise TokenRefused


def house_token(key: bytes, claims: Claims) -> str:
    """A token of the house's own for one minute: ``claims`` need ``sub``. Signed with the key all services share."""
    now = int(utc_now().timestamp())
    body = {**claims, "iss": HOUSE_ISSUER, "aud": HOUSE_ISSUER, "iat": now, "exp": now + HOUSE_LIFETIME_SECONDS}
    return jwt.encode(body, key, algorithm="HS256", headers={"kid": "house"})


def house_issuer(key: bytes) -> Issuer:
    return Issuer(HOUSE_ISSUER, HOUSE_ISSUER, "HS256", SharedSecret(key))
