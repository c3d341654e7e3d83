"""Tell integrators: one endpoint per practice, one delivery per event, attempts until it is taken or given up.

Deliveries are at least once: every attempt of one event carries the same ``webhook-id``, and the bytes signed are the
bytes stored.
"""

from __future__ import annotations

import asyncio
import random
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Annotated, Any, Protocol
from uuid import UUID

from pydantic import AfterValidator, BaseModel, Field, HttpUrl

from libs.common.auth import Principal
from libs.common.command import Command
from libs.common.errors import NotFound
from libs.common.ids import derived_id
from libs.common.messaging import Received
from libs.common.secrets import SecretBox
from libs.common.telemetry import Cause, link_to, span
from libs.common.work import Tx, Work, json_text
from libs.contracts.envelope import MESSAGES
from libs.contracts.marks import without_personal
from libs.contracts.scheduling import WebhookDeliveryExhausted
from services.scheduling.queries import endpoint
from services.scheduling.rules.webhooks import new_secret, pause_after

PURPOSE = "outbound webhook secret"
CLAIM = 32
LEASE_SECONDS = 60


class EndpointNotFound(NotFound):
    """The practice has no webhook endpoint."""


class DeliveryNotFound(NotFound):
    """No such delivery."""


def _known(names: list[str]) -> list[str]:
    unknown = [name for name in names if name not in event_names()]
    if unknown:
        message = "unknown event type; see the list in the documentation"
        raise ValueError(message)
    return sorted(set(names))


def event_names() -> dict[str, str]:
    """The names integrators use (``appointment.booked``) and the event types behind them."""
    told = ("vantage.scheduling.appointment-", "vantage.patients.patient-registered", "vantage.patients.patient-updated")
    told += ("vantage.notifications.email-",)
    return {_public_name(name): name for name in MESSAGES if name.startswith(told)}


def _public_name(event_type: str) -> str:
    noun, _, verb = event_type.split(".")[2].partition("-")
    return f"{noun}.{verb.replace('-', '_')}"


class ConfigureEndpoint(Command):
    url: Annotated[HttpUrl, Field(max_length=500)]
    event_types: Annotated[list[str], AfterValidator(_known), Field(min_length=1, max_length=50)]


class EndpointView(BaseModel):
    """The endpoint; ``secret`` is shown once, when it is made."""

    url: str
    event_types: list[str]
    secret: str | None = None
    created_at: datetime
    updated_at: datetime


class AttemptView(BaseModel):
    number: int
    at: datetime
    status: int | None
    error: str | None
    milliseconds: int


class DeliveryView(BaseModel):
    id: UUID
    event_id: UUID
    event_type: str
    state: str
    attempts: int
    last_status: int | None
    created_at: datetime
    finished_at: datetime | None
    log: list[AttemptView]


async def configure_endpoint(cmd: ConfigureEndpoint, box: SecretBox, tx: Tx) -> EndpointView:
    """Make or change the endpoint; changing keeps the secret."""
    secret = new_secret(secrets.token_bytes(32))
    created = await tx.value(
        """
        INSERT INTO webhook_endpoint (practice_id, url, secret, event_types, created_at, updated_at) VALUES ($1, $2, $3, $4, $5, $5)
        ON CONFLICT (practice_id) DO UPDATE SET url = excluded.url, event_types = excluded.event_types, updated_at = excluded.updated_at
        RETURNING created_at = updated_at
        """,
        tx.practice_id, str(cmd.url), box.seal(tx.practice_id, PURPOSE, secret), cmd.event_types, tx.now,
    )  # fmt: skip
    view = await show_endpoint(tx)
    return view.model_copy(update={"secret": secret}) if created else view


async def show_endpoint(tx: Tx) -> EndpointView:
    """Raises ``EndpointNotFound``."""
    row = await endpoint(tx)
    if row is None:
        raise EndpointNotFound
    return EndpointView(url=row["url"], event_types=row["event_types"], created_at=row["created_at"], updated_at=row["updated_at"])


async def remove_endpoint(tx: Tx) -> None:
    """Nothing is sent any more; what was pending is given up. Raises ``EndpointNotFound``."""
    if await tx.execute("DELETE FROM webhook_endpoint WHERE practice_id = $1", tx.practice_id) == "DELETE 0":
        raise EndpointNotFound
    await tx.execute("DELETE FROM webhook_due WHERE practice_id = $1", tx.practice_id)


async def enqueue_deliveries(events: Sequence[Received[Any]], tx: Tx) -> int:
    """A delivery for every event whose practice has an endpoint that wants it; returns how many."""
    endpoints = await tx.rows(
        "SELECT practice_id, event_types FROM webhook_endpoint WHERE practice_id = ANY($1::uuid[])", list({e.practice_id for e in events})
    )
    wanted = {row["practice_id"]: set(row["event_types"]) for row in endpoints}
    told = [event for event in events if _public_name(event.type) in wanted.get(event.practice_id, ())]
    if not told:
        return 0
    ids = [derived_id("webhook", event.id) for event in told]
    await tx.execute(
        """
        INSERT INTO webhook_delivery (practice_id, id, event_id, event_type, body, state, created_at, traceparent, correlation_id)
        SELECT p, i, e, t, b, 'pending', $8, tp, c FROM unnest($1::uuid[], $2::uuid[], $3::uuid[], $4::text[], $5::bytea[], $6::text[], $7::text[])
          AS u (p, i, e, t, b, tp, c) ON CONFLICT DO NOTHING
        """,
        [e.practice_id for e in told], ids, [e.id for e in told], [e.type for e in told], [_body(e) for e in told],
        [e.cause.traceparent for e in told], [e.correlation_id for e in told], tx.now,
    )  # fmt: skip
    await tx.execute(
        "INSERT INTO webhook_due SELECT p, i, $3 FROM unnest($1::uuid[], $2::uuid[]) AS u (p, i) ON CONFLICT DO NOTHING",
        [e.practice_id for e in told], ids, tx.now,
    )  # fmt: skip
    return len(told)


