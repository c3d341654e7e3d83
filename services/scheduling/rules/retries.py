"""When an outbound webhook is tried again, and what an answer means. Pure: chance and time come in as arguments.

The pauses are those the Standard Webhooks text suggests: ten tries over about three days.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from enum import StrEnum

_MINUTE, _HOUR = 60, 3600
PAUSES_SECONDS = (5, 5 * _MINUTE, 30 * _MINUTE, 2 * _HOUR, 5 * _HOUR, 10 * _HOUR, 14 * _HOUR, 20 * _HOUR, 24 * _HOUR)
TRIES = len(PAUSES_SECONDS) + 1
JITTER = 0.2


@dataclass(frozen=True, slots=True)
class Answer:
    """What became of one attempt: a status, or an error code when there was none. ``excerpt`` is the answer's beginning."""

    status: int | None
    error: str | None
    milliseconds: int
    excerpt: str = ""
    retry_after: str | None = None


class Outcome(StrEnum):
    DELIVERED = "delivered"
    AGAIN = "again"
    GIVEN_UP = "given_up"
    ENDPOINT_GONE = "endpoint_gone"
    """The receiver answered 410: it wants nothing more, ever."""


def outcome_of(answer: Answer, attempt: int) -> Outcome:
    """What follows from the answer to attempt number ``attempt`` (the first is 1). Only 2xx counts as taken."""
    if answer.status is not None and 200 <= answer.status < 300:
        return Outcome.DELIVERED
    if answer.status == 410:
        return Outcome.ENDPOINT_GONE
    return Outcome.AGAIN if attempt < TRIES else Outcome.GIVEN_UP


def pause_after(
    attempt: int, chance: float, now: datetime, retry_after: str | None = None, *, first_pause_seconds: float = PAUSES_SECONDS[0]
) -> timedelta:
    """How long to wait after attempt number ``attempt``.

    ``chance`` in [0, 1) spreads the pause by 20 % either way; ``Retry-After`` may stretch it to twice the planned pause.
    ``first_pause_seconds`` scales the whole plan.
    """
    planned = PAUSES_SECONDS[min(attempt, len(PAUSES_SECONDS)) - 1] * first_pause_seconds / PAUSES_SECONDS[0]
    asked = _asked_seconds(retry_after, now)
    if asked is not None and asked > planned:
        return timedelta(seconds=min(asked, 2 * planned))
    return timedelta(seconds=planned * (1 - JITTER + 2 * JITTER * chance))


def _asked_seconds(retry_after: str | None, now: datetime) -> float | None:
    """``Retry-After`` (RFC 9110 §10.2.3): seconds or an HTTP date; None for anything else."""
    if retry_after is None:
        return None
    text = retry_after.strip()
    if text.isascii() and text.isdigit() and len(text) <= 9:
        return float(text)
    try:
        at = parsedate_to_datetime(text)
    except ValueError:
        return None
    if at.tzinfo is None:
        at = at.replace(tzinfo=UTC)
    return (at - now).total_seconds()
