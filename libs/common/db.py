"""The database: engine, mapped base, and the signed tenant context that row security reads.

The context names the practices a transaction may touch and is signed with a key only the services and a
SECURITY DEFINER function know, so SQL that got in by mistake cannot name another practice.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Iterable
from uuid import UUID

import orjson
from sqlalchemy import MetaData
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
from sqlalchemy.orm import DeclarativeBase

from libs.common.clock import Clock, utc_now

CONTEXT_LIFETIME_SECONDS = 300
CONTEXT_SETTING = "vantage.context"

SERIALIZATION_FAILURES = frozenset({"40001", "40P01"})
"""SQLSTATEs that mean: nothing happened, try the same transaction again."""


class Base(DeclarativeBase):
    """Mapped classes of one service derive from a subclass of this that sets ``metadata`` to its schema."""

    metadata = MetaData()


class TenancySigner:
    """Makes the text of a tenant context; the counterpart of ``tenancy.practices()`` in the database."""

    def __init__(self, key_hex: str, clock: Clock = utc_now) -> None:
        self._key = bytes.fromhex(key_hex)
        self._clock = clock

    def context(self, practice_ids: Iterable[UUID]) -> str:
        """``expiry|practice,…|hmac``, valid for five minutes: longer than any transaction of ours may take."""
        body = f"{int(self._clock().timestamp()) + CONTEXT_LIFETIME_SECONDS}|{','.join(sorted(str(p) for p in practice_ids))}"
        return f"{body}|{hmac.new(self._key, body.encode(), hashlib.sha256).hexdigest()}"


_POOLED = {"statement_cache_size": 0, "prepared_statement_cache_size": 0, "prepared_statement_name_func": lambda: ""}
"""Behind a pooler in transaction mode the next statement may meet another server connection: nothing is prepared by name."""


def make_engine(database_url: str, *, application: str, pool: int = 8, pooled: bool = False) -> AsyncEngine:
    """An engine for one process. Nothing connects before first use.

    ``database_url`` starts with ``postgresql://``. ``pooled``: it leads to a pooler in transaction mode (PgBouncer,
    Supabase's port 6543). Time limits and the like are settings of the role (deploy/postgres/bootstrap.sql): a pooler
    refuses them at the start of a connection.
    """
    url = database_url.replace("postgresql://", "postgresql+asyncpg://", 1)
    return create_async_engine(
        url,
        isolation_level="AUTOCOMMIT",  # Work says BEGIN and COMMIT itself, in one round trip with the tenant context
        pool_size=pool,
        max_overflow=0,
        pool_timeout=10,
        json_serializer=lambda value: orjson.dumps(value).decode(),
        json_deserializer=orjson.loads,
        connect_args={
            "timeout": 5,
            "server_settings": {"application_name": application},
            **(_POOLED if pooled else {}),
        },
    )
