"""What a simulated workflow came to, in numbers, and what somebody should look at."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

MAX_WARNINGS = 50


@dataclass
class Tally:
    """``verdicts`` per event, ``outcomes`` per run, ``actions`` per step and action. A warning counts and names its first event."""

    verdicts: Counter[str] = field(default_factory=Counter)
    outcomes: Counter[str] = field(default_factory=Counter)
    actions: Counter[tuple[str, str]] = field(default_factory=Counter)
    warnings: dict[tuple[str, str | None], tuple[int, UUID]] = field(default_factory=dict)

    def warn(self, code: str, step_id: str | None, event_id: UUID) -> None:
        key = code, step_id
        if key in self.warnings or len(self.warnings) < MAX_WARNINGS:
            count, first = self.warnings.get(key, (0, event_id))
            self.warnings[key] = count + 1, first

    def shown(self) -> dict[str, Any]:
        return {
            "verdicts": dict(self.verdicts),
            "outcomes": dict(self.outcomes),
            "actions": [{"step_id": step, "action": action, "count": count} for (step, action), count in sorted(self.actions.items())],
            "warnings": [
                {"code": code, "step_id": step, "count": count, "event_id": str(first)}
                for (code, step), (count, first) in self.warnings.items()
            ],
        }
