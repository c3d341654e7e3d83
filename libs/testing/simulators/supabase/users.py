"""Users: the row, what happens to it, and what the API and the database webhook show of it."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any
from uuid import uuid4

from libs.testing.simulators.supabase.store import Row
from libs.testing.simulators.supabase.times import moment, stamp

_OPTIONAL = ("email_confirmed_at", "invited_at", "confirmation_sent_at", "confirmed_at", "recovery_sent_at", "last_sign_in_at")
_HIDDEN = {"encrypted_password", "confirmation_token", "recovery_token", "identities"}


def new_row(email: str, now: datetime, audience: str, *, user_id: str | None = None, data: dict[str, Any] | None = None) -> Row:
    """An unconfirmed user without a password, with an identity of provider ``email``."""
    at = stamp(now)
    name = user_id or str(uuid4())
    row: Row = {
        "id": name, "aud": audience, "role": "authenticated", "email": email, "encrypted_password": "", "email_confirmed_at": None,
        "invited_at": None, "confirmation_token": "", "confirmation_sent_at": None, "recovery_token": "", "recovery_sent_at": None,
        "last_sign_in_at": None, "raw_app_meta_data": {"provider": "email", "providers": ["email"]},
        "raw_user_meta_data": dict(data or {}), "created_at": at, "updated_at": at, "phone": "", "banned_until": None, "deleted_at": None,
        "is_anonymous": False, "is_sso_user": False,
    }  # fmt: skip
    identity = {
        "identity_id": str(uuid4()), "id": name, "user_id": name, "identity_data": claims_of(row), "provider": "email",
        "last_sign_in_at": at, "created_at": at, "updated_at": at, "email": email,
    }  # fmt: skip
    return {**row, "identities": [identity]}


def claims_of(row: Row) -> dict[str, Any]:
    """What the provider ``email`` says of a new user."""
    return {"email": row["email"], "email_verified": False, "phone_verified": False, "sub": row["id"]}


def confirm(row: Row, now: datetime) -> None:
    row["email_confirmed_at"] = stamp(now)
    row["raw_user_meta_data"]["email_verified"] = True
    for identity in row["identities"]:
        identity["identity_data"]["email_verified"] = True
    clear_tokens(row)


def clear_tokens(row: Row) -> None:
    row["confirmation_token"] = row["recovery_token"] = ""


def merge(into: dict[str, Any], changes: dict[str, Any] | None) -> None:
    """By top-level key; null deletes."""
    for name, value in (changes or {}).items():
        if value is None:
            into.pop(name, None)
        else:
            into[name] = value


def ban(row: Row, length: timedelta, now: datetime) -> None:
    row["banned_until"] = stamp(now + length) if length else None


def is_banned(row: Row, now: datetime) -> bool:
    return row["banned_until"] is not None and now < moment(row["banned_until"])


def set_email(row: Row, email: str, *, verified: bool) -> None:
    row["email"] = email
    for identity in row["identities"]:
        identity["email"] = email
        identity["identity_data"] |= {"email": email, "email_verified": verified}


def soft_delete(row: Row, now: datetime, obfuscated: str) -> None:
    row |= {
        "email": obfuscated, "encrypted_password": "", "raw_user_meta_data": {}, "raw_app_meta_data": {}, "identities": [],
        "deleted_at": stamp(now),
    }  # fmt: skip
    clear_tokens(row)


def view(row: Row, *, identities: bool = True) -> dict[str, Any]:
    """The API's user object. Lists are read without identities, and say null there."""
    known = {**row, "confirmed_at": row["email_confirmed_at"]}
    shown: dict[str, Any] = {name: row[name] for name in ("id", "aud", "role", "email", "phone")}
    shown |= {name: known[name] for name in _OPTIONAL if known[name]}
    shown |= {
        "app_metadata": row["raw_app_meta_data"], "user_metadata": row["raw_user_meta_data"],
        "identities": row["identities"] if identities else None, "created_at": row["created_at"], "updated_at": row["updated_at"],
    }  # fmt: skip
    shown |= {name: row[name] for name in ("banned_until", "deleted_at") if row[name]}
    return {**shown, "is_anonymous": row["is_anonymous"]}


def record(row: Row | None) -> dict[str, Any] | None:
    """The row as the trigger sends it: columns of ``auth.users`` without secrets, times as Postgres writes them in JSON."""
    if row is None:
        return None
    shown = {name: value for name, value in row.items() if name not in _HIDDEN} | {"confirmed_at": row["email_confirmed_at"]}
    return {
        name: f"{value.removesuffix('Z')}+00:00" if name.endswith(("_at", "_until")) and value else value for name, value in shown.items()
    }
