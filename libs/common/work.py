"""The unit of work: business rows, outbox rows and inbox marks become durable together, or not at all.

``async with work(principal) as tx`` opens one transaction under the principal's practice; leaving the block without
an exception commits it. What ``tx.emit`` was given is then on its way to Kafka and cannot get lost; before, nobody
has seen it. A Tx belongs to one task and is useless after its block.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Any, NoReturn, Protocol
from uuid import UUID

import asyncpg
import orjson
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, AsyncSession

from libs.common.auth import Principal
from libs.common.clock import Clock, utc_now
from libs.common.db import CONTEXT_SETTING, TenancySigner
from libs.common.ids import derived_id, new_id
from libs.common.outbox import OutboxRow, write_outbox
from libs.common.telemetry import NO_CAUSE, Cause, current_traceparent
from libs.contracts.envelope import PLATFORM, Description, Message
from libs.contracts.topics import topic_of


class HasCause(Protocol):
    """Anything that knows why the next thing happens; a received message does."""

    @property
    def cause(self) -> Cause: ...

    @property
    def practice_id(self) -> UUID: ...


class Tx:
    """One open transaction. ``now`` is when it began; for one that waited for its turn, when that came (``begin_now``)."""

    def __init__(
        self,
        service: str,
        principal: Principal,
        connection: AsyncConnection,
        raw: asyncpg.Connection[Any],
        clock: Clock,
        signer: TenancySigner,
    ) -> None:
        self.principal = principal
        self.now = clock()
        self._clock = clock
        self.cause = NO_CAUSE
        self._practice_id = principal.practice_id
        self._service = service
        self._connection = connection
        self._raw = raw
        self._session: AsyncSession | None = None
        self._signer = signer
        self._outbox: list[OutboxRow] = []
        self._callbacks: list[Callable[[], object]] = []

    @property
    def practice_id(self) -> UUID:
        """The practice this transaction works for right now. Over a batch of many there is none: name it yourself."""
        if self._practice_id is None:
            message = "this transaction is not bound to one practice"
            raise LookupError(message)
        return self._practice_id

    async def enter(self, practice_ids: Iterable[UUID]) -> None:
        """From here on this transaction may touch these practices: for duties that first learn whom they are about.

        Raises ``LookupError`` for a person's transaction, which stays where it was opened.
        """
        if self.principal.kind != "system":
            message = "a person's transaction stays in its practice"
            raise LookupError(message)
        await self._raw.execute(f"SELECT set_config('{CONTEXT_SETTING}', $1, true)", self._signer.context({*practice_ids, PLATFORM}))

    def begin_now(self) -> None:
        """It has waited for others, and what it does comes after what they did: ``now`` is the time, never an earlier one than before.

        Only before anything is written.
        """
        self.now = max(self.now, self._clock())

    def settle(self, practice_id: UUID) -> None:
        """From here on this transaction works for one practice: one of those it was opened for, row security sees to that."""
        self._practice_id = practice_id

    def serve(self, because: HasCause) -> None:
        """From here on this transaction works for one message: its practice, its cause."""
        self._practice_id = because.practice_id
        self.cause = because.cause

    @property
    def session(self) -> AsyncSession:
        """The ORM on this transaction. Flushed before the commit; raw statements do not see unflushed objects."""
        if self._session is None:
            self._session = AsyncSession(bind=self._connection, expire_on_commit=False, join_transaction_mode="rollback_only")
        return self._session

    async def rows(self, sql: str, *args: object) -> list[asyncpg.Record]:
        """Raw asyncpg on this transaction (``$1``). JSON columns come decoded; JSON arguments go in as text (``json_text``)."""
        found: list[asyncpg.Record] = await self._raw.fetch(sql, *args)
        return found

    async def row(self, sql: str, *args: object) -> asyncpg.Record | None:
        return await self._raw.fetchrow(sql, *args)

    async def value(self, sql: str, *args: object) -> Any:
        return await self._raw.fetchval(sql, *args)

    async def execute(self, sql: str, *args: object) -> str:
        """Runs a statement; returns the command tag (``UPDATE 3``)."""
        tag: str = await self._raw.execute(sql, *args)
        return tag

    async def executemany(self, sql: str, args: Sequence[Sequence[object]]) -> None:
        await self._raw.executemany(sql, args)

    def new_id(self) -> UUID:
        return new_id()

    def emit(
        self,
        message: Message,
        *,
        because: HasCause | Cause | None = None,
        practice_id: UUID | None = None,
        message_id: UUID | None = None,
    ) -> UUID:
        """Say something when this transaction commits; returns the message's id.

        ``because`` gives correlation, causation and trace; without it the transaction's own cause counts. The
        practice is that of ``practice_id``, else of ``because``, else of the transaction. A ``message_id`` of one's own is
        said once for ever: a second time fails the transaction.
        """
        cause = self._cause_of(because)
        if practice_id is None:
            practice_id = because.practice_id if because is not None and not isinstance(because, Cause) else self.practice_id
        row = OutboxRow(
            id=message_id or new_id(),
            topic=topic_of(type(message)).name,
            key=message.key if isinstance(message, Description) else str(practice_id),
            practice_id=practice_id,
            type=message.type,
            source=f"/vantage/{self._service}",
            subject=message.subject,
            time=self.now,
            actor=self.principal.actor,
            cause=cause,
            payload=message.model_dump_json(),
        )
        self._outbox.append(row)
        return row.id

    def _cause_of(self, because: HasCause | Cause | None) -> Cause:
        cause = self.cause if because is None else because if isinstance(because, Cause) else because.cause
        if cause.traceparent and cause.correlation_id:
            return cause
        return Cause(
            correlation_id=cause.correlation_id or str(new_id()),
            causation_id=cause.causation_id,
            traceparent=cause.traceparent or current_traceparent(),
            tracestate=cause.tracestate,
        )

    async def once(self, source: str, key: str) -> bool:
        """Mark ``key`` of ``source`` as seen, in this transaction and practice. False when it was seen before."""
        marked = await self._raw.fetchval(
            "INSERT INTO inbox (event_id) VALUES ($1) ON CONFLICT DO NOTHING RETURNING true", derived_id(source, self.practice_id, key)
        )
        return marked is True

    @asynccontextmanager
    async def attempt(self) -> AsyncIterator[None]:
        """What is done in here is undone when it raises, with what it emitted; the transaction itself goes on."""
        await self._flush_session()
        said, called = len(self._outbox), len(self._callbacks)
        await self._raw.execute("SAVEPOINT attempt")
        try:
            yield
            await self._flush_session()
        except Exception:
            del self._outbox[said:], self._callbacks[called:]
            if self._session is not None:
                self._session.expunge_all()
            await self._raw.execute("ROLLBACK TO SAVEPOINT attempt")
            raise
        await self._raw.execute("RELEASE SAVEPOINT attempt")

    def after_commit(self, callback: Callable[[], object]) -> None:
        """Call this once the commit is durable. If we die in between it is never called: only a hint may depend on it."""
        self._callbacks.append(callback)

    async def flush(self) -> None:
        """Write what is pending: ORM objects, then outbox rows. Called before the commit."""
        await self._flush_session()
        if self._outbox:
            rows, self._outbox = self._outbox, []
            await write_outbox(self._raw, rows)

    async def _flush_session(self) -> None:
        if self._session is not None:
            await self._session.flush()

    def run_callbacks(self) -> None:
        for callback in self._callbacks:
            callback()


class Work:
    """Opens transactions of one service."""

    def __init__(self, service: str, engine: AsyncEngine, signer: TenancySigner, clock: Clock = utc_now) -> None:
        self.service = service
        self.engine = engine
        self._signer = signer
        self._clock = clock

    def now(self) -> datetime:
        """The time transactions of this service go by. Aware UTC."""
        return self._clock()

    @asynccontextmanager
    async def __call__(self, principal: Principal) -> AsyncIterator[Tx]:
        """A transaction in the principal's practice. Raises ``LookupError`` when it has none."""
        if principal.practice_id is None:
            _refuse_without_practice()
        async with self.batch([principal.practice_id], principal) as tx:
            yield tx

    @asynccontextmanager
    async def batch(self, practice_ids: Iterable[UUID], principal: Principal) -> AsyncIterator[Tx]:
        """A transaction over the practices of a batch. Commits on leaving; callbacks run after the commit."""
        context = self._signer.context({*practice_ids, PLATFORM} if principal.kind == "system" else set(practice_ids))
        async with self.engine.connect() as connection:
            raw = await _live(connection)
            # One round trip: the transaction begins and everything in it sees the tenant context, which is our own text.
            await raw.execute(f"BEGIN; SELECT set_config('{CONTEXT_SETTING}', '{context}', true)")
            tx = Tx(self.service, principal, connection, raw, self._clock, self._signer)
            try:
                yield tx
                await tx.flush()
            except BaseException:
                await _roll_back(connection, raw)
                raise
            if await raw.execute("COMMIT") != "COMMIT":
                raise TransactionAborted
        # Durable from here on.
        tx.run_callbacks()


class TransactionAborted(Exception):
    """A statement of this transaction failed and somebody went on: Postgres rolled back where a commit was asked for."""


async def _live(connection: AsyncConnection) -> asyncpg.Connection[Any]:
    """The driver's connection; one that died in the pool is replaced before it is used."""
    while True:
        raw: asyncpg.Connection[Any] = (await connection.get_raw_connection()).driver_connection
        if not raw.is_closed():
            return raw
        await connection.invalidate()


async def _roll_back(connection: AsyncConnection, raw: asyncpg.Connection[Any]) -> None:
    """Undo; a connection that cannot even do that is not given back to the pool."""
    try:
        await raw.execute("ROLLBACK")
    except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError):
        await connection.invalidate()


def _refuse_without_practice() -> NoReturn:
    message = "a principal without a practice opens no tenant transaction"
    raise LookupError(message)


def json_text(value: object) -> str:
    """``value`` as JSON text, for raw statements (json and jsonb travel as text)."""
    return orjson.dumps(value, default=str).decode()
