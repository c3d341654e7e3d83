"""What runs and their steps look like in the database, and what an effect makes of a step."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from libs.common.ids import derived_id
from libs.common.work import json_text
from services.workflows.rules.definitions.compiling import CompiledDefinition
from services.workflows.rules.definitions.program import Choice, Waiting
from services.workflows.rules.definitions.steps import ActionStep, StopStep, WaitUntilStep
from services.workflows.rules.runs.orchestration import BUILTIN, EngineName
from services.workflows.rules.runs.states import (
    Branched,
    Effect,
    Finished,
    OpenWait,
    Perform,
    SetTimer,
    Skipped,
    State,
    Status,
    StepEnded,
    Stopped,
)


@dataclass(frozen=True)
class RunRow:
    """A run as the engine sees it. ``awaits``: it has events it waits for, or that end it."""

    practice_id: UUID
    id: UUID
    workflow_id: UUID
    workflow_name: str
    version: int
    trigger_event_id: UUID
    trigger_type: str
    event: str
    patient_id: UUID | None
    appointment_id: UUID | None
    correlation_id: str
    traceparent: str
    depth: int = 0
    rerun: int = 0
    awaits: bool = False
    engine: EngineName = BUILTIN
    bulk: bool = False
    """It began as one of many: it has the load class of these, so that the others do not wait for it."""

    @property
    def key(self) -> tuple[UUID, UUID]:
        return self.practice_id, self.id

    def about(self, what: str) -> UUID | None:
        """The patient or the appointment the run is about."""
        return self.appointment_id if what == "appointment" else self.patient_id


@dataclass
class StepRow:
    practice_id: UUID
    run_id: UUID
    step_id: str
    kind: str
    status: str
    action: str | None = None
    effect_key: UUID | None = None
    due_at: datetime | None = None
    error_code: str | None = None
    detail: str | None = None
    input: str | None = None
    output: str | None = None
    attempt: int = 0


def effect_key(run_id: UUID, step_id: str, attempt: int = 0) -> UUID:
    """The one name of an attempt of an action of a run, from here to the provider."""
    return derived_id("effect", run_id, step_id) if attempt == 0 else derived_id("effect", run_id, step_id, attempt)


def attempt_of(key: UUID, run_id: UUID, step_id: str, latest: int) -> int | None:
    """Which attempt an effect key names; None for none of those up to ``latest``."""
    return next((attempt for attempt in range(latest + 1) if effect_key(run_id, step_id, attempt) == key), None)


def step_row(run: RunRow, effect: Effect) -> StepRow | None:
    """The step's row after the effect; None when the effect is not about a step."""
    where = run.practice_id, run.id
    match effect:
        case Perform(step_id, action, parameters, attempt):
            key = effect_key(run.id, step_id, attempt)
            return StepRow(*where, step_id, "action", "requested", action, key, input=json_text(parameters), attempt=attempt)
        case SetTimer(step_id, due_at, kind):
            status = "retrying" if kind == "action" else "waiting"
            return StepRow(*where, step_id, kind, status, due_at=due_at)
        case Skipped(step_id):
            return StepRow(*where, step_id, "condition" if step_id.startswith("@") else "action", "skipped")
        case Branched(step_id, number):
            return StepRow(*where, step_id, "branch", "succeeded", detail="otherwise" if number is None else f"case {number + 1}")
        case Stopped(step_id):
            return StepRow(*where, step_id, "stop", "succeeded")
        case StepEnded(step_id, outcome, error_code, kind, output):
            left = json_text(dict(output)) if output else None
            return StepRow(*where, step_id, kind, outcome, error_code=error_code, output=left)
        case OpenWait() | Finished():
            return None


def jittered(run: RunRow, effect: SetTimer, now: datetime) -> datetime:
    """The timer's moment with its part of jitter: always the same for this run and step and pause."""
    if not effect.jitter:
        return effect.due_at
    part = derived_id("jitter", run.id, effect.step_id, effect.due_at.isoformat()).int % 1000 / 1000
    return effect.due_at + timedelta(seconds=(effect.due_at - now).total_seconds() * effect.jitter * part)


def memory_of(state: State) -> str:
    """What of a state has no column of its own, as JSON; empty for a run that remembers nothing."""
    if not (state.attempt or state.retrying or state.due or state.outputs or state.held):
        return "{}"
    due, held = (moment.isoformat() if moment else None for moment in (state.due, state.held))
    memory = {"attempt": state.attempt, "retrying": state.retrying, "due": due, "outputs": dict(state.outputs), "held": held}
    return json_text(memory | ({"retried": state.retried} if state.retried else {}))


def state_of(row: Mapping[str, Any]) -> State:
    """The state a row of ``run`` holds."""
    memory = row["memory"]
    due, held = (datetime.fromisoformat(memory[name]) if memory.get(name) else None for name in ("due", "held"))
    return State(
        Status(row["status"]), row["cursor"], row["waiting"], row["error_code"], memory.get("attempt", 0), memory.get("retrying", False),
        row["paused"], due, memory.get("outputs", {}), held, memory.get("retried", 0),
    )  # fmt: skip


def run_of(row: Mapping[str, Any], *, awaits: bool) -> RunRow:
    """A run that exists already: its event stays where it is."""
    return RunRow(
        practice_id=row["practice_id"], id=row["id"], workflow_id=row["workflow_id"], workflow_name=row["workflow_name"],
        version=row["version"], trigger_event_id=row["trigger_event_id"], trigger_type=row["trigger_type"], event="",
        patient_id=row["patient_id"], appointment_id=row["appointment_id"], correlation_id=row["correlation_id"],
        traceparent=row["traceparent"], depth=row["depth"], rerun=row["rerun"], awaits=awaits, engine=row["engine"],
    )  # fmt: skip


def is_anchored(compiled: CompiledDefinition | None, state: State) -> bool:
    """Whether it waits for a time that moves with its appointment."""
    here = _here(compiled, state)
    return state.status is Status.RUNNING and state.waiting and isinstance(here, WaitUntilStep) and here.anchor is not None


def failed_step(compiled: CompiledDefinition | None, state: State) -> str | None:
    """The step a failed run failed at."""
    here = _here(compiled, state)
    if state.status is not Status.FAILED:
        return None
    return here.step.id if isinstance(here, Choice) else here.id if isinstance(here, ActionStep | Waiting | StopStep) else None


def _here(compiled: CompiledDefinition | None, state: State) -> object:
    return compiled.program[state.cursor] if compiled is not None and state.cursor < len(compiled.program) else None
