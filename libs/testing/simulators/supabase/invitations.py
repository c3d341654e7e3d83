"""Invitations, and links an administrator hands over by other means than our mail."""

from __future__ import annotations

from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from libs.testing.simulators.supabase import passwords, users
from libs.testing.simulators.supabase.callers import Callers
from libs.testing.simulators.supabase.mail import Mailer, is_allowed, redirect_of
from libs.testing.simulators.supabase.reading import body_of, email_of, table, text
from libs.testing.simulators.supabase.refusals import Refusal, email_exists, invalid, not_simulated
from libs.testing.simulators.supabase.settings import Settings
from libs.testing.simulators.supabase.store import Row, Store, Transaction


class Invitations:
    def __init__(self, settings: Settings, store: Store, mailer: Mailer, callers: Callers) -> None:
        self._settings = settings
        self._store = store
        self._mailer = mailer
        self._callers = callers

    async def invite(self, request: Request) -> Response:
        """``data`` becomes user metadata of a new user; whoever has not accepted yet is mailed again and ``data`` is ignored."""
        self._callers.administrator(request)
        body = await body_of(request)
        tx = self._store.begin()
        row = self._invited(tx, email_of(body), table(body, "data"))
        self._mailer.send(tx, row, "invite", redirect_of(request, self._settings))
        tx.commit()
        return JSONResponse(users.view(row))

    def _invited(self, tx: Transaction, email: str, data: dict[str, Any] | None) -> Row:
        known = self._store.by_email(email)
        if known is None:
            return tx.insert(users.new_row(email, self._store.now(), self._settings.audience, data=data))
        if known["email_confirmed_at"]:
            raise email_exists()
        return tx.user(known["id"])

    async def generate_link(self, request: Request) -> Response:
        """The link a mail would carry, and no mail."""
        self._callers.administrator(request)
        body = await body_of(request)
        email, kind, asked = email_of(body), text(body, "type"), text(body, "redirect_to")
        redirect_to = asked if asked and is_allowed(asked, self._settings) else redirect_of(request, self._settings)
        tx = self._store.begin()
        kind, row = self._subject(tx, kind, email, body)
        one = self._mailer.issue(row, kind, redirect_to)
        tx.commit()
        link = {
            "action_link": one.link, "email_otp": one.otp, "hashed_token": one.token_hash, "verification_type": kind,
            "redirect_to": redirect_to,
        }  # fmt: skip
        return JSONResponse({**users.view(row), **link})

    def _subject(self, tx: Transaction, kind: str, email: str, body: dict[str, Any]) -> tuple[str, Row]:
        """Whom the link is for. A magic link for a stranger is a link to sign up."""
        if kind in {"email_change_current", "email_change_new"}:
            raise not_simulated(f"a link of type {kind}")
        if kind not in {"invite", "signup", "magiclink", "recovery"}:
            raise invalid(f"Invalid email action link type requested: {kind}")
        known = self._store.by_email(email)
        if known is None and kind == "recovery":
            raise Refusal(404, "user_not_found", "User with this email not found")
        if kind == "invite":
            return kind, self._invited(tx, email, table(body, "data"))
        if known is not None:
            return kind, self._existing(tx, kind, known, body)
        row = users.new_row(email, self._store.now(), self._settings.audience, data=table(body, "data"))
        row["raw_user_meta_data"] |= users.claims_of(row)
        row["encrypted_password"] = passwords.unguessable() if kind == "magiclink" else self._chosen(body)
        return "signup", tx.insert(row)

    def _existing(self, tx: Transaction, kind: str, known: Row, body: dict[str, Any]) -> Row:
        row = tx.user(known["id"])
        if kind == "signup":
            if row["email_confirmed_at"]:
                raise email_exists()
            users.merge(row["raw_user_meta_data"], table(body, "data"))
        return row

    def _chosen(self, body: dict[str, Any]) -> str:
        password = text(body, "password")
        if not password:
            raise invalid("Signup requires a valid password")
        passwords.judged(password, self._settings)
        return passwords.hashed(password)
