"""What one try of an effect came to, and where the effect goes from there. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from libs.common.actions.troubles import NotSent, OutcomeUnknown, code_of
from libs.common.errors import Trouble, Unavailable

RETRY_LIMIT = 8
RETRY_FIRST_SECONDS = 1.0
RETRY_LIMIT_SECONDS = 300.0


class EffectState(StrEnum):
    """planned -> dispatched -> confirmed | failed | unknown; unknown -> confirmed | planned (looked up and provably absent)."""

    PLANNED = "planned"
    DISPATCHED = "dispatched"
    CONFIRMED = "confirmed"
    FAILED = "failed"
    UNKNOWN = "unknown"


class Attempt(StrEnum):
    """What one try came to."""

    ACCEPTED = "accepted"
    REFUSED = "refused"
    NOT_SENT = "not_sent"
    """It did not happen; the same may work later."""
    LOST = "lost"
    """Perhaps it happened: only the other side's records can tell."""
    REPEATABLE = "repeatable"
    """Lost, of an action that may be repeated under the same effect key."""


def attempt_of(status: int) -> Attempt:
    """What a provider's HTTP status says about whether the request took effect.

    429 (too often, or too many at once) and 503 come before it does. Another 5xx may come after it, so nobody knows: never repeated blindly.
    """
    if status in {200, 201, 202}:
        return Attempt.ACCEPTED
    if status in {429, 503}:
        return Attempt.NOT_SENT
    return Attempt.REFUSED if 400 <= status < 500 else Attempt.LOST


@dataclass(frozen=True)
class Answer:
    """``code`` and ``message`` say why it was not accepted; ``result`` is the plug-in's when it was."""

    attempt: Attempt
    result: dict[str, Any] = field(default_factory=dict)
    code: str = ""
    message: str = ""
    after_seconds: float | None = None

    @classmethod
    def of(cls, trouble: Trouble) -> Answer:
        code, message = code_of(trouble), trouble.message
        if isinstance(trouble, OutcomeUnknown):
            return cls(Attempt.LOST, code=code, message=message)
        if isinstance(trouble, Unavailable):
            asked = trouble.after_seconds if isinstance(trouble, NotSent) else float(trouble.retry_after_seconds)
            return cls(Attempt.NOT_SENT, code=code, message=message, after_seconds=asked)
        return cls(Attempt.REFUSED, code=code, message=message)

    @classmethod
    def lost(cls, code: str, *, may_repeat: bool) -> Answer:
        """Nobody knows whether it happened: an action that may be repeated is repeated, until it is answered or was tried often enough."""
        return cls(Attempt.REPEATABLE if may_repeat else Attempt.LOST, code=code, message=OutcomeUnknown().message)


def next_state(attempt: Attempt, attempts: int, *, in_doubt: bool = False) -> EffectState:
    """Where a dispatched effect goes after its ``attempts``-th try.

    ``in_doubt``: an earlier try may have happened. What is given up then is unknown, not failed: a step that failed is tried
    again under a new key, by which nobody could tell the repeat.
    """
    match attempt:
        case Attempt.ACCEPTED:
            return EffectState.CONFIRMED
        case Attempt.REFUSED:
            return EffectState.FAILED
        case Attempt.LOST:
            return EffectState.UNKNOWN
        case Attempt.NOT_SENT | Attempt.REPEATABLE:
            given_up = EffectState.UNKNOWN if in_doubt or attempt is Attempt.REPEATABLE else EffectState.FAILED
            return EffectState.PLANNED if attempts < RETRY_LIMIT else given_up


def retry_pause(attempts: int, asked_seconds: float | None, jitter: float) -> float:
    """Seconds before the next try: what the other side asked for, else doubling, stretched by up to a fifth."""
    pause = asked_seconds if asked_seconds is not None else RETRY_FIRST_SECONDS * 2 ** (attempts - 1)
    return min(max(pause, 0.0), RETRY_LIMIT_SECONDS) * (1 + 0.2 * jitter)
