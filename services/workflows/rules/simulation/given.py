"""What a simulation begins with: what real runs had left behind at its first moment, and what actions will answer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID

Until = datetime | None
"""Up to when something holds, aware UTC; None when it still does."""


@dataclass(frozen=True)
class Given:
    """``suppressed`` patients go through nothing. ``enrolled`` keys: since when, until when (whose appointment was then cancelled).

    ``active`` patients had a run under way, ``waiting`` appointments a run that waited for their time, ``booked`` ones had
    started a run by being booked, since when. ``results`` are made up, of the right types, for each action.
    """

    suppressed: frozenset[UUID] = frozenset()
    enrolled: Mapping[str, tuple[datetime, Until]] = field(default_factory=dict)
    active: Mapping[UUID, Until] = field(default_factory=dict)
    waiting: Mapping[UUID, Until] = field(default_factory=dict)
    booked: Mapping[UUID, datetime] = field(default_factory=dict)
    results: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    def is_active(self, patient_id: UUID, now: datetime) -> bool:
        return patient_id in self.active and _holds(self.active[patient_id], now)

    def is_waiting(self, appointment_id: UUID, now: datetime) -> bool:
        return appointment_id in self.waiting and _holds(self.waiting[appointment_id], now)

    def enrolled_at(self, key: str, now: datetime) -> datetime | None:
        """When this key went through before, if that counts now."""
        since, until = self.enrolled.get(key, (None, None))
        return since if _holds(until, now) else None


def _holds(until: Until, now: datetime) -> bool:
    return until is None or now < until
