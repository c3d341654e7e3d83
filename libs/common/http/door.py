"""What a route gets: the verified caller, a transaction in the caller's practice, and answers kept per idempotency key.

A route body opens ``async with door.work() as tx`` and returns ``await door.answer(tx, ...)`` from inside: the commit
happens before the first byte of the answer leaves.

``Idempotency-Key`` (draft-ietf-httpapi-idempotency-key-header): the same key with the same request gets the same answer
again, also after a crash; with another request 422; while the first one runs 409. Kept for a day, sealed.
"""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Annotated, Any, TypeVar
from uuid import UUID

import orjson
from fastapi import Depends, Header, Request, Response
from pydantic import BaseModel

from libs.common.access import Admitted, EntryNeeded
from libs.common.auth import Principal, Role
from libs.common.errors import Conflict, Forbidden, NotFound, Refused, Trouble
from libs.common.http.cors import check_origin
from libs.common.ids import new_id
from libs.common.paging import Cursors, Page
from libs.common.secrets import SealBroken, SecretBox
from libs.common.telemetry import Cause
from libs.common.work import Tx, Work, json_text
from libs.contracts.access import DENIED
from libs.contracts.envelope import PLATFORM

T = TypeVar("T")

_PURPOSE = "answer"
_LOCK = "SELECT pg_try_advisory_xact_lock(hashtextextended($1, 0))"
_STORED = """
SELECT fingerprint, status, headers, body FROM idempotency
WHERE practice_id = $1 AND principal = $2 AND operation = $3 AND key = $4 AND created_at > $5::timestamptz - interval '1 day'
"""
_STORE = """
INSERT INTO idempotency (practice_id, principal, operation, key, fingerprint, status, headers, body)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
"""
_EXPIRE = "DELETE FROM idempotency WHERE practice_id = $1 AND principal = $2 AND operation = $3 AND key = $4 AND created_at <= $5::timestamptz - interval '1 day'"


class PermissionMissing(Forbidden):
    """You may not do this."""


class IdempotencyKeyInvalid(Refused):
    """Idempotency-Key takes 1 to 200 printable ASCII characters."""


class IdempotencyKeyReused(Refused):
    """This idempotency key was used for another request."""


class RequestInFlight(Conflict):
    """A request with this idempotency key is being answered right now."""


class IfMatchInvalid(Refused):
    """If-Match takes one ETag as this resource handed it out."""


class AnswerUnreadable(Conflict):
    """The request with this idempotency key was done; its answer can no longer be read."""


class AlreadyAnswered(Exception):
    """Carries the stored answer of an idempotency key to the client."""

    def __init__(self, response: Response) -> None:
        super().__init__()
        self.response = response


class Door:
    """One authenticated request."""

    def __init__(self, request: Request, principal: Principal, fingerprint: bytes) -> None:
        self.principal = principal
        self._request = request
        self._work: Work = request.app.state.work
        self._cursors: Cursors = request.app.state.cursors
        self._box: SecretBox = request.app.state.box
        self._fingerprint = fingerprint
        self._key = _idempotency_key(request)
        self._operation = f"{request.method} {request.scope['route'].path}"

    @property
    def practice_id(self) -> UUID:
        """The practice the caller acts in. A Vantage admin outside every practice has none and is refused."""
        if self.principal.practice_id is None:
            raise EntryNeeded
        return self.principal.practice_id

    @property
    def client(self) -> str:
        """The caller's network address, as the gateway saw it."""
        address: str = self._request.state.client
        return address

    @asynccontextmanager
    async def work(self, practice_id: UUID | None = None) -> AsyncIterator[Tx]:
        """A transaction in the caller's practice; ``practice_id`` is for a Vantage admin outside every practice."""
        if practice_id is not None and (self.principal.role is not Role.VANTAGE_ADMIN or self.principal.practice_id is not None):
            raise PermissionMissing
        home = practice_id or self.practice_id
        ids = [home] if self.principal.practice_id else [home, PLATFORM]
        async with self._work.batch(ids, self.principal) as tx:
            tx.settle(home)
            tx.cause = _cause(self._request)
            if self._key is not None:
                await self._replay(tx)
            yield tx

    async def _replay(self, tx: Tx) -> None:
        where = (self._home, self.principal.actor, self._operation, self._key)
        if not await tx.value(_LOCK, "|".join(str(part) for part in where)):
            raise RequestInFlight
        stored = await tx.row(_STORED, *where, tx.now)
        if stored is None:
            await tx.execute(_EXPIRE, *where, tx.now)
            return
        if stored["fingerprint"] != self._fingerprint:
            raise IdempotencyKeyReused
        try:
            body = self._box.open_bytes(self._home, _PURPOSE, stored["body"])
        except SealBroken:
            raise AnswerUnreadable from None
        raise AlreadyAnswered(Response(body, stored["status"], {**stored["headers"], "Idempotent-Replayed": "true"}))

    @property
    def _home(self) -> UUID:
        return self.principal.practice_id or PLATFORM

    async def answer(
        self, tx: Tx, view: BaseModel | dict[str, Any] | None = None, *, status: int = 200, headers: dict[str, str] | None = None
    ) -> Response:
        """The answer, stored under the idempotency key in the same transaction."""
        body = b"" if view is None else view.model_dump_json().encode() if isinstance(view, BaseModel) else orjson.dumps(view, default=str)
        sent = {**(headers or {}), **({"content-type": "application/json"} if body else {})}
        if self._key is not None:
            sealed = self._box.seal_bytes(self._home, _PURPOSE, body)
            await tx.execute(
                _STORE, self._home, self.principal.actor, self._operation, self._key, self._fingerprint, status, json_text(sent), sealed
            )
        return Response(body, status, sent)

    def position(self, cursor: str | None) -> tuple[str, ...] | None:
        """Where a list goes on; None for its first page. Raises ``CursorInvalid``."""
        return self._cursors.read(self.principal.practice_id, self._operation, cursor)

    def page(self, items: Sequence[T], limit: int, position: Callable[[T], Sequence[object]]) -> Page[T]:
        """A page from ``limit + 1`` fetched items."""
        return self._cursors.page(self.principal.practice_id, self._operation, items, limit, position)


