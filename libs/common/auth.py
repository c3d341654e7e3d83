"""From a bearer token to a Principal: who acts, in which practice, with which role.

One algorithm per issuer, pinned in settings and never read from the token (RFC 8725 §3.1). The signature, issuer,
audience, expiry, issued-at, subject and lifetime are checked here, behind the gateway as well as without it.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Literal
from uuid import UUID

import httpx
import jwt

from libs.common.clock import monotonic
from libs.common.errors import Unauthenticated, Unavailable
from libs.common.logging import get_logger
from libs.contracts.envelope import PLATFORM

log = get_logger()

LEEWAY_SECONDS = 30
MAX_LIFETIME_SECONDS = 3600
MAX_TOKEN_BYTES = 8192
JWKS_MAX_AGE_SECONDS = 300.0
JWKS_MIN_AGE_SECONDS = 5.0


class Role(StrEnum):
    VANTAGE_ADMIN = "vantage_admin"
    PRACTICE_ADMIN = "practice_admin"
    REGULAR_USER = "regular_user"


class TokenMissing(Unauthenticated):
    """A bearer token is needed."""


class TokenRefused(Unauthenticated):
    """The bearer token is not valid here."""


class KeysUnavailable(Unavailable):
    """The token issuer's keys cannot be read right now."""


@dataclass(frozen=True)
class Principal:
    """Who acts. ``practice_id`` is None for a Vantage admin, who belongs to no practice."""

    kind: Literal["user", "system"]
    id: str
    role: Role | None
    practice_id: UUID | None

    @classmethod
    def system(cls, name: str, practice_id: UUID | None = None) -> Principal:
        """A part of the house itself, or an outside party whose signature was verified."""
        return cls("system", name, None, practice_id)

    @classmethod
    def platform(cls, name: str) -> Principal:
        """A part of the house acting for the platform itself, outside any practice."""
        return cls("system", name, None, PLATFORM)

    @property
    def actor(self) -> str:
        return f"{self.kind}:{self.id}"


class KeySet:
    """The issuer's published keys, fetched when needed and kept for five minutes.

    An unknown key id triggers one early fetch at most every five seconds, so rotation works and a flood of
    forged tokens does not become a flood of fetches. Old keys stay in use while the issuer is down.
    """

    def __init__(self, url: str, algorithm: str) -> None:
        self._url = url
        self._algorithm = algorithm
        self._keys: dict[str, jwt.PyJWK] = {}
        self._fetched_at: float | None = None
        self._lock = asyncio.Lock()

    async def key(self, kid: str) -> jwt.PyJWK:
        """The key named ``kid``. Raises ``TokenRefused`` when unknown, ``KeysUnavailable`` when none could be read."""
        if self._older_than(JWKS_MAX_AGE_SECONDS) or (kid not in self._keys and self._older_than(JWKS_MIN_AGE_SECONDS)):
            await self._refresh()
        try:
            return self._keys[kid]
        except KeyError:
            raise (TokenRefused if self._keys else KeysUnavailable) from None

    def _older_than(self, seconds: float) -> bool:
        return self._fetched_at is None or monotonic() - self._fetched_at > seconds

    async def _refresh(self) -> None:
        async with self._lock:
            if not self._older_than(JWKS_MIN_AGE_SECONDS):
                return
            try:
                async with httpx.AsyncClient(timeout=5.0) as client:
                    document = (await client.get(self._url)).raise_for_status().json()
                keys = [jwt.PyJWK(key, algorithm=self._algorithm) for key in document["keys"]]
            except (httpx.HTTPError, ValueError, KeyError, TypeError, jwt.PyJWTError) as error:
                log.warning("keys.not_read", exc_info=error)
            else:
                self._keys = {key.key_id: key for key in keys if key.key_id}
            # Also after a failure: while the issuer is down its callers are answered at once, not each after a time-out.
            self._fetched_at = monotonic()


class TokenVerifier:
    """Verifies access tokens of one issuer. Safe for concurrent use."""

    def __init__(self, keys: KeySet, *, issuer: str, audience: str, algorithm: str) -> None:
        if algorithm not in {"ES256", "RS256"}:
            message = f"algorithm {algorithm!r} is not one of ES256, RS256"
            raise ValueError(message)
        self._keys = keys
        self._issuer = issuer
        self._audience = audience
        self._algorithm = algorithm

    async def principal(self, authorization: str | None) -> Principal:
        """The caller named by an ``Authorization`` header. Raises ``TokenMissing`` or ``TokenRefused``."""
        if not authorization:
            raise TokenMissing
        scheme, _, token = authorization.partition(" ")
        if scheme.lower() != "bearer" or not token or len(token) > MAX_TOKEN_BYTES:
            raise TokenRefused
        try:
            header = jwt.get_unverified_header(token)
            if header.get("alg") != self._algorithm or not isinstance(header.get("kid"), str):
                raise TokenRefused
            key = await self._keys.key(header["kid"])
            claims = jwt.decode(
                token,
                key,
                algorithms=[self._algorithm],
                issuer=self._issuer,
                audience=self._audience,
                leeway=LEEWAY_SECONDS,
                options={"require": ["exp", "iat", "sub", "iss", "aud"]},
            )
        except jwt.PyJWTError as error:
            raise TokenRefused from error
        return _principal(claims)


def _principal(claims: dict[str, Any]) -> Principal:
    """Our words for the issuer's claims: ``app_metadata.vantage_role`` and the top-level ``practice_id``."""
    try:
        if claims["exp"] - claims["iat"] > MAX_LIFETIME_SECONDS:
            raise TokenRefused
        role = Role(claims["app_metadata"]["vantage_role"])
        practice_id = UUID(claims["practice_id"]) if claims.get("practice_id") else None
        subject = claims["sub"]
    except (KeyError, TypeError, ValueError) as error:
        raise TokenRefused from error
    if not isinstance(subject, str) or not subject or (role is Role.VANTAGE_ADMIN) != (practice_id is None) or practice_id == PLATFORM:
        raise TokenRefused
    return Principal("user", subject, role, practice_id)
