"""How the suite drives an engine and what it may look at. A second engine brings a driver of its own and nothing else."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Protocol
from uuid import UUID

from libs.contracts.actions import ActionRequest, Outcome
from libs.contracts.envelope import Message


@dataclass(frozen=True)
class RunRecord:
    """A run as it can be seen from outside. Steps in the order of the definition."""

    id: UUID
    workflow_id: UUID
    version: int
    status: str
    error_code: str | None
    steps: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Said:
    """A message with the id it was first said under, so that it can be delivered again."""

    id: UUID
    message: Message


class EngineDriver(Protocol):
    """One practice on one engine under a clock of its own. Everything is settled when a method returns."""

    practice: UUID

    @property
    def now(self) -> datetime:
        """What time it is for this engine, aware UTC. Stories place their appointments from here."""

    async def publish(self, definition: dict[str, Any], workflow_id: UUID | None = None, *, include_existing: bool | None = None) -> UUID:
        """Save and publish: a new workflow, or the next version of one. ``include_existing``: as whoever publishes says."""

    async def edit(self, workflow_id: UUID, definition: dict[str, Any]) -> None:
        """Save a draft and leave it."""

    async def unpublish(self, workflow_id: UUID) -> None: ...

    async def deliver(self, *said: Said) -> None:
        """One batch from the backbone, in this order."""

    async def deliver_later(self, after: timedelta, *said: Said) -> None:
        """The same when so long has passed, before anything that fell due meanwhile happens."""

    async def deliver_elsewhere(self, practice: UUID, *said: Said) -> None:
        """The same for another practice."""

    async def answer(
        self, request: ActionRequest, outcome: Outcome, error_code: str | None = None, *, times: int = 1, retryable: bool = False
    ) -> None:
        """The owner's answer, delivered so many times. ``retryable``: the failure may pass."""

    async def pass_time(self, duration: timedelta) -> None:
        """Everything due meanwhile happens when it is due, not at the end."""

    async def suspend(self, *, suspended: bool = True) -> None:
        """The practice is suspended, or works again."""

    async def cancel(self, run_id: UUID) -> None: ...

    async def pause(self, run_id: UUID) -> None: ...

    async def resume(self, run_id: UUID) -> None: ...

    async def retry(self, run_id: UUID) -> None:
        """Somebody wants the step that failed tried again."""

    async def resolve(self, run_id: UUID, step_id: str, outcome: str, note: str | None = None) -> None:
        """A person says what became of a step whose outcome is unknown."""

    async def suppress(self, patient_id: UUID) -> None:
        """Somebody puts this patient, whom the engine knows, on the suppression list."""

    async def admit(self, patient_id: UUID) -> None:
        """Off the list again."""

    async def pause_workflow(self, workflow_id: UUID) -> int:
        """The whole workflow; returns how many runs it holds."""

    async def resume_workflow(self, workflow_id: UUID) -> None:
        """The whole workflow, until all it held has been let go."""

    async def bulk(self, verb: str, **wanted: Any) -> int:
        """A verb for the runs of a ``filter`` or a ``fingerprint``; returns how many it did something to."""

    async def rerun(self, run_id: UUID, version: int | None = None) -> UUID:
        """Again from what started it; returns the new run."""

    async def start(self, workflow_id: UUID, **wish: Any) -> str:
        """By hand: for one patient, for those a filter finds, or for the practice. Returns what was decided."""

    async def take_turns(self) -> None:
        """What schedules have due by now."""

    async def called(self, workflow_id: UUID, call_id: str, body: dict[str, Any]) -> None:
        """A call from outside whose signature is right."""

    async def perform_own(self) -> None:
        """The engine's service hears what it asks of itself and answers, until nothing is left."""

    async def look_after(self) -> int:
        """The watchdog looks once; returns how much it raises."""

    async def lose_timers(self) -> None:
        """A hand in the database: every timer is gone."""

    async def restart(self, away: timedelta = timedelta()) -> None:
        """The process is gone, for so long, and another one is there and does what fell due meanwhile."""

    async def requests(self) -> list[ActionRequest]:
        """Everything asked of the owners of actions, oldest first."""

    async def runs(self) -> list[RunRecord]:
        """Oldest first."""

    async def said(self, message_type: type[Message]) -> list[Message]:
        """What the engine said of this type."""