def _body(event: Received[Any]) -> bytes:
    """Thin on purpose: ids and states, no personal data; who may know more asks the API."""
    data = {"type": _public_name(event.type), "timestamp": event.time.isoformat(), "data": without_personal(event.data)}
    return json_text(data).encode()


async def resend(delivery_id: UUID, tx: Tx) -> None:
    """Send a delivery once more, now. Raises ``DeliveryNotFound``, ``EndpointNotFound``."""
    if await endpoint(tx) is None:
        raise EndpointNotFound
    tag = await tx.execute(
        "UPDATE webhook_delivery SET state = 'pending', finished_at = NULL WHERE practice_id = $1 AND id = $2", tx.practice_id, delivery_id
    )
    if tag == "UPDATE 0":
        raise DeliveryNotFound
    await tx.execute(
        "INSERT INTO webhook_due VALUES ($1, $2, $3) ON CONFLICT (practice_id, delivery_id) DO UPDATE SET due_at = excluded.due_at",
        tx.practice_id, delivery_id, tx.now,
    )  # fmt: skip


class Answer(Protocol):
    @property
    def status(self) -> int | None: ...
    @property
    def error(self) -> str | None: ...
    @property
    def milliseconds(self) -> int: ...
    @property
    def accepted(self) -> bool: ...


class Sender(Protocol):
    """Performs one attempt; never raises for what the other side does."""

    async def send(self, url: str, secret: str, message_id: str, body: bytes, at: datetime) -> Answer: ...


@dataclass(frozen=True)
class Claimed:
    practice_id: UUID
    delivery_id: UUID


async def deliver_due(work: Work, sender: Sender, box: SecretBox, first_retry_seconds: float) -> int:
    """Claim what is due, attempt it, record it; returns how many were attempted.

    A claim is a lease: if we die after it, the delivery is attempted again when the lease ends.
    """
    system = Principal.system("webhooks")
    async with work.batch([], system) as tx:
        rows = await tx.rows(
            """
            UPDATE webhook_due d SET due_at = $1 FROM (
              SELECT practice_id, delivery_id FROM webhook_due WHERE due_at <= $2 ORDER BY due_at LIMIT $3 FOR UPDATE SKIP LOCKED
            ) c WHERE d.practice_id = c.practice_id AND d.delivery_id = c.delivery_id RETURNING d.practice_id, d.delivery_id
            """,
            tx.now + timedelta(seconds=LEASE_SECONDS), tx.now, CLAIM,
        )  # fmt: skip
    claims = [Claimed(row["practice_id"], row["delivery_id"]) for row in rows]
    await asyncio.gather(*(_attempt(claim, work, sender, box, first_retry_seconds) for claim in claims))
    return len(claims)


async def _attempt(claim: Claimed, work: Work, sender: Sender, box: SecretBox, first_retry_seconds: float) -> None:
    principal = Principal.system("webhooks", claim.practice_id)
    async with work(principal) as tx:
        delivery = await tx.row("SELECT * FROM webhook_delivery WHERE practice_id = $1 AND id = $2", claim.practice_id, claim.delivery_id)
        target = await endpoint(tx)
        if delivery is None or target is None:
            await tx.execute("DELETE FROM webhook_due WHERE practice_id = $1 AND delivery_id = $2", claim.practice_id, claim.delivery_id)
            return
        now = tx.now
    secret = box.open(claim.practice_id, PURPOSE, target["secret"])
    with span("POST webhook", links=link_to(delivery["traceparent"]), attributes={"vantage.delivery_id": str(claim.delivery_id)}):
        answer = await sender.send(target["url"], secret, str(delivery["event_id"]), delivery["body"], now)
    async with work(principal) as tx:
        tx.cause = Cause(delivery["correlation_id"], str(delivery["event_id"]), delivery["traceparent"], "")
        await _record(claim, delivery["attempts"] + 1, delivery["event_type"], answer, first_retry_seconds, tx)


async def _record(claim: Claimed, number: int, event_type: str, answer: Answer, first_retry_seconds: float, tx: Tx) -> None:
    await tx.execute(
        "INSERT INTO webhook_attempt VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT DO NOTHING",
        claim.practice_id, claim.delivery_id, number, tx.now, answer.status, answer.error, answer.milliseconds,
    )  # fmt: skip
    pause = None if answer.accepted else pause_after(number, first_retry_seconds, random.random())  # noqa: S311 - jitter
    state = "delivered" if answer.accepted else "pending" if pause is not None else "exhausted"
    await tx.execute(
        """
        UPDATE webhook_delivery SET state = $3, attempts = $4, last_status = $5, finished_at = CASE WHEN $3 = 'pending' THEN NULL ELSE $6::timestamptz END
        WHERE practice_id = $1 AND id = $2
        """,
        claim.practice_id, claim.delivery_id, state, number, answer.status, tx.now,
    )  # fmt: skip
    if pause is None:
        await tx.execute("DELETE FROM webhook_due WHERE practice_id = $1 AND delivery_id = $2", claim.practice_id, claim.delivery_id)
    else:
        due = tx.now + timedelta(seconds=pause)
        await tx.execute(
            "UPDATE webhook_due SET due_at = $3 WHERE practice_id = $1 AND delivery_id = $2", claim.practice_id, claim.delivery_id, due
        )
    if state == "exhausted":
        tx.emit(
            WebhookDeliveryExhausted(
                delivery_id=claim.delivery_id, event_type=event_type, attempts=number, last_attempt_at=tx.now, last_status=answer.status
            )
        )
