"""Sessions and their tokens: what an access token says, and which refresh token is still good."""

from __future__ import annotations

import asyncio
import secrets
import string
from collections import defaultdict
from typing import Any
from uuid import uuid4

from libs.testing.simulators.supabase import users
from libs.testing.simulators.supabase.hook import TokenHook
from libs.testing.simulators.supabase.keys import KeyRing
from libs.testing.simulators.supabase.refusals import OAuthRefusal, Refusal
from libs.testing.simulators.supabase.settings import Settings
from libs.testing.simulators.supabase.store import Row, Store, Transaction
from libs.testing.simulators.supabase.times import moment, stamp

_LETTERS = string.ascii_lowercase + string.digits


class Sessions:
    def __init__(self, settings: Settings, store: Store, keys: KeyRing, hook: TokenHook | None) -> None:
        self._settings = settings
        self._store = store
        self._keys = keys
        self._hook = hook
        self._locks: dict[str, asyncio.Lock] = defaultdict(asyncio.Lock)
        # The real server writes the audience of its first token as a list, of all later ones as a string.
        self._first = True

    async def open(self, tx: Transaction, row: Row, method: str, ip_address: str) -> dict[str, Any]:
        """A new session for a user of the transaction, which is committed when the hook agrees and dropped when it does not."""
        now = self._store.now()
        row["last_sign_in_at"] = stamp(now)
        name = str(uuid4())
        session = {"user_id": row["id"], "created_at": stamp(now), "amr": [{"method": method, "timestamp": int(now.timestamp())}]}
        refresh = self._new_token(tx, name, row["id"], None)
        tx.later(lambda: self._store.sessions.update({name: session}))
        return await self._answer(tx, row, (name, session), refresh, method, ip_address)

    async def refresh(self, token: str, ip_address: str) -> dict[str, Any]:
        if not token:
            raise OAuthRefusal("invalid_request", "refresh_token required")
        known = self._store.tokens.get(token)
        if known is None:
            raise Refusal(400, "validation_failed", "Refresh token is not valid")
        # One at a time for each session, as the real one locks its row.
        async with self._locks[known["session"]]:
            row = self._store.users.get(known["user_id"])
            session = self._store.sessions.get(known["session"])
            if row is None or session is None:
                raise Refusal(400, "refresh_token_not_found", "Invalid Refresh Token: Refresh Token Not Found")
            if users.is_banned(row, self._store.now()):
                raise Refusal(400, "user_banned", "Invalid Refresh Token: User Banned")
            tx = self._store.begin()
            issued = self._successor(tx, token, known)
            return await self._answer(tx, tx.user(row["id"]), (known["session"], session), issued, "token_refresh", ip_address)

    def _successor(self, tx: Transaction, token: str, known: Row) -> str:
        """The parent of the active token gives that again, at any time: who lost the answer may ask once more.

        Older ones are good within the reuse interval; after it somebody has stolen one of them, and all of the session end.
        """
        now = self._store.now()
        family = {name: other for name, other in self._store.tokens.items() if other["session"] == known["session"]}
        if known["revoked"]:
            active = next((name for name, other in family.items() if not other["revoked"]), None)
            if active is not None and family[active]["parent"] == token:
                return active
            if now > moment(known["updated_at"]) + self._settings.reuse_interval:
                for other in family.values():
                    other["revoked"] = True
                self._store.save()
                raise Refusal(400, "refresh_token_already_used", "Invalid Refresh Token: Already Used")
        tx.later(lambda: known.update(revoked=True, updated_at=stamp(now)))
        return self._new_token(tx, known["session"], known["user_id"], token)

    def _new_token(self, tx: Transaction, session: str, user_id: str, parent: str | None) -> str:
        token = "".join(secrets.choice(_LETTERS) for _ in range(12))
        made = {"session": session, "user_id": user_id, "parent": parent, "revoked": False, "updated_at": stamp(self._store.now())}
        tx.later(lambda: self._store.tokens.update({token: made}))
        return token

    async def _answer(
        self, tx: Transaction, row: Row, session: tuple[str, Row], refresh: str, method: str, ip_address: str
    ) -> dict[str, Any]:
        claims = self._claims(row, *session)
        expires = claims["exp"]
        if self._hook is not None:
            claims = await self._hook.claims(row["id"], claims, method, ip_address)
        self._first = False
        tx.commit()
        return {
            "access_token": self._keys.sign(claims), "token_type": "bearer", "expires_in": self._settings.lifetime, "expires_at": expires,
            "refresh_token": refresh, "user": users.view(row),
        }  # fmt: skip

    def _claims(self, row: Row, session_id: str, session: Row) -> dict[str, Any]:
        now = int(self._store.now().timestamp())
        return {
            "iss": self._settings.issuer, "sub": row["id"], "aud": [row["aud"]] if self._first else row["aud"],
            "exp": now + self._settings.lifetime, "iat": now, "email": row["email"], "phone": row["phone"],
            "app_metadata": row["raw_app_meta_data"], "user_metadata": row["raw_user_meta_data"], "role": row["role"], "aal": "aal1",
            "amr": session["amr"], "session_id": session_id, "is_anonymous": row["is_anonymous"],
        }  # fmt: skip
