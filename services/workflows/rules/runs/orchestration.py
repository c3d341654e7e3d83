"""The words two engines share: which one a run is on, and what the durable one may say and hear of a run. Ids and durations only."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal
from uuid import UUID

EngineName = Literal["builtin", "temporal"]
BUILTIN: EngineName = "builtin"
TEMPORAL: EngineName = "temporal"

WORKFLOW = "Run"
ADVANCE = "advance"
LOOK = "look"
LIVE_QUEUE = "vantage-runs-live"
BULK_QUEUE = "vantage-runs-bulk"


@dataclass(frozen=True)
class RunRef:
    """A run by its ids, as text: all that an orchestrator is told about it."""

    practice_id: str
    run_id: str


@dataclass(frozen=True)
class Standing:
    """Where a run stands: at its end, or waiting, for at most ``seconds`` when a time is among what it waits for."""

    ended: bool
    seconds: float | None = None


@dataclass(frozen=True)
class Called:
    """A run that has something to look at. ``number`` tells this call from a later one."""

    practice_id: UUID
    run_id: UUID
    number: int
    bulk: bool

    @property
    def ref(self) -> RunRef:
        return RunRef(str(self.practice_id), str(self.run_id))

    @property
    def workflow_id(self) -> str:
        """Always the same for a run, so that it is orchestrated once."""
        return f"run/{self.practice_id}/{self.run_id}"

    @property
    def queue(self) -> str:
        return BULK_QUEUE if self.bulk else LIVE_QUEUE


@dataclass(frozen=True)
class Bound:
    """How many runs of one load class may be told and not have answered: of one practice, and altogether.

    What is over it waits in our table, where practices take turns, not in a queue of the engine. A practice with none out may
    always have one told.
    """

    of_one: int
    altogether: int


LIVE_BOUND = Bound(16, 200)
BULK_BOUND = Bound(8, 80)
PATIENCE = 4
"""So many times as long an answer is waited for while others of the practice are answered."""


@dataclass(frozen=True)
class Orchestration:
    """Which engine new runs begin on, and a hint that somebody has been called. The hint may get lost."""

    begins_on: EngineName = BUILTIN
    hint: Callable[[], object] = lambda: None
