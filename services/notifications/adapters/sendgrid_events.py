"""SendGrid's signed event webhook: ECDSA over timestamp and raw body, and their words into ours.

Format: Twilio SendGrid Event Webhook. A redelivery may be a day old, so an old timestamp is no reason to refuse.
"""

from __future__ import annotations

import base64
import hashlib
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import orjson
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec

from libs.common.errors import Malformed, Unauthenticated
from libs.contracts.notifications import MessageStatus
from services.notifications.adapters.sendgrid import EFFECT_ARG, MESSAGE_ARG
from services.notifications.rules.mail import Report, verification_key

SIGNATURE_HEADER = "x-twilio-email-event-webhook-signature"
TIMESTAMP_HEADER = "x-twilio-email-event-webhook-timestamp"
STATUSES = {
    "processed": MessageStatus.SENT,
    "delivered": MessageStatus.DELIVERED,
    "deferred": MessageStatus.DEFERRED,
    "bounce": MessageStatus.BOUNCED,
    "dropped": MessageStatus.DROPPED,
    "open": MessageStatus.OPENED,
    "click": MessageStatus.CLICKED,
    "spamreport": MessageStatus.COMPLAINED,
    "unsubscribe": MessageStatus.UNSUBSCRIBED,
    "group_unsubscribe": MessageStatus.UNSUBSCRIBED,
}


class WebhookRefused(Unauthenticated):
    """The webhook's signature is not valid here."""


class WebhookMalformed(Malformed):
    """The webhook's body is not a list of events."""


def verify(raw: bytes, signature: str | None, timestamp: str | None, public_key: str) -> None:
    """Raises ``WebhookRefused``. The body's last CRLF is part of what is signed."""
    try:
        signed = (timestamp or "").encode() + raw
        verification_key(public_key).verify(base64.b64decode(signature or "", validate=True), signed, ec.ECDSA(hashes.SHA256()))
    except (InvalidSignature, ValueError):
        raise WebhookRefused from None


def read(raw: bytes) -> list[Report]:
    """The reports about our e-mails; events of other senders and unknown kinds are passed over. Raises ``WebhookMalformed``."""
    try:
        events = orjson.loads(raw)
    except orjson.JSONDecodeError:
        raise WebhookMalformed(pointer="/") from None
    if not isinstance(events, list):
        raise WebhookMalformed(pointer="/")
    return [report for event in events if isinstance(event, dict) and (report := _report(event)) is not None]


def _report(event: dict[str, Any]) -> Report | None:
    status = STATUSES.get(str(event.get("event")))
    if status is None:
        return None
    if status is MessageStatus.BOUNCED and event.get("type") == "blocked":
        status = MessageStatus.DEFERRED
    try:
        return Report(
            key=_key(event),
            message_id=UUID(event[MESSAGE_ARG]),
            effect_key=UUID(event[EFFECT_ARG]),
            status=status,
            at=datetime.fromtimestamp(int(event["timestamp"]), UTC),
            provider_message_id=_plain(event.get("sg_message_id"))[:200],
            reason_code=_plain(event.get("status"))[:20] or None,
        )
    except (KeyError, ValueError, TypeError, AttributeError, OverflowError, OSError):
        return None


def _plain(value: object) -> str:
    """Text the database can keep."""
    return "".join(character for character in str(value or "") if character.isprintable())


def _key(event: dict[str, Any]) -> str:
    """``sg_event_id`` changed on redelivery for some, and may be absent: the event's own facts are the key."""
    parts = (event.get(MESSAGE_ARG), event.get("event"), event.get("timestamp"), event.get("url"), event.get("attempt"))
    return hashlib.sha256("|".join(str(part) for part in parts).encode()).hexdigest()
