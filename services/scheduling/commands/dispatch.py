"""Attempt what is due: claim it, send it, record what came of it.

A claim is a lease in the due table. If we die between claim and record, the delivery is attempted again when the lease
ends, with the same id. A slow receiver holds its own slots only: the others, and other practices, go on.
"""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Protocol
from uuid import UUID

import asyncpg

from libs.common import metrics
from libs.common.auth import Principal
from libs.common.logging import get_logger
from libs.common.secrets import SecretBox
from libs.common.telemetry import Cause, link_to, outgoing_headers, span
from libs.common.work import Tx, Work
from libs.contracts.scheduling import WebhookDeliveryExhausted
from services.scheduling.commands.deliveries import webhook_id
from services.scheduling.commands.endpoint import PURPOSE, close_endpoint
from services.scheduling.queries import endpoint
from services.scheduling.rules.retries import Answer, Outcome, outcome_of, pause_after
from services.scheduling.rules.signatures import signed_headers

log = get_logger()

LEASE_SECONDS = 60
PER_PRACTICE = 8
"""Attempts of one practice at a time, so that a slow receiver does not take every slot."""

_CLAIM = """
WITH waiting AS (
  SELECT practice_id, delivery_id, due_at FROM webhook_due WHERE due_at <= $1 AND practice_id <> ALL($3::uuid[])
    AND practice_id <> ALL (ARRAY(SELECT practice_id FROM access_practice WHERE suspended)) ORDER BY due_at LIMIT 1000
), fair AS (
  SELECT practice_id, delivery_id, row_number() OVER (PARTITION BY practice_id ORDER BY due_at) AS place FROM waiting
), picked AS (
  SELECT d.practice_id, d.delivery_id FROM webhook_due d JOIN fair f USING (practice_id, delivery_id)
  WHERE f.place <= $4 AND d.due_at <= $1 ORDER BY f.place, d.due_at LIMIT $2 FOR UPDATE OF d SKIP LOCKED
)
UPDATE webhook_due d SET due_at = $5 FROM picked p
WHERE d.practice_id = p.practice_id AND d.delivery_id = p.delivery_id RETURNING d.practice_id, d.delivery_id
"""
_NEXT = "SELECT min(due_at) FROM webhook_due WHERE practice_id <> ALL($1::uuid[]) AND practice_id NOT IN (SELECT practice_id FROM access_practice WHERE suspended)"
_DELIVERY = "SELECT * FROM webhook_delivery WHERE practice_id = $1 AND id = $2 AND state = 'pending'"
_FORGET = "DELETE FROM webhook_due WHERE practice_id = $1 AND delivery_id = $2"
_ATTEMPT = """
INSERT INTO webhook_attempt (practice_id, delivery_id, number, at, status, error, milliseconds, answer)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8) ON CONFLICT DO NOTHING
"""
_RECORD = """
UPDATE webhook_delivery SET state = $3, attempts = $4, tries = $5, last_status = $6, next_at = $7, finished_at = $8
WHERE practice_id = $1 AND id = $2
"""
_LATER = "UPDATE webhook_due SET due_at = $3 WHERE practice_id = $1 AND delivery_id = $2"
_STATES = {Outcome.DELIVERED: "delivered", Outcome.AGAIN: "pending", Outcome.GIVEN_UP: "exhausted", Outcome.ENDPOINT_GONE: "abandoned"}


class Sender(Protocol):
    """Performs one attempt; never raises for what the other side does."""

    async def send(self, url: str, headers: dict[str, str], body: bytes) -> Answer: ...


