"""From the bytes of a Kafka record to a message: the envelope, then the data."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Generic, TypeVar
from uuid import UUID

from opentelemetry.trace import Span
from pydantic import ValidationError

from libs.common.telemetry import Cause, traceparent_of
from libs.contracts.envelope import MESSAGES, Envelope, EnvelopeError, Message, read_envelope

M = TypeVar("M", covariant=True)


@dataclass(frozen=True)
class Incoming:
    """A record as it came: nothing believed yet."""

    topic: str
    partition: int
    offset: int
    headers: dict[str, str]
    value: bytes

    @classmethod
    def of(cls, topic: str, partition: int, offset: int, headers: Iterable[tuple[str, bytes | None]], value: bytes | None) -> Incoming:
        """Total: bytes that are not UTF-8 become replacement characters and fail later, with a reason."""
        texts = {name: (text or b"").decode("utf-8", "replace") for name, text in headers}
        return cls(topic, partition, offset, texts, value or b"")


class MalformedMessage(Exception):
    """A record that is no message of ours. ``code`` is stable; the text names the place, never the content."""

    def __init__(self, code: str, text: str) -> None:
        super().__init__(text)
        self.code = code


@dataclass(frozen=True, eq=False)
class Received(Generic[M]):
    """One message. ``data`` is the contract class, or None where the consumer takes everything undecoded."""

    envelope: Envelope
    data: M
    incoming: Incoming
    spans: list[Span] = field(default_factory=list)

    @property
    def id(self) -> UUID:
        return self.envelope.id

    @property
    def type(self) -> str:
        return self.envelope.type

    @property
    def practice_id(self) -> UUID:
        return self.envelope.practice_id

    @property
    def subject(self) -> str:
        return self.envelope.subject

    @property
    def time(self) -> datetime:
        """When the sender's transaction ran; aware UTC."""
        return self.envelope.time

    @property
    def actor(self) -> str:
        return self.envelope.actor

    @property
    def correlation_id(self) -> str:
        return self.envelope.correlation_id

    @property
    def causation_id(self) -> str:
        return self.envelope.causation_id

    @property
    def traceparent(self) -> str:
        return self.envelope.traceparent

    @property
    def tracestate(self) -> str:
        return self.envelope.tracestate

    @property
    def raw(self) -> bytes:
        return self.incoming.value

    @property
    def topic(self) -> str:
        return self.incoming.topic

    @property
    def partition(self) -> int:
        return self.incoming.partition

    @property
    def offset(self) -> int:
        return self.incoming.offset

    @property
    def cause(self) -> Cause:
        """What a message emitted because of this one inherits: it continues this one's handling span."""
        span = traceparent_of(self.spans[-1]) if self.spans else ""
        return Cause(self.correlation_id, str(self.id), span or self.traceparent, self.tracestate)


def read_message(incoming: Incoming, *, decode: bool) -> Received[Message | None]:
    """Believe a record. Raises ``MalformedMessage``; a type we do not know comes with ``data`` None."""
    try:
        envelope = read_envelope(incoming.headers)
    except EnvelopeError as error:
        raise MalformedMessage("malformed_envelope", str(error)) from error
    if not decode or envelope.type not in MESSAGES:
        return Received(envelope, None, incoming)
    try:
        data = MESSAGES[envelope.type].read(incoming.value)
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False, include_context=False)[0]
        pointer = "/" + "/".join(str(part) for part in first["loc"])
        raise MalformedMessage("malformed_data", f"{pointer}: {first['type']}") from error
    if data.subject != envelope.subject:
        raise MalformedMessage("malformed_envelope", "header ce_subject does not name what the data names")
    return Received(envelope, data, incoming)
