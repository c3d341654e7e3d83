"""The admin API's users, for tokens of an admin role."""

from __future__ import annotations

import hashlib
import math
from datetime import timedelta
from typing import Any
from urllib.parse import urlencode

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from libs.testing.simulators.supabase import passwords, users
from libs.testing.simulators.supabase.callers import Callers, is_uuid
from libs.testing.simulators.supabase.reading import body_of, email_of, flag, table, text
from libs.testing.simulators.supabase.refusals import Refusal, email_exists, invalid, not_simulated
from libs.testing.simulators.supabase.settings import Settings, duration
from libs.testing.simulators.supabase.store import Row, Store


class Admin:
    def __init__(self, settings: Settings, store: Store, callers: Callers) -> None:
        self._settings = settings
        self._store = store
        self._callers = callers

    async def users(self, request: Request) -> Response:
        self._callers.administrator(request)
        return self._list(request) if request.method == "GET" else await self._create(request)

    def _list(self, request: Request) -> Response:
        """Newest first; ``Link`` and ``X-Total-Count`` say how much more there is."""
        page, size = _number(request, "page", 1), _number(request, "per_page", 50)
        if size == 0:
            raise invalid("Bad Pagination Parameters: per_page must be greater than 0")
        wanted = request.query_params.get("filter", "")
        rows = sorted(self._store.users.values(), key=lambda row: str(row["created_at"]), reverse=True)
        rows = [
            row for row in rows if wanted in row["email"] or wanted.lower() in str(row["raw_user_meta_data"].get("full_name", "")).lower()
        ]
        start = (max(page, 1) - 1) * size
        shown = [users.view(row, identities=False) for row in rows[start : start + size]]
        headers = {"Link": _links(request, page, math.ceil(len(rows) / size)), "X-Total-Count": str(len(rows))}
        return JSONResponse({"users": shown, "aud": self._settings.audience}, headers=headers)

    async def _create(self, request: Request) -> Response:
        """No mail; confirmed only if asked for."""
        body = await body_of(request)
        _known(body)
        if not text(body, "email"):
            raise invalid("Cannot create a user without either an email or phone")
        email = email_of(body)
        if self._store.by_email(email) is not None:
            raise email_exists()
        password, user_id, length = text(body, "password"), text(body, "id"), _ban_of(body)
        if password:
            passwords.judged(password, self._settings)
        if user_id and not is_uuid(user_id):
            raise invalid("ID must conform to the uuid v4 format")
        tx = self._store.begin()
        row = users.new_row(email, self._store.now(), self._settings.audience, user_id=user_id or None, data=table(body, "user_metadata"))
        row["encrypted_password"] = passwords.hashed(password) if password else passwords.unguessable()
        row["role"] = text(body, "role") or row["role"]
        users.merge(row["raw_app_meta_data"], table(body, "app_metadata"))
        if flag(body, "email_confirm"):
            users.confirm(row, self._store.now())
        if length is not None:
            users.ban(row, length, self._store.now())
        tx.insert(row)
        tx.commit()
        return JSONResponse(users.view(row))

    async def user(self, request: Request) -> Response:
        self._callers.administrator(request)
        user_id = request.path_params["user_id"]
        if not is_uuid(user_id):
            raise Refusal(404, "validation_failed", "user_id must be an UUID")
        row = self._store.users.get(user_id)
        if row is None:
            raise Refusal(404, "user_not_found", "User not found")
        if request.method == "GET":
            return JSONResponse(users.view(row))
        if request.method == "DELETE":
            return await self._delete(request, row)
        return await self._update(await body_of(request), row)

    async def _update(self, body: dict[str, Any], known: Row) -> Response:
        _known(body)
        length, password = _ban_of(body), text(body, "password")
        email = email_of(body) if text(body, "email") else known["email"]
        if email != known["email"] and self._store.by_email(email) is not None:
            raise email_exists()
        if password:
            passwords.judged(password, self._settings)
        tx = self._store.begin()
        row = tx.user(known["id"])
        row["role"] = text(body, "role") or row["role"]
        if flag(body, "email_confirm"):
            users.confirm(row, self._store.now())
        if password:
            row["encrypted_password"] = passwords.hashed(password)
            users.clear_tokens(row)
            tx.later(lambda: self._store.end_sessions(row["id"]))
        if text(body, "email"):
            users.set_email(row, email, verified=flag(body, "email_confirm"))
        users.merge(row["raw_app_meta_data"], table(body, "app_metadata"))
        users.merge(row["raw_user_meta_data"], table(body, "user_metadata"))
        if length is not None:
            users.ban(row, length, self._store.now())
        tx.commit()
        return JSONResponse(users.view(row))

    async def _delete(self, request: Request, known: Row) -> Response:
        body = await body_of(request) if await request.body() else {}
        tx = self._store.begin()
        if not flag(body, "should_soft_delete"):
            tx.delete(known["id"])
        elif known["deleted_at"] is None:
            row = tx.user(known["id"])
            users.soft_delete(row, self._store.now(), hashlib.sha256(f"{row['id']}{row['email']}".encode()).hexdigest())
            tx.later(lambda: self._store.end_sessions(row["id"]))
        tx.commit()
        return JSONResponse({})


def _known(body: dict[str, Any]) -> None:
    for name in ("phone", "password_hash"):
        if text(body, name):
            raise not_simulated(name)


def _ban_of(body: dict[str, Any]) -> timedelta | None:
    wanted = text(body, "ban_duration")
    if not wanted:
        return None
    try:
        return timedelta(0) if wanted == "none" else duration(wanted)
    except ValueError as error:
        raise invalid(f"invalid format for ban duration: {error}") from error


def _number(request: Request, name: str, default: int) -> int:
    given = request.query_params.get(name, "")
    if given and not (given.isascii() and given.isdecimal()):
        raise invalid(f'Bad Pagination Parameters: strconv.ParseUint: parsing "{given}": invalid syntax')
    return int(given) if given else default


def _links(request: Request, page: int, last: int) -> str:
    def link(number: int, rel: str) -> str:
        query = urlencode(sorted({**request.query_params, "page": str(number)}.items()))
        return f'<{request.url.path}?{query}>; rel="{rel}"'

    return ", ".join([*([link(page + 1, "next")] if last > page else []), link(last, "last")])
