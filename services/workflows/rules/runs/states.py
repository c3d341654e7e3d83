"""Where a run stands, what may happen to it, and what it then wants done: the words of the interpreter."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any

NEVER_BEGAN = 1_000_000
"""The cursor of a run that failed before its first step: behind every program, so there is nothing to try again."""

MAX_ATTEMPTS = 100
"""Attempts at one action, retries by hand included."""


class Status(StrEnum):
    RUNNING = "running"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def terminal(self) -> bool:
        return self is not Status.RUNNING


@dataclass(frozen=True)
class State:
    """Where a run stands: at instruction ``cursor``, waiting (for an action's result, a timer, an event) or not yet begun there.

    ``attempt`` counts how often the action here was asked for before, ``retried`` how often until it was last tried again by hand,
    ``retrying`` is the pause before the next time, ``due`` when the timer it waits for rings, ``outputs`` what steps left for later ones. A ``paused`` run begins nothing;
    ``held`` is since when it would have gone on: a wait for events that begins late counts those from then on.
    """

    status: Status = Status.RUNNING
    cursor: int = 0
    waiting: bool = False
    error_code: str | None = None
    attempt: int = 0
    retrying: bool = False
    paused: bool = False
    due: datetime | None = None
    outputs: Mapping[str, Any] = field(default_factory=dict)
    held: datetime | None = None
    retried: int = 0


@dataclass(frozen=True)
class Surroundings:
    """What a run sees: ``bind`` makes the values of its expressions from the outputs so far; appointment, practice and patient as they are."""

    bind: Callable[[Mapping[str, Any]], Any]
    appointment: Mapping[str, Any] | None = None
    practice: Mapping[str, Any] = field(default_factory=dict)
    patient: Mapping[str, Any] | None = None


@dataclass(frozen=True)
class Started:
    """The run begins."""


@dataclass(frozen=True)
class StepResult:
    """An action came to an end: ``succeeded``, ``failed``, or ``unknown`` (not an end yet). ``retryable``: the failure may pass."""

    step_id: str
    outcome: str
    error_code: str | None = None
    attempt: int = 0
    retryable: bool = False
    result: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class TimerFired:
    step_id: str


@dataclass(frozen=True)
class EventArrived:
    """The ``number``-th of the events a step waits for. ``id`` is the event's: for one run it counts once. ``at``: it came then, not now."""

    step_id: str
    number: int
    data: Mapping[str, Any] = field(default_factory=dict)
    id: str | None = None
    at: datetime | None = None


@dataclass(frozen=True)
class AppointmentChanged:
    """The appointment the run is about moved, or is cancelled; the surroundings say what it is now."""


@dataclass(frozen=True)
class Cancelled:
    """Somebody, or an exit condition, stopped the run; ``reason`` becomes its error code."""

    reason: str | None = None


@dataclass(frozen=True)
class Paused:
    """Begin nothing until resumed."""


@dataclass(frozen=True)
class Resumed:
    """Go on where it was held."""


@dataclass(frozen=True)
class Retried:
    """Somebody wants the step that failed tried again; ``held``: as soon as it is resumed."""

    held: bool = False


Input = Started | StepResult | TimerFired | EventArrived | AppointmentChanged | Cancelled | Paused | Resumed | Retried


@dataclass(frozen=True)
class Perform:
    """Ask for an action, once per attempt."""

    step_id: str
    action: str
    parameters: dict[str, Any]
    attempt: int = 0


@dataclass(frozen=True)
class SetTimer:
    """Come back at ``due_at`` (aware UTC). ``kind`` is the step's; ``jitter`` the part of the pause to vary."""

    step_id: str
    due_at: datetime
    kind: str = "wait"
    jitter: float = 0.0


@dataclass(frozen=True)
class OpenWait:
    """Tell when one of these event types happens, or has happened since ``since``."""

    step_id: str
    events: tuple[str, ...]
    about: str
    since: datetime


@dataclass(frozen=True)
class Skipped:
    """A step whose condition was false."""

    step_id: str


@dataclass(frozen=True)
class Branched:
    """Which way a branch took: the number of the case, None for ``otherwise``."""

    step_id: str
    case: int | None


@dataclass(frozen=True)
class Stopped:
    """A stop was reached."""

    step_id: str


@dataclass(frozen=True)
class StepEnded:
    """A step asked for earlier ended. ``kind`` is the step's, ``output`` what it leaves."""

    step_id: str
    outcome: str
    error_code: str | None = None
    kind: str = "action"
    output: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Finished:
    """The run ended."""

    status: Status
    error_code: str | None = None


Effect = Perform | SetTimer | OpenWait | Skipped | Branched | Stopped | StepEnded | Finished
Moved = tuple[State, list[Effect]]
