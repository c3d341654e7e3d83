"""What a provider's report about a call means for what we know, and what is to be said of it. Pure.

Reports come in any order and more than once. Whatever the order, each call is said to have started (when somebody
answered), then to have ended, then to be analysed: each once, in this order.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from uuid import UUID

from libs.contracts.scheduling import CallDirection, CallStatus

LONGEST_TRANSCRIPT = 100_000
LONGEST_SUMMARY = 5_000
"""Characters kept. A call that went on for longer is kept in part."""


class News(StrEnum):
    """What may be said of a call, in the order it is said."""

    STARTED = "started"
    ENDED = "ended"
    ANALYZED = "analyzed"


@dataclass(frozen=True, slots=True)
class CallReport:
    """One report in our words. Times are aware UTC, numbers E.164; None is what it does not tell.

    ``effect_key`` is what asked for the call, when it was one of ours. ``connected``: somebody or something answered.
    """

    kind: News
    external_id: str
    direction: CallDirection
    agent_id: str
    connected: bool
    effect_key: UUID | None = None
    from_number: str | None = None
    to_number: str | None = None
    started_at: datetime | None = None
    ended_at: datetime | None = None
    duration_seconds: int | None = None
    reason: str | None = None
    transcript: str | None = None
    summary: str | None = None
    successful: bool | None = None
    in_voicemail: bool | None = None
    sentiment: str | None = None

    @property
    def status(self) -> CallStatus:
        if self.kind is News.STARTED:
            return CallStatus.ONGOING
        return CallStatus.ENDED if self.connected else CallStatus.NOT_CONNECTED

    @property
    def other_number(self) -> str | None:
        """The number that is not the practice's."""
        return self.from_number if self.direction is CallDirection.INBOUND else self.to_number


_RANK = {
    CallStatus.REQUESTED: 0, CallStatus.FAILED: 1, CallStatus.REGISTERED: 2, CallStatus.ONGOING: 3, CallStatus.NOT_CONNECTED: 4,
    CallStatus.ENDED: 4,
}  # fmt: skip
"""A report about a call is proof that there is one, whatever we thought of our request."""


def later_status(known: CallStatus, reported: CallStatus) -> CallStatus:
    """The further of two: a late report never takes anything back."""
    return reported if _RANK[reported] > _RANK[known] else known


def news_of(report: CallReport, told: Collection[News]) -> tuple[News, ...]:
    """What a report lets be said, without what was said before. A start told after the end is no news."""
    if report.kind is News.STARTED:
        due = (News.STARTED,) if News.ENDED not in told else ()
    else:
        start = (News.STARTED,) if report.connected and News.ENDED not in told else ()
        end = (News.ENDED,) if report.kind is News.ENDED else (News.ENDED, News.ANALYZED)
        due = (*start, *end)
    return tuple(news for news in due if news not in told)
