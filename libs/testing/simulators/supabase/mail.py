"""Mails the server would send by SMTP: kept to be read, with the token, the code and the link."""

from __future__ import annotations

import hashlib
import re
import secrets
from datetime import datetime
from typing import NamedTuple
from urllib.parse import quote_plus, urlsplit

from starlette.requests import Request

from libs.testing.simulators.supabase.refusals import Refusal
from libs.testing.simulators.supabase.settings import Settings
from libs.testing.simulators.supabase.store import Row, Store, Transaction
from libs.testing.simulators.supabase.times import moment, stamp

# Which one-time token a kind of mail carries.
COLUMNS = {"signup": "confirmation", "invite": "confirmation", "recovery": "recovery", "magiclink": "recovery"}


class OneTime(NamedTuple):
    otp: str
    token_hash: str
    link: str


def token_hash(email: str, otp: str) -> str:
    return hashlib.sha224(f"{email}{otp}".encode()).hexdigest()


class Mailer:
    def __init__(self, settings: Settings, store: Store) -> None:
        self._settings = settings
        self._store = store

    def issue(self, row: Row, kind: str, redirect_to: str) -> OneTime:
        """A new one-time token on the row; the one before it is void."""
        otp = f"{secrets.randbelow(1_000_000):06}"
        hashed = token_hash(row["email"], otp)
        now = stamp(self._store.now())
        row[f"{COLUMNS[kind]}_token"] = hashed
        row[f"{COLUMNS[kind]}_sent_at"] = now
        if kind == "invite":
            row["invited_at"] = now
        where = quote_plus(redirect_to) if re.search("[&=#]", redirect_to) else redirect_to
        base = self._settings.external_url.rstrip("/")
        return OneTime(otp, hashed, f"{base}/verify?token={hashed}&type={kind}&redirect_to={where}")

    def send(self, tx: Transaction, row: Row, kind: str, redirect_to: str) -> None:
        """Invitations may follow each other at once; all others keep the pause, or raise 429."""
        if kind != "invite":
            self._pause(row[f"{COLUMNS[kind]}_sent_at"])
        one = self.issue(row, kind, redirect_to)
        mail = {
            "to": row["email"], "type": kind, "token_hash": one.token_hash, "otp": one.otp, "link": one.link, "redirect_to": redirect_to,
            "at": stamp(self._store.now()),
        }  # fmt: skip
        tx.later(lambda: self._store.mails.append(mail))

    def _pause(self, sent_at: str | None) -> None:
        if sent_at is None:
            return
        left = (moment(sent_at) + self._settings.mail_pause - self._store.now()).total_seconds()
        if left > 0:
            message = f"For security purposes, you can only request this after {int(left)} seconds."
            raise Refusal(429, "over_email_send_rate_limit", message)

    def expired(self, sent_at: str | None, now: datetime) -> bool:
        return sent_at is None or now > moment(sent_at) + self._settings.otp_lifetime


def redirect_of(request: Request, settings: Settings) -> str:
    """Where a link leads in the end: what is asked for if it is allowed, else the page it came from, else the site."""
    asked = (request.headers.get("redirect_to"), request.query_params.get("redirect_to"), request.headers.get("referer"))
    return next((url for url in asked if url and is_allowed(url, settings)), settings.site_url)


def is_allowed(url: str, settings: Settings) -> bool:
    site, wanted = urlsplit(settings.site_url), urlsplit(url)
    if (site.scheme, site.hostname, site.port) == (wanted.scheme, wanted.hostname, wanted.port):
        return True
    if wanted.hostname in {"127.0.0.1", "::1"}:
        return True
    return any(_pattern(allowed).fullmatch(url.partition("#")[0]) for allowed in settings.redirects)


def _pattern(glob: str) -> re.Pattern[str]:
    """``*`` stops at a dot or slash, ``**`` does not."""
    escaped = re.escape(glob).replace(r"\*\*", ".*").replace(r"\*", "[^./]*").replace(r"\?", "[^./]")
    return re.compile(escaped)
