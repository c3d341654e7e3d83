"""Retell's webhook bodies, and the calls in its answers, in our words. Vendor vocabulary stops here; nothing is stored and nothing is verified here.

Tolerant on purpose: a call without an id or a direction is none, everything else may be missing, null or of another type.
Field names and their traps: Retell's webhook overview and the call object of its API.
"""

from __future__ import annotations

import hashlib
import unicodedata
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import orjson

from libs.contracts.scheduling import CallDirection
from services.scheduling.rules.attendees import normal_phone
from services.scheduling.rules.calls import LONGEST_SUMMARY, LONGEST_TRANSCRIPT, CallReport, News
from services.scheduling.rules.notices import SetAside

SIGNATURE_HEADER = "x-retell-signature"
EFFECT = "vantage_effect"
CALL = "vantage_call"
"""What we put into a call's metadata."""

PASSING = "passing"
"""Said many times while a call goes on; what follows the call says it all again."""

_KINDS = {"call_started": News.STARTED, "call_ended": News.ENDED, "call_analyzed": News.ANALYZED}
_PASSING = frozenset({"transcript_updated"})
_NEVER_CONNECTED = frozenset({
    "dial_busy", "dial_failed", "dial_no_answer", "invalid_destination", "telephony_provider_permission_denied",
    "telephony_provider_unavailable", "sip_routing_error", "network_blocked", "user_declined", "registered_call_timeout",
    "no_valid_payment", "concurrency_limit_reached", "no_concurrency_fallback", "error_user_not_joined",
})  # fmt: skip
_OVER = frozenset({"ended", "not_connected", "error"})
_LONGEST_ID = 200
_LATEST_MS = 32_503_680_000_000


def read_report(raw: bytes) -> CallReport | SetAside:
    """Total: whatever the bytes are, the answer says what they are. The signature must have been checked before."""
    try:
        body = orjson.loads(raw)
    except orjson.JSONDecodeError:
        return _aside("not_json", "", raw)
    if not isinstance(body, dict):
        return _aside("not_an_object", "", raw)
    event = _text(body.get("event"), 100)
    if event is None:
        return _aside("event_missing", "", raw)
    kind = _KINDS.get(event)
    if kind is None:
        return _aside(PASSING if event in _PASSING else "event_not_handled", event, raw)
    try:
        return _report(kind, body.get("call"))
    except _Lacking as lacking:
        return _aside(lacking.code, event, raw)


def read_finished(call: dict[str, Any]) -> CallReport | None:
    """What the API shows of a call, once it is over; None while it goes on, and for what is no call."""
    if _text(call.get("call_status"), 20) not in _OVER:
        return None
    try:
        return _report(News.ANALYZED if _object(call.get("call_analysis")) else News.ENDED, call)
    except _Lacking:
        return None


class _Lacking(Exception):
    """Something a call cannot do without is missing or unreadable."""

    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.code = code


def _report(kind: News, call: Any) -> CallReport:
    if not isinstance(call, dict):
        raise _Lacking("call_not_an_object")
    if call.get("call_type", "phone_call") != "phone_call":
        raise _Lacking("not_a_phone_call")
    external_id, direction = _text(call.get("call_id"), _LONGEST_ID), _text(call.get("direction"), 20)
    if external_id is None:
        raise _Lacking("call_id_unreadable")
    if direction not in set(CallDirection):
        raise _Lacking("direction_unreadable")
    analysis = _object(call.get("call_analysis"))
    started_at, reason = _time(call.get("start_timestamp")), _text(call.get("disconnection_reason"), 100)
    return CallReport(
        kind=kind,
        external_id=external_id,
        direction=CallDirection(direction),
        agent_id=_text(call.get("agent_id"), _LONGEST_ID) or "",
        connected=kind is News.STARTED or _connected(_text(call.get("call_status"), 20), reason, started_at),
        effect_key=_uuid(_object(call.get("metadata")).get(EFFECT)),
        from_number=normal_phone(call.get("from_number")),
        to_number=normal_phone(call.get("to_number")),
        started_at=started_at,
        ended_at=_time(call.get("end_timestamp")),
        duration_seconds=_seconds(call.get("duration_ms")),
        reason=reason,
        transcript=_prose(call.get("transcript"), LONGEST_TRANSCRIPT),
        summary=_prose(analysis.get("call_summary"), LONGEST_SUMMARY),
        successful=_flag(analysis.get("call_successful")),
        in_voicemail=_flag(analysis.get("in_voicemail")),
        sentiment=_text(analysis.get("user_sentiment"), 20),
    )


def _connected(status: str | None, reason: str | None, started_at: datetime | None) -> bool:
    """Whether anybody answered. ``registered`` may still stand on a call that has ended, and its start may be missing."""
    if status == "not_connected" or reason in _NEVER_CONNECTED:
        return False
    return started_at is not None or status in {"ongoing", "ended"}


def _aside(reason: str, event: str, raw: bytes) -> SetAside:
    return SetAside(reason, event, "raw|" + hashlib.sha256(raw).hexdigest())


def _time(value: Any) -> datetime | None:
    """Milliseconds since 1970."""
    if not isinstance(value, int | float) or isinstance(value, bool) or not 0 < value < _LATEST_MS:
        return None
    return datetime.fromtimestamp(value / 1000, UTC)


def _seconds(value: Any) -> int | None:
    if not isinstance(value, int | float) or isinstance(value, bool) or not 0 <= value < 2**40:
        return None
    return round(value / 1000)


def _uuid(value: Any) -> UUID | None:
    try:
        return UUID(value) if isinstance(value, str) else None
    except ValueError:
        return None


def _text(value: Any, longest: int) -> str | None:
    if not isinstance(value, str) or not 0 < len(value) <= longest or not value.isprintable():
        return None
    return value


def _prose(value: Any, longest: int) -> str | None:
    """Text of several lines, cut, without control characters."""
    if not isinstance(value, str):
        return None
    kept = "".join(c for c in value[:longest] if c in "\n\t" or unicodedata.category(c) not in {"Cc", "Cs"})
    return kept.strip() or None


def _flag(value: Any) -> bool | None:
    return value if isinstance(value, bool) else None


def _object(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}
