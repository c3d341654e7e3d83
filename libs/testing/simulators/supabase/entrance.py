"""Coming in by the front door: sign-up, sign-in, refresh."""

from __future__ import annotations

from typing import Any
from uuid import uuid4

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from libs.testing.simulators.supabase import passwords, users
from libs.testing.simulators.supabase.mail import Mailer, redirect_of
from libs.testing.simulators.supabase.reading import address, body_of, email_of, table, text
from libs.testing.simulators.supabase.refusals import OAuthRefusal, Refusal, invalid, not_simulated
from libs.testing.simulators.supabase.sessions import Sessions
from libs.testing.simulators.supabase.settings import Settings
from libs.testing.simulators.supabase.store import Row, Store
from libs.testing.simulators.supabase.times import stamp


class Entrance:
    def __init__(self, settings: Settings, store: Store, mailer: Mailer, sessions: Sessions) -> None:
        self._settings = settings
        self._store = store
        self._mailer = mailer
        self._sessions = sessions

    async def signup(self, request: Request) -> Response:
        body = await body_of(request)
        password = text(body, "password")
        self._may_sign_up(body)
        passwords.judged(password, self._settings)
        email = email_of(body)
        row = self._store.by_email(email)
        if row is not None and row["email_confirmed_at"]:
            if self._settings.autoconfirm:
                raise Refusal(422, "user_already_exists", "User already registered")
            return JSONResponse(users.view(self._nobody(email, body)))
        tx = self._store.begin()
        row = tx.user(row["id"]) if row is not None else tx.insert(self._newcomer(email, password, body))
        if not self._settings.autoconfirm:
            self._mailer.send(tx, row, "signup", redirect_of(request, self._settings))
            tx.commit()
            return JSONResponse(users.view(row))
        users.confirm(row, self._store.now())
        tx.commit()
        return await self._let_in(row["id"], "password", request)

    def _may_sign_up(self, body: dict[str, Any]) -> None:
        if self._settings.disable_signup:
            raise Refusal(422, "signup_disabled", "Signups not allowed for this instance")
        if text(body, "code_challenge"):
            raise not_simulated("PKCE")
        if not text(body, "email") and not text(body, "phone"):
            raise Refusal(422, "anonymous_provider_disabled", "Anonymous sign-ins are disabled")
        if text(body, "phone"):
            raise Refusal(400, "phone_provider_disabled", "Phone signups are disabled")
        if not text(body, "password"):
            raise invalid("Signup requires a valid password")

    def _newcomer(self, email: str, password: str, body: dict[str, Any]) -> Row:
        row = users.new_row(email, self._store.now(), self._settings.audience, data=table(body, "data"))
        row["raw_user_meta_data"] |= users.claims_of(row)
        row["encrypted_password"] = passwords.hashed(password)
        return row

    def _nobody(self, email: str, body: dict[str, Any]) -> Row:
        """What a stranger hears about an address that is taken: a user that does not exist."""
        now = self._store.now()
        row = users.new_row(email, now, self._settings.audience, user_id=str(uuid4()), data=table(body, "data"))
        return {**row, "confirmation_sent_at": stamp(now), "identities": []}

    async def _let_in(self, user_id: str, method: str, request: Request) -> Response:
        tx = self._store.begin()
        return JSONResponse(await self._sessions.open(tx, tx.user(user_id), method, address(request)))

    async def token(self, request: Request) -> Response:
        kind = request.query_params.get("grant_type", "")
        if kind == "password":
            return await self._by_password(request)
        if kind == "refresh_token":
            body = await body_of(request)
            return JSONResponse(await self._sessions.refresh(text(body, "refresh_token"), address(request)))
        if kind in {"pkce", "id_token", "web3"}:
            raise not_simulated(f"grant_type {kind}")
        raise OAuthRefusal("unsupported_grant_type")

    async def _by_password(self, request: Request) -> Response:
        body = await body_of(request)
        email, password = text(body, "email"), text(body, "password")
        if text(body, "phone"):
            raise Refusal(422, "phone_provider_disabled", "Phone logins are disabled")
        if not email:
            raise invalid("missing email or phone")
        row = self._store.by_email(email)
        if row is None or not row["encrypted_password"]:
            raise Refusal(400, "invalid_credentials", "Invalid login credentials")
        if users.is_banned(row, self._store.now()):
            raise Refusal(400, "user_banned", "User is banned")
        if not passwords.matches(password, row["encrypted_password"]):
            raise Refusal(400, "invalid_credentials", "Invalid login credentials")
        if not row["email_confirmed_at"]:
            raise Refusal(400, "email_not_confirmed", "Email not confirmed")
        tx = self._store.begin()
        answer = await self._sessions.open(tx, tx.user(row["id"]), "password", address(request))
        return JSONResponse({**answer, "weak_password": self._weakness(password)})

    def _weakness(self, password: str) -> dict[str, Any] | None:
        """Rules may have become stricter since the password was set: it still lets in, and this says so."""
        try:
            passwords.judged(password, self._settings)
        except Refusal as refusal:
            return {"message": refusal.message, **refusal.more.get("weak_password", {})}
        return None
