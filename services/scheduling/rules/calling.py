"""A call we ask a provider to make, and what its answer says about whether it is made. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from uuid import UUID

from libs.common.actions.outcomes import Attempt


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


@dataclass(frozen=True, slots=True)
class CallAnswer:
    """``external_id`` is what the provider calls it, ``code`` why it does not."""

    attempt: Attempt
    external_id: str = ""
    code: str = ""
    retry_after_seconds: float | None = None
