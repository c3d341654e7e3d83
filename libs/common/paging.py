"""Cursor paging: opaque, signed positions that are valid for one practice and one operation only."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from collections.abc import Callable, Sequence
from typing import Annotated, Generic, TypeVar
from uuid import UUID

import orjson
from fastapi import Query
from pydantic import BaseModel

from libs.common.errors import Refused

T = TypeVar("T")
_SIGNATURE_BYTES = 16

LimitQuery = Annotated[int, Query(ge=1, le=100, description="Items per page.")]
CursorQuery = Annotated[str | None, Query(max_length=1000, description="`next_cursor` of the page before.")]


class Page(BaseModel, Generic[T]):
    """One page of a list. ``next_cursor`` is null on the last page."""

    items: list[T]
    next_cursor: str | None = None


class CursorInvalid(Refused):
    """The cursor is not one this list handed out."""


class Cursors:
    """Makes and reads cursors. ``position`` values are strings."""

    def __init__(self, key_hex: str) -> None:
        self._key = hashlib.sha256(b"cursor" + bytes.fromhex(key_hex)).digest()

    def make(self, practice_id: UUID | None, operation: str, position: Sequence[object]) -> str:
        body = orjson.dumps([str(value) for value in position])
        return base64.urlsafe_b64encode(self._sign(practice_id, operation, body) + body).decode().rstrip("=")

    def read(self, practice_id: UUID | None, operation: str, cursor: str | None) -> tuple[str, ...] | None:
        """The position, or None for the first page. Raises ``CursorInvalid``."""
        if cursor is None:
            return None
        try:
            raw = base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4))
        except (binascii.Error, ValueError):
            raise CursorInvalid(pointer="/cursor") from None
        signature, body = raw[:_SIGNATURE_BYTES], raw[_SIGNATURE_BYTES:]
        if not hmac.compare_digest(signature, self._sign(practice_id, operation, body)):
            raise CursorInvalid(pointer="/cursor")
        return tuple(orjson.loads(body))

    def page(
        self, practice_id: UUID | None, operation: str, items: Sequence[T], limit: int, position: Callable[[T], Sequence[object]]
    ) -> Page[T]:
        """A page from ``limit + 1`` fetched items: the surplus one only says that there is more."""
        shown = list(items[:limit])
        more = len(items) > limit
        return Page(items=shown, next_cursor=self.make(practice_id, operation, position(shown[-1])) if more else None)

    def _sign(self, practice_id: UUID | None, operation: str, body: bytes) -> bytes:
        message = f"{practice_id}|{operation}|".encode() + body
        return hmac.new(self._key, message, hashlib.sha256).digest()[:_SIGNATURE_BYTES]
