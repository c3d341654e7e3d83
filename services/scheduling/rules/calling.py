"""A call we ask a provider to make, and what its answer says about whether it is made. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from uuid import UUID


@dataclass(frozen=True, slots=True)
class OutboundCall:
    """One call to one person. ``variables`` are what the agent may know: text to text."""

    practice_id: UUID
    effect_key: UUID
    call_id: UUID
    api_key: str = field(repr=False)
    from_number: str
    to_number: str = field(repr=False)
    agent_id: str
    variables: Mapping[str, str] = field(default_factory=dict, repr=False)
    traceparent: str = ""


class Dialled(StrEnum):
    """What one request to call came to."""

    ACCEPTED = "accepted"
    REFUSED = "refused"
    NOT_NOW = "not_now"
    """Nobody is called; the same may work later."""
    LOST = "lost"
    """Perhaps somebody is called: only the provider's records can tell."""


@dataclass(frozen=True, slots=True)
class CallAnswer:
    """``external_id`` is what the provider calls it, ``code`` why it does not."""

    dialled: Dialled
    external_id: str = ""
    code: str = ""
    retry_after_seconds: float | None = None


def answer_to(status: int) -> Dialled:
    """What an HTTP status says about whether somebody's telephone rings.

    429 (rate, or too many calls at once) and 503 come before anything is dialled. Another 5xx may come after it.
    """
    if status in {200, 201}:
        return Dialled.ACCEPTED
    if status in {429, 503}:
        return Dialled.NOT_NOW
    if 400 <= status < 500:
        return Dialled.REFUSED
    return Dialled.LOST
