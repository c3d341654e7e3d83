"""What a simulated run went through, told step by step with the reasons for each turn it took."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from services.workflows.rules.conditions.explaining import SubValue, explain
from services.workflows.rules.conditions.written import Condition
from services.workflows.rules.definitions.steps import ActionStep, BranchStep, walk
from services.workflows.rules.runs.interpreter import FILTERED
from services.workflows.rules.runs.states import Branched, Effect, Finished, OpenWait, Perform, SetTimer, Skipped, StepEnded, Stopped
from services.workflows.rules.simulation.occurred import Occurred
from services.workflows.rules.simulation.running import Running


@dataclass(frozen=True)
class Passage:
    """``what`` happened to a step at ``at``: ``asked`` for an action (with ``parameters``), ``answered``, ``retrying``, ``waits``
    (until ``due_at`` at the latest), ``went_on``, ``branched`` (``way``), ``skipped``, ``stopped``; or an ``event`` came, or it ``ended``."""

    at: datetime
    what: str
    step_id: str | None = None
    action: str | None = None
    attempt: int = 0
    parameters: Mapping[str, Any] | None = None
    due_at: datetime | None = None
    events: tuple[str, ...] = ()
    way: str | None = None
    outcome: str | None = None
    error_code: str | None = None
    output: Mapping[str, Any] = field(default_factory=dict)
    reasons: tuple[SubValue, ...] = ()


class Telling:
    """Grows a path from effects. Outputs do not change between two inputs, so reasons are found after the fact."""

    def __init__(self, run: Running) -> None:
        self.path: list[Passage] = []
        self._run = run
        self._steps = {step.id: step for step, _, _ in walk(run.compiled.definition.steps)}

    def effects(self, effects: list[Effect], now: datetime) -> None:
        for effect in effects:
            if isinstance(effect, OpenWait):
                self._waits_for(effect)
            else:
                self.path.append(self._passage(effect, now))

    def event(self, occurred: Occurred, now: datetime) -> None:
        self.path.append(Passage(now, "event", events=(occurred.event.type,)))

    def _waits_for(self, effect: OpenWait) -> None:
        """The wait was told already, with its time-out."""
        last = self.path[-1]
        self.path[-1] = Passage(last.at, last.what, last.step_id, due_at=last.due_at, events=effect.events)

    def _passage(self, effect: Effect, now: datetime) -> Passage:
        match effect:
            case Perform(step_id, action, parameters, attempt):
                return Passage(now, "asked", step_id, action, attempt, parameters, reasons=self._when(step_id))
            case SetTimer(step_id, due_at, kind):
                return Passage(now, "retrying" if kind == "action" else "waits", step_id, due_at=due_at)
            case Skipped(step_id):
                return Passage(now, "skipped", step_id, reasons=self._when(step_id))
            case Branched(step_id, case):
                way = "otherwise" if case is None else f"case {case + 1}"
                return Passage(now, "branched", step_id, way=way, reasons=self._cases(step_id, case))
            case Stopped(step_id):
                return Passage(now, "stopped", step_id)
            case StepEnded(step_id, outcome, error_code, kind, output):
                what = "answered" if kind == "action" and error_code != "template_error" else "went_on"
                why = self._when(step_id) if error_code == "condition_error" else ()
                return Passage(now, what, step_id, outcome=outcome, error_code=error_code, output=output, reasons=why)
            case Finished(status, error_code):
                return Passage(now, "ended", outcome=str(status), error_code=error_code)
            case OpenWait():
                raise AssertionError

    def _when(self, step_id: str) -> tuple[SubValue, ...]:
        step = self._steps.get(step_id)
        if step_id == FILTERED:
            return self._why(self._run.compiled.definition.condition)
        if isinstance(step, BranchStep):
            return self._cases(step_id, None)
        return self._why(step.when) if isinstance(step, ActionStep) else ()

    def _cases(self, step_id: str, taken: int | None) -> tuple[SubValue, ...]:
        """Those that were asked: up to the one that held."""
        step = self._steps[step_id]
        assert isinstance(step, BranchStep)
        asked = step.cases if taken is None else step.cases[: taken + 1]
        return tuple(reason for case in asked for reason in self._why(case.when))

    def _why(self, source: Condition | None) -> tuple[SubValue, ...]:
        if source is None:
            return ()
        return explain(source, self._run.compiled.expressions, self._run.bind(self._run.state.outputs))
