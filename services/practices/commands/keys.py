"""Do: make, rotate and revoke API keys. A key is shown once; what is kept cannot be turned back into it."""

from __future__ import annotations

import secrets
from datetime import datetime, timedelta
from typing import Annotated, Self
from uuid import UUID

from pydantic import AfterValidator, AwareDatetime, BaseModel, Field

from libs.common.command import Command, Line
from libs.common.errors import Conflict, NotFound, Refused
from libs.common.work import Tx
from libs.contracts.permissions import SCOPES, Permission
from libs.contracts.practices import ApiKeyCreated, ApiKeyRevoked
from services.practices.model import ApiKey
from services.practices.queries import key_by_id
from services.practices.rules.keys import ID_BYTES, SECRET_BYTES, address_block, make_key

_LIST = "INSERT INTO api_key_directory (public_id, practice_id, key_id) VALUES ($1, $2, $3)"


class ApiKeyNotFound(NotFound):
    """No such API key."""


class ApiKeyEnded(Conflict):
    """The API key does not count any more."""


class ExpiryPassed(Refused):
    """The expiry lies in the past."""


def _grantable(scope: Permission) -> Permission:
    if scope not in SCOPES:
        message = "a key cannot have this scope"
        raise ValueError(message)
    return scope


Scope = Annotated[Permission, AfterValidator(_grantable)]
AddressBlock = Annotated[str, AfterValidator(address_block)]


class CreateApiKey(Command):
    """``addresses``: where the key may be used from (addresses or CIDR blocks); none given: anywhere."""

    name: Line
    scopes: Annotated[list[Scope], Field(min_length=1, max_length=20)]
    addresses: Annotated[list[AddressBlock], Field(max_length=50, default_factory=list)]
    expires_at: AwareDatetime | None = None


class RotateApiKey(Command):
    """The old key counts for this long yet."""

    overlap_hours: Annotated[int, Field(ge=0, le=720)] = 24


class ApiKeyView(BaseModel):
    """A key as the API shows it: never the key itself. Times are UTC; ``last_used_at`` is exact to a minute."""

    id: UUID
    name: str
    prefix: str
    scopes: list[str]
    addresses: list[str]
    created_by: str
    created_at: datetime
    expires_at: datetime | None
    ends_at: datetime | None
    last_used_at: datetime | None
    replaces: UUID | None

    @classmethod
    def of(cls, key: ApiKey) -> Self:
        return cls.model_validate(key, from_attributes=True)


class CreatedApiKey(ApiKeyView):
    """The only time the key is shown. It goes into the ``X-Api-Key`` header."""

    key: str


async def create_key(cmd: CreateApiKey, tx: Tx) -> CreatedApiKey:
    """Raises ``ExpiryPassed``."""
    if cmd.expires_at is not None and cmd.expires_at <= tx.now:
        raise ExpiryPassed(pointer="/expires_at")
    return await _make(cmd.name, list(dict.fromkeys(cmd.scopes)), cmd.addresses, cmd.expires_at, None, tx)


async def rotate_key(key_id: UUID, cmd: RotateApiKey, tx: Tx) -> CreatedApiKey:
    """A new key like the old one, which counts on for the overlap. Raises ``ApiKeyNotFound``, ``ApiKeyEnded``."""
    old = await key_by_id(key_id, tx)
    if old is None:
        raise ApiKeyNotFound
    if not old.counts_at(tx.now):
        raise ApiKeyEnded
    _end(old, tx.now + timedelta(hours=cmd.overlap_hours), tx)
    return await _make(old.name, [Permission(scope) for scope in old.scopes], old.addresses, old.expires_at, old.id, tx)


async def revoke_key(key_id: UUID, tx: Tx) -> None:
    """It counts no more, from the next request on. Repeating it changes nothing. Raises ``ApiKeyNotFound``."""
    key = await key_by_id(key_id, tx)
    if key is None:
        raise ApiKeyNotFound
    if key.counts_at(tx.now):
        _end(key, tx.now, tx)


def _end(key: ApiKey, moment: datetime, tx: Tx) -> None:
    key.ends_at = moment if key.ends_at is None else min(key.ends_at, moment)
    tx.emit(ApiKeyRevoked(key_id=key.id, ends_at=key.ends_at))


async def _make(
    name: str, scopes: list[Permission], addresses: list[str], expires_at: datetime | None, replaces: UUID | None, tx: Tx
) -> CreatedApiKey:
    text = make_key(secrets.token_bytes(ID_BYTES), secrets.token_bytes(SECRET_BYTES))
    key = ApiKey(
        practice_id=tx.practice_id, id=tx.new_id(), name=name, prefix=text.prefix, digest=text.digest, scopes=[str(s) for s in scopes],
        addresses=addresses, created_by=tx.principal.actor, created_at=tx.now, expires_at=expires_at, replaces=replaces,
    )  # fmt: skip
    tx.session.add(key)
    await tx.session.flush()
    await tx.execute(_LIST, text.public_id, tx.practice_id, key.id)
    tx.emit(ApiKeyCreated(key_id=key.id, name=name, prefix=text.prefix, scopes=scopes, expires_at=expires_at, replaces=replaces))
    return CreatedApiKey(**ApiKeyView.of(key).model_dump(), key=text.text)
