"""The CloudEvents 1.0 shell of every message, in Kafka binary mode, and the classes messages derive from.

Source of the header names: CloudEvents Kafka protocol binding 1.0.2 (``ce_`` prefix, ``content-type``).
A message class is strict when we produce it (unknown fields are refused) and tolerant when we read it
(``Message.read`` ignores fields a newer producer added). Within a version only optional additions happen.
"""

from __future__ import annotations

import re
from datetime import datetime
from typing import Any, ClassVar, Literal, Self
from uuid import UUID

from pydantic import BaseModel, ConfigDict

PLATFORM = UUID(int=0)
"""The practice id of messages that belong to no practice (the platform's own)."""

SPECVERSION = "1.0"
CONTENT_TYPE = "application/json"

Kind = Literal["event", "command", "description"]

_TYPE = re.compile(r"vantage\.(?P<owner>[a-z]+)\.(?P<name>[a-z][a-z-]*)\.v(?P<version>[1-9][0-9]*)")


class Message(BaseModel):
    """One thing said on the backbone. Subclass through ``Event``, ``Command`` or ``Description``."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    type: ClassVar[str]
    owner: ClassVar[str]
    kind: ClassVar[Kind]
    subject_template: ClassVar[str]

    def __init_subclass__(cls, *, type: str | None = None, subject: str | None = None, **kwargs: Any) -> None:  # noqa: A002
        super().__init_subclass__(**kwargs)
        if type is None:
            return
        match = _TYPE.fullmatch(type)
        if match is None:
            message = f"{cls.__name__}: {type!r} is not vantage.<owner>.<name>.v<n>"
            raise TypeError(message)
        if subject is None:
            message = f"{cls.__name__}: a message names its subject"
            raise TypeError(message)
        cls.type = type
        cls.owner = match["owner"]
        cls.subject_template = subject
        if type in MESSAGES:
            message = f"{type} is declared twice"
            raise TypeError(message)
        MESSAGES[type] = cls

    @property
    def subject(self) -> str:
        """What this is about: ``<noun>/<id>``. Order is kept per practice and subject."""
        return self.subject_template.format_map({name: getattr(self, name) for name in type(self).model_fields})

    @classmethod
    def read(cls, value: bytes | str) -> Self:
        """Parse a message from the wire; fields unknown to us are ignored. Raises ``pydantic.ValidationError``."""
        return cls.model_validate_json(value, extra="ignore")


MESSAGES: dict[str, type[Message]] = {}
"""Every message type ever declared, by its CloudEvents type."""


class Event(Message):
    """A fact, past tense, owned by its sender."""

    kind = "event"


class Command(Message):
    """A request, imperative, owned by its receiver."""

    kind = "command"


class Description(Message):
    """A self-description kept under a stable key on a compacted topic; the newest one counts."""

    kind = "description"

    @property
    def key(self) -> str:
        """The compaction key."""
        return self.subject


class Envelope(BaseModel):
    """What travels beside the data, as headers. Times are aware UTC."""

    model_config = ConfigDict(frozen=True)

    id: UUID
    type: str
    source: str
    subject: str
    time: datetime
    practice_id: UUID
    actor: str = ""
    correlation_id: str = ""
    causation_id: str = ""
    traceparent: str = ""
    tracestate: str = ""
    sequence: int | None = None


class EnvelopeError(ValueError):
    """The headers do not make a CloudEvent of ours."""


_REQUIRED = ("ce_id", "ce_type", "ce_source", "ce_time", "ce_partitionkey")


def read_envelope(headers: dict[str, str]) -> Envelope:
    """The envelope from Kafka headers; an empty header counts as absent.

    Raises ``EnvelopeError`` naming the first header that is missing or unreadable, never its value.
    """
    for name in _REQUIRED:
        if not headers.get(name):
            message = f"header {name} is missing"
            raise EnvelopeError(message)
    if headers.get("ce_specversion", "") != SPECVERSION:
        message = "header ce_specversion is not 1.0"
        raise EnvelopeError(message)
    if _TYPE.fullmatch(headers["ce_type"]) is None:
        message = "header ce_type is not vantage.<owner>.<name>.v<n>"
        raise EnvelopeError(message)
    return Envelope(
        id=_parsed("ce_id", UUID, headers["ce_id"]),
        type=headers["ce_type"],
        source=headers["ce_source"],
        subject=headers.get("ce_subject", ""),
        time=_parsed("ce_time", datetime.fromisoformat, headers["ce_time"]),
        practice_id=_parsed("ce_partitionkey", UUID, headers["ce_partitionkey"]),
        actor=headers.get("ce_actor", ""),
        correlation_id=headers.get("correlation_id", ""),
        causation_id=headers.get("causation_id", ""),
        traceparent=headers.get("traceparent", ""),
        tracestate=headers.get("tracestate", ""),
        sequence=_parsed("ce_sequence", int, headers["ce_sequence"]) if headers.get("ce_sequence") else None,
    )


def _parsed(name: str, parse: Any, text: str) -> Any:
    try:
        return parse(text)
    except ValueError:
        message = f"header {name} is unreadable"
        raise EnvelopeError(message) from None


def schema_uri(message_type: str) -> str:
    """The ``dataschema`` of a type: a stable URI that names the committed JSON Schema file."""
    return f"https://schemas.vantage.example/{message_type}.json"
