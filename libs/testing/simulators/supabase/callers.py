"""Who is asking: an administrator by role, or a user by subject and living session."""

from __future__ import annotations

from typing import Any, NamedTuple
from uuid import UUID

from starlette.requests import Request

from libs.testing.simulators.supabase.keys import KeyRing
from libs.testing.simulators.supabase.reading import bearer
from libs.testing.simulators.supabase.refusals import Refusal, invalid
from libs.testing.simulators.supabase.settings import Settings
from libs.testing.simulators.supabase.store import Row, Store


class Caller(NamedTuple):
    row: Row
    session_id: str | None


class Callers:
    def __init__(self, settings: Settings, store: Store, keys: KeyRing) -> None:
        self._settings = settings
        self._store = store
        self._keys = keys

    def administrator(self, request: Request) -> None:
        """Raises 401, or 403 ``bad_jwt`` or ``not_admin``."""
        if self._keys.verify(bearer(request)).get("role") not in self._settings.admin_roles:
            raise Refusal(403, "not_admin", "User not allowed")

    def user(self, request: Request) -> Caller:
        claims = self._keys.verify(bearer(request))
        subject = claims.get("sub")
        if not subject:
            raise Refusal(403, "bad_jwt", "invalid claim: missing sub claim")
        if not is_uuid(subject):
            raise Refusal(400, "bad_jwt", "invalid claim: sub claim must be a UUID")
        row = self._store.users.get(subject)
        if row is None:
            raise Refusal(403, "user_not_found", "User from sub claim in JWT does not exist")
        session_id = claims.get("session_id")
        if session_id and session_id not in self._store.sessions:
            raise Refusal(403, "session_not_found", "Session from session_id claim in JWT does not exist")
        self._check_audience(claims)
        return Caller(row, session_id)

    def _check_audience(self, claims: dict[str, Any]) -> None:
        audience = claims.get("aud") or [""]
        first = audience if isinstance(audience, str) else audience[0]
        if first != self._settings.audience:
            raise invalid("Token audience doesn't match request audience")


def is_uuid(text: Any) -> bool:
    try:
        UUID(text)
    except (ValueError, TypeError, AttributeError):
        return False
    return True
