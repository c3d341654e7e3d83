"""Coming in by mail: recovery and magic links, and what a link or a code is worth."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlencode, urlsplit, urlunsplit

from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response

from libs.testing.simulators.supabase import passwords, users
from libs.testing.simulators.supabase.mail import Mailer, redirect_of, token_hash
from libs.testing.simulators.supabase.reading import address, body_of, email_of, text
from libs.testing.simulators.supabase.refusals import Refusal, invalid, not_simulated
from libs.testing.simulators.supabase.sessions import Sessions
from libs.testing.simulators.supabase.settings import Settings
from libs.testing.simulators.supabase.store import Row, Store, Transaction

_COLUMNS = {
    "signup": ("confirmation_token",), "invite": ("confirmation_token",), "recovery": ("recovery_token",), "magiclink": ("recovery_token",),
    "email": ("confirmation_token", "recovery_token"),
}  # fmt: skip
_OAUTH = {400: "invalid_request", 401: "unauthorized_client", 403: "access_denied", 500: "server_error", 503: "temporarily_unavailable"}


class Redemption:
    def __init__(self, settings: Settings, store: Store, mailer: Mailer, sessions: Sessions) -> None:
        self._settings = settings
        self._store = store
        self._mailer = mailer
        self._sessions = sessions

    async def recover(self, request: Request) -> Response:
        body = await body_of(request)
        if text(body, "code_challenge"):
            raise not_simulated("PKCE")
        return self._mailed(request, self._store.by_email(email_of(body)), "recovery")

    async def otp(self, request: Request) -> Response:
        """A magic link to a user; to a stranger only if no user is to be made."""
        body = await body_of(request)
        row = self._store.by_email(email_of(body))
        if row is None and body.get("create_user") is not False:
            raise not_simulated("sign-up by magic link")
        if row is None:
            raise Refusal(422, "otp_disabled", "Signups not allowed for otp")
        return self._mailed(request, row, "magiclink")

    def _mailed(self, request: Request, row: Row | None, kind: str) -> Response:
        if row is not None:
            tx = self._store.begin()
            self._mailer.send(tx, tx.user(row["id"]), kind, redirect_of(request, self._settings))
            tx.commit()
        return JSONResponse({})

    async def verify(self, request: Request) -> Response:
        if request.method == "GET":
            return await self._follow(request)
        body = await body_of(request)
        kind, code, hashed = text(body, "type"), text(body, "token"), text(body, "token_hash")
        if not kind:
            raise invalid("Verify requires a verification type")
        if bool(code) == bool(hashed):
            raise invalid("Verify requires either a token or a token hash")
        if hashed and (text(body, "email") or text(body, "phone") or text(body, "redirect_to")):
            raise invalid("Only the token_hash and type should be provided")
        if code and (text(body, "phone") or not text(body, "email")):
            raise invalid("Only an email address or phone number should be provided on verify")
        wrong = "Token has expired or is invalid" if code else "Email link is invalid or has expired"
        hashed = hashed or token_hash(email_of(body), code)
        return JSONResponse(await self._redeem(kind, hashed, wrong, request))

    async def _follow(self, request: Request) -> Response:
        """A click: whatever comes of it is told to the site, behind the hash."""
        kind, hashed = request.query_params.get("type", ""), request.query_params.get("token", "")
        if not hashed:
            raise invalid("Verify requires a token or a token hash")
        if not kind:
            raise invalid("Verify requires a verification type")
        target = redirect_of(request, self._settings)
        try:
            answer = await self._redeem(kind, hashed, "Email link is invalid or has expired", request)
        except Refusal as refusal:
            told = {"error_code": refusal.code, "error_description": refusal.message, "sb": ""}
            if refusal.status in _OAUTH:
                told["error"] = _OAUTH[refusal.status]
        else:
            names = ("access_token", "expires_at", "expires_in", "refresh_token", "token_type")
            told = {**{name: str(answer[name]) for name in names}, "sb": "", "type": kind}
        parts = urlsplit(target)._replace(fragment=urlencode(sorted(told.items())))
        return RedirectResponse(urlunsplit(parts), 303)

    async def _redeem(self, kind: str, hashed: str, wrong: str, request: Request) -> dict[str, Any]:
        """A session for a one-time token. If the hook refuses, nothing has happened and the token is still good."""
        if kind not in _COLUMNS:
            raise invalid("Invalid email verification type")
        found = self._store.by_token(*_COLUMNS[kind], token_hash=hashed)
        if found is None:
            raise Refusal(403, "otp_expired", wrong)
        known, column = found
        now = self._store.now()
        if users.is_banned(known, now):
            raise Refusal(403, "user_banned", "User is banned")
        if self._mailer.expired(known[column.replace("_token", "_sent_at")], now):
            raise Refusal(403, "otp_expired", wrong)
        tx = self._store.begin()
        row = tx.user(known["id"])
        self._redeemed(tx, row, column)
        return await self._sessions.open(tx, row, "otp", address(request))

    def _redeemed(self, tx: Transaction, row: Row, column: str) -> None:
        if column == "confirmation_token" and row["invited_at"] and not row["encrypted_password"]:
            row["encrypted_password"] = passwords.unguessable()
            user_id = row["id"]
            tx.later(lambda: self._store.end_sessions(user_id))
        if column == "confirmation_token" or not row["email_confirmed_at"]:
            users.confirm(row, self._store.now())
        users.clear_tokens(row)
