"""Turn an API key into a token of the house, for the gateway: one look at the key per request.

A verified key is remembered for two seconds in this process, so a revoked one stops within that time everywhere.
"""

from __future__ import annotations

import hmac
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from libs.common.auth import Principal
from libs.common.clock import monotonic
from libs.common.errors import Forbidden, Unauthenticated
from libs.common.tokens import house_token
from libs.common.work import Work
from services.practices.queries import whose_key
from services.practices.rules.keys import KeyText, address_allowed, read_key

REMEMBERED_SECONDS = 2.0
REMEMBERED = 10_000
TOKEN_SECONDS = 20.0
SYSTEM = Principal.platform("gateway")
_KEY = "SELECT digest, scopes, addresses, expires_at, ends_at FROM api_key WHERE practice_id = $1 AND id = $2"
_USED = """
UPDATE api_key SET last_used_at = $3 WHERE practice_id = $1 AND id = $2
  AND coalesce(last_used_at, '-infinity') < $3::timestamptz - interval '1 minute'
"""


class ApiKeyRefused(Unauthenticated):
    """The API key is not valid here."""


class AddressNotAllowed(Forbidden):
    """The API key may not be used from this address."""


@dataclass(frozen=True)
class Authorized:
    """Who the key is, and the token that says so to the services."""

    practice_id: UUID
    key_id: UUID
    token: str


class KeyChecker:
    """Checks keys of all practices."""

    def __init__(self, work: Work, house_key: bytes) -> None:
        self._work = work
        self._house_key = house_key
        self._seen: dict[bytes, tuple[float, Any]] = {}
        self._tokens: dict[UUID, tuple[float, frozenset[str], str]] = {}

    async def authorize(self, text: str, address: str) -> Authorized:
        """Raises ``ApiKeyRefused``, the same for every reason, or ``AddressNotAllowed``."""
        key = read_key(text)
        if key is None:
            raise ApiKeyRefused
        row = await self._look(key)
        now = self._work.now()
        if row is None or not hmac.compare_digest(row["digest"], key.digest) or not _counts(row, now):
            raise ApiKeyRefused
        if not address_allowed(address, row["addresses"]):
            raise AddressNotAllowed
        return Authorized(row["practice_id"], row["key_id"], self._token(row))

    async def _look(self, key: KeyText) -> Any:
        until, row = self._seen.get(key.digest, (0.0, None))
        if monotonic() < until:
            return row
        async with self._work.batch([], SYSTEM) as tx:
            where = await whose_key(key.public_id, tx)
            if where is None:
                return None
            await tx.enter([where["practice_id"]])
            row = {**where, **dict(await tx.row(_KEY, *where.values()) or {"digest": b""})}
            if hmac.compare_digest(row["digest"], key.digest):
                await tx.execute(_USED, *where.values(), tx.now)
        if len(self._seen) >= REMEMBERED:
            self._seen.clear()
        self._seen[key.digest] = (monotonic() + REMEMBERED_SECONDS, row)
        return row

    def _token(self, row: Any) -> str:
        """The same token for a while: services remember what they verified."""
        scopes = frozenset(row["scopes"])
        until, known, token = self._tokens.get(row["key_id"], (0.0, frozenset(), ""))
        if monotonic() >= until or known != scopes:
            claims = {"sub": str(row["key_id"]), "practice_id": str(row["practice_id"]), "scopes": sorted(scopes)}
            token = house_token(self._house_key, claims)
            if len(self._tokens) >= REMEMBERED:
                self._tokens.clear()
            self._tokens[row["key_id"]] = (monotonic() + TOKEN_SECONDS, scopes, token)
        return token


def _counts(row: Any, now: datetime) -> bool:
    return all(end is None or now < end for end in (row["expires_at"], row["ends_at"]))
