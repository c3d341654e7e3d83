"""What an entry holds, as exact bytes: RFC 8785 canonical JSON under a stricter profile.

Profile: ASCII keys, no floats, integers within 2^53, times as strings in UTC with microseconds, depth at most 8, at most
60,000 bytes. Under it, sorted orjson output is the canonical form byte for byte. No personal value and no hash of one
gets in: marked fields appear by name only, and of an unknown type nothing but its envelope does.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import orjson

from libs.contracts.envelope import MESSAGES, Envelope
from libs.contracts.marks import personal_fields

VERSION = 1
MAX_BYTES = 60_000
MAX_DATA_BYTES = 40_000
"""What a message's own data may take of an entry; the rest is for its envelope and for the names of what is left out."""

MAX_NAMES = 150
MAX_NAME = 100
MAX_DEPTH = 8
MAX_INTEGER = 2**53 - 1


class ProfileError(ValueError):
    """The value is not expressible in the ledger's profile."""


def utc_text(moment: datetime) -> str:
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def canonical(value: Any) -> bytes:
    """The canonical bytes. Raises ``ProfileError`` before anything is serialised."""
    _walk(value, 0)
    data = orjson.dumps(value, option=orjson.OPT_SORT_KEYS)
    if len(data) > MAX_BYTES:
        raise ProfileError("too large")
    return data


def _walk(value: Any, depth: int) -> None:
    if depth > MAX_DEPTH:
        raise ProfileError("too deep")
    if isinstance(value, dict):
        for key, inner in value.items():
            if not isinstance(key, str) or not key.isascii():
                raise ProfileError("key is not ASCII")
            _walk(inner, depth + 1)
    elif isinstance(value, list):
        for inner in value:
            _walk(inner, depth + 1)
    elif isinstance(value, str):
        try:
            value.encode()
        except UnicodeEncodeError:
            raise ProfileError("lone surrogate") from None
    elif isinstance(value, bool) or value is None:
        pass
    elif isinstance(value, int):
        if abs(value) > MAX_INTEGER:
            raise ProfileError("integer too large")
    else:
        raise ProfileError("type not in the profile")


def told(message_type: str, raw: bytes) -> tuple[dict[str, Any] | None, list[str]]:
    """What of a message's data may stand in the ledger, and the names of what may not.

    None when nothing can: unknown type, unreadable data, or outside the profile.
    """
    model = MESSAGES.get(message_type)
    try:
        data = orjson.loads(raw)
    except orjson.JSONDecodeError:
        return None, []
    if model is None or not isinstance(data, dict):
        return None, _names(data)
    hidden = personal_fields(model)
    open_ = {name: value for name, value in data.items() if name in model.model_fields and name not in hidden}
    try:
        # As deep as it will stand in the entry.
        fits = len(canonical({"data": open_})) <= MAX_DATA_BYTES
    except ProfileError:
        fits = False
    if not fits:
        return None, _names(data)
    return open_, sorted(name for name in data if name in hidden and data[name] is not None)


def _names(data: Any) -> list[str]:
    """Names of a message's fields, as many and as long as an entry has room for."""
    if not isinstance(data, dict):
        return []
    return sorted(key for key in data if key.isascii() and len(key) <= MAX_NAME)[:MAX_NAMES]


def entry_of(envelope: Envelope, raw: bytes, *, topic: str, partition: int, offset: int, recorded_at: datetime) -> dict[str, Any]:
    """The entry of one message."""
    data, fields = told(envelope.type, raw)
    return {
        "v": VERSION,
        "log": str(envelope.practice_id),
        "event_id": str(envelope.id),
        "type": envelope.type[:200],
        "subject": envelope.subject[:300],
        "actor": envelope.actor[:200],
        "occurred_at": utc_text(envelope.time),
        "recorded_at": utc_text(recorded_at),
        "source": {"service": envelope.source[:100], "topic": topic, "partition": partition, "offset": offset},
        "trace": {
            "correlation": envelope.correlation_id[:200], "causation": envelope.causation_id[:200], "traceparent": envelope.traceparent[:100],
        },
        "fields": fields,
        "data": data,
    }  # fmt: skip


_SAME = ("type", "subject", "actor", "occurred_at", "fields", "data")


def same_event(entry: dict[str, Any], other: dict[str, Any]) -> bool:
    """Whether two entries tell the same event; where and when it was received may differ."""
    return all(entry[name] == other[name] for name in _SAME) and entry["source"]["service"] == other["source"]["service"]


def conflict_of(entry: dict[str, Any], event_id: UUID) -> dict[str, Any]:
    """The entry that says: this event id came a second time with another content."""
    return {**entry, "event_id": str(event_id), "type": "ledger.conflict", "data": {"event_id": entry["event_id"], "type": entry["type"]}}