class Dispatcher:
    """The attempts of one process. ``run`` is a duty: it fills the free slots and returns; each end of an attempt wakes it."""

    def __init__(
        self, work: Work, sender: Sender, box: SecretBox, *, slots: int, first_pause_seconds: float, wake: Callable[[], None]
    ) -> None:
        """``wake`` is called whenever a slot is free again."""
        self._work = work
        self._sender = sender
        self._box = box
        self._slots = slots
        self._first_pause = first_pause_seconds
        self._running: dict[asyncio.Task[None], UUID] = {}
        self._wake = wake

    async def run(self) -> float | None:
        """Claim what fits and start it. Returns the seconds until the next delivery is due, None when none is."""
        free = self._slots - len(self._running)
        if free <= 0:
            return None
        busy = [practice for practice, count in Counter(self._running.values()).items() if count >= PER_PRACTICE]
        async with self._work.batch([], Principal.system("webhooks")) as tx:
            lease = tx.now + timedelta(seconds=LEASE_SECONDS)
            claims = await tx.rows(_CLAIM, tx.now, min(free, PER_PRACTICE * 4), busy, PER_PRACTICE, lease)
            upcoming: datetime | None = await tx.value(_NEXT, busy)
            now = tx.now
        for claim in claims:
            self._start(claim["practice_id"], claim["delivery_id"])
        return max(0.0, (upcoming - now).total_seconds()) if upcoming is not None else None

    async def open(self) -> None:
        """Nothing to prepare: the duty starts the attempts."""

    async def drained(self) -> None:
        """Wait for the attempts in progress. None is cut off: each has its own time limit."""
        await asyncio.gather(*self._running, return_exceptions=True)

    def _start(self, practice_id: UUID, delivery_id: UUID) -> None:
        task = asyncio.create_task(self._attempt(practice_id, delivery_id))
        self._running[task] = practice_id
        task.add_done_callback(self._done)

    def _done(self, task: asyncio.Task[None]) -> None:
        del self._running[task]
        self._wake()
        if not task.cancelled() and (error := task.exception()) is not None:
            # The lease brings it back. Nothing about the delivery was recorded.
            metrics.DUTY_FAILURES.labels("webhooks").inc()
            log.warning("webhook.attempt_failed", exc_info=error)

    async def _attempt(self, practice_id: UUID, delivery_id: UUID) -> None:
        principal = Principal.system("webhooks", practice_id)
        async with self._work(principal) as tx:
            delivery = await tx.row(_DELIVERY, practice_id, delivery_id)
            target = await endpoint(tx)
            if delivery is None or target is None or target["state"] != "active":
                await tx.execute(_FORGET, practice_id, delivery_id)
                return
            signed_at = tx.now
        secrets = self._secrets(target, signed_at)
        attributes = {"vantage.delivery_id": str(delivery_id), "vantage.practice_id": str(practice_id)}
        with span("send webhook", links=link_to(delivery["traceparent"]), attributes=dict(attributes)) as current:
            headers = signed_headers(secrets, webhook_id(delivery_id), signed_at, delivery["body"]) | outgoing_headers()
            answer = await self._sender.send(target["url"], headers, delivery["body"])
            current.set_attribute("vantage.outcome", str(answer.status or answer.error))
        async with self._work(principal) as tx:
            tx.cause = Cause(delivery["correlation_id"], str(delivery["event_id"]), delivery["traceparent"], "")
            await self._record(delivery, answer, signed_at, tx)

    def _secrets(self, target: asyncpg.Record, now: datetime) -> list[str]:
        sealed = [target["secret"]]
        if target["previous_secret"] is not None and target["previous_until"] > now:
            sealed.append(target["previous_secret"])
        return [self._box.open(target["practice_id"], PURPOSE, secret) for secret in sealed]

    async def _record(self, delivery: asyncpg.Record, answer: Answer, signed_at: datetime, tx: Tx) -> None:
        practice_id, delivery_id = delivery["practice_id"], delivery["id"]
        number, tries = delivery["attempts"] + 1, delivery["tries"] + 1
        outcome = outcome_of(answer, tries)
        pause = pause_after(tries, random.random(), tx.now, answer.retry_after, first_pause_seconds=self._first_pause)  # noqa: S311 - jitter
        again = tx.now + pause if outcome is Outcome.AGAIN else None
        await tx.execute(
            _ATTEMPT, practice_id, delivery_id, number, signed_at, answer.status, answer.error, answer.milliseconds, answer.excerpt
        )
        finished_at = tx.now if again is None else None
        await tx.execute(_RECORD, practice_id, delivery_id, _STATES[outcome], number, tries, answer.status, again, finished_at)
        if again is not None:
            await tx.execute(_LATER, practice_id, delivery_id, again)
        else:
            await tx.execute(_FORGET, practice_id, delivery_id)
        if outcome is Outcome.ENDPOINT_GONE:
            await close_endpoint(practice_id, tx)
        if outcome is Outcome.GIVEN_UP:
            tx.emit(
                WebhookDeliveryExhausted(
                    delivery_id=delivery_id,
                    event_type=delivery["event_type"],
                    attempts=number,
                    last_attempt_at=tx.now,
                    last_status=answer.status,
                )
            )
