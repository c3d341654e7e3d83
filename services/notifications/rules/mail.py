"""What a provider's answer means, and how delivery reports order. Pure."""

from __future__ import annotations

import base64
import re
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from uuid import UUID

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import load_der_public_key

from libs.common.actions.outcomes import Attempt
from libs.contracts.notifications import MessageStatus

_ADDRESS = re.compile(r"[^\s@<>\"(),:;\\\[\]]{1,64}@[^\s@<>\"(),:;\\\[\]]{1,250}\.[^\s@<>\"(),:;\\\[\]]{2,63}")
_API_KEY = re.compile(r"[!-~]{10,200}")


@dataclass(frozen=True)
class Email:
    """One e-mail to one person, and the sender's account."""

    practice_id: UUID
    effect_key: UUID
    message_id: UUID
    api_key: str
    sender_email: str
    sender_name: str
    to_email: str
    to_name: str
    subject: str
    text: str
    traceparent: str = ""


@dataclass(frozen=True)
class Report:
    """What a provider says about one of our e-mails. ``key`` is the same when it says it again."""

    key: str
    message_id: UUID
    effect_key: UUID
    status: MessageStatus
    at: datetime
    provider_message_id: str
    reason_code: str | None


@dataclass(frozen=True)
class ProviderAnswer:
    """The outcome of one call: ``code`` says why it was not accepted, ``provider_message_id`` what it is called there."""

    attempt: Attempt
    provider_message_id: str = ""
    code: str = ""
    retry_after_seconds: float | None = None


def sender_address(text: str) -> str:
    """An address SendGrid can send from. Raises ``ValueError`` for what cannot be one."""
    if not text.isascii() or not _ADDRESS.fullmatch(text):
        message = "this is not an e-mail address"
        raise ValueError(message)
    return text


def possible_api_key(text: str) -> bool:
    """Printable ASCII without blanks: it travels in a header, where a line break would begin another one."""
    return _API_KEY.fullmatch(text) is not None


@lru_cache(maxsize=1024)
def verification_key(public_key: str) -> ec.EllipticCurvePublicKey:
    """A verification key as SendGrid shows it: base64 SPKI, P-256. Raises ``ValueError``."""
    key = load_der_public_key(base64.b64decode(public_key, validate=True))
    if not isinstance(key, ec.EllipticCurvePublicKey) or not isinstance(key.curve, ec.SECP256R1):
        message = "this is not a P-256 public key"
        raise ValueError(message)
    return key


_RANK = {
    MessageStatus.QUEUED: 0,
    MessageStatus.UNKNOWN: 1,
    MessageStatus.SENT: 2,
    MessageStatus.DEFERRED: 3,
    MessageStatus.DELIVERED: 4,
    MessageStatus.OPENED: 5,
    MessageStatus.CLICKED: 6,
    MessageStatus.BOUNCED: 7,
    MessageStatus.DROPPED: 7,
    MessageStatus.FAILED: 7,
    MessageStatus.UNSUBSCRIBED: 8,
    MessageStatus.COMPLAINED: 9,
}


def later_status(current: MessageStatus, reported: MessageStatus) -> MessageStatus:
    """The further of two statuses: reports come in any order, and a late one never takes anything back."""
    return reported if _RANK[reported] > _RANK[current] else current