def _idempotency_key(request: Request) -> str | None:
    key = request.headers.get("idempotency-key")
    if key is None or request.method == "GET":
        return None
    if not 1 <= len(key) <= 200 or not key.isascii() or not key.isprintable():
        raise IdempotencyKeyInvalid(pointer="/Idempotency-Key")
    return key


async def _open_door(
    request: Request,
    vantage_practice: Annotated[UUID | None, Header(description="The practice a Vantage admin acts in, through an open entry.")] = None,
) -> Door:
    claims = await request.app.state.verifier.claims(request.headers.get("authorization"))
    admitted: Admitted = await request.app.state.access.admit(claims, vantage_practice)
    principal = admitted.principal
    request.state.principal = principal
    check_origin(request, admitted.origins)
    permission = request.scope["route"].permission
    assert permission is not None, "a public operation has no door"
    if permission not in principal.permissions:
        raise (
            EntryNeeded if principal.practice_id and principal.role is Role.VANTAGE_ADMIN and not principal.entry_id else PermissionMissing
        )
    fingerprint = b""
    if "idempotency-key" in request.headers:
        parts = request.method, request.url.path, request.url.query
        fingerprint = hashlib.sha256("\n".join(parts).encode() + b"\n" + await request.body()).digest()
    return Door(request, principal, fingerprint)


def _cause(request: Request) -> Cause:
    return Cause(request.state.correlation_id, "", request.state.traceparent, "")


async def record_denied(request: Request, trouble: Trouble) -> None:
    """Say that somebody we know was refused, or asked for what is not there for them: one event per attempt, durable."""
    principal: Principal | None = getattr(request.state, "principal", None)
    if principal is None or not isinstance(trouble, NotFound | Forbidden):
        return
    work: Work = request.app.state.work
    practice_id = principal.practice_id or PLATFORM
    operation = f"{request.method} {request.scope['route'].path}"
    async with work.batch([practice_id], principal) as tx:
        denied = DENIED[work.service](denied_id=new_id(), operation=operation, code=trouble.code, status=trouble.status)
        tx.emit(denied, because=_cause(request), practice_id=practice_id)


async def _work_of(request: Request) -> Work:
    work: Work = request.app.state.work
    return work


def _if_match(if_match: Annotated[str | None, Header()] = None) -> int | None:
    """The version an ``If-Match`` header asks for; None without one. Our ETags are ``"<version>"``."""
    if if_match is None or if_match == "*":
        return None
    text = if_match.removeprefix('"').removesuffix('"')
    if not text.isdecimal() or f'"{text}"' != if_match or len(text) > 18:
        raise IfMatchInvalid(pointer="/If-Match")
    return int(text)


DoorDep = Annotated[Door, Depends(_open_door)]
"""A caller who is known and may do this, or 401 or 403 before anything else happens."""

WorkDep = Annotated[Work, Depends(_work_of)]
"""The unit of work for routes whose caller proves itself otherwise (signed webhooks)."""

IfMatch = Annotated[int | None, Depends(_if_match)]
"""The version the client saw; raise ``VersionMismatch`` when the row has another."""
