"""A run of the past: what its conditions were asked, and what they came to. Pure.

What they saw is put together again: the event that started the run, what its steps had left by then, and what was known then. Where
that does not come out as the run went, it is said: ``differs``. Where too little is remembered no values are given: ``forgotten``.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any
from uuid import UUID

from services.workflows.rules.conditions.explaining import SubValue, explain
from services.workflows.rules.conditions.written import Condition
from services.workflows.rules.definitions.compiling import CompiledDefinition
from services.workflows.rules.definitions.program import ANCHOR
from services.workflows.rules.definitions.steps import ActionStep, BranchStep, Step, walk
from services.workflows.rules.runs.interpreter import FILTERED
from services.workflows.rules.runs.states import State
from services.workflows.rules.simulation.occurred import Known
from services.workflows.rules.simulation.running import Running

DIFFERS = "differs"
FORGOTTEN = "forgotten"
CONDITION_ERROR = "condition_error"
_REMEMBERED = frozenset({"patient", "appointment", "practice"})


@dataclass(frozen=True)
class PastStep:
    """A step as it stands in the records. Times are aware UTC."""

    id: str
    status: str
    detail: str | None
    error_code: str | None
    output: Mapping[str, Any] | None
    started_at: datetime
    finished_at: datetime | None


@dataclass(frozen=True)
class PastRun:
    """A run as it stands in the records. ``data`` is the event that started it, ``outputs`` what its steps have left in all."""

    compiled: CompiledDefinition
    event_id: UUID
    data: Mapping[str, Any]
    patient_id: UUID | None
    appointment_id: UUID | None
    status: str
    error_code: str | None
    started_at: datetime
    finished_at: datetime | None
    outputs: Mapping[str, Any] = field(default_factory=dict)
    steps: Mapping[str, PastStep] = field(default_factory=dict)

    @property
    def remembers(self) -> bool:
        """Whether its conditions look at what is known of people, appointments or the practice."""
        return bool(self.compiled.names & _REMEMBERED)

    def at(self, moment: datetime, known: Known | None, before: str | None = None, but: UUID | None = None) -> Running:
        """As it was then, ``before`` one of its steps; without what the event ``but`` has led to. The patient of an appointment
        may have been found later."""
        known, data = known or Known(), self.data
        about = known.appointment or {}
        own = str(about.get("id")) == str(self.appointment_id)
        if own and "patient_id" in about and about["patient_id"] is None:
            data, known = {**data, "patient_id": None}, replace(known, patient=None)
        state = State(outputs=self._left(moment, before, but))
        return Running(self.compiled, self.event_id, data, known, state, now=moment)

    def _left(self, moment: datetime, before: str | None, but: UUID | None) -> dict[str, Any]:
        """What its steps had left by then."""
        order = [step.id for step, _, _ in walk(self.compiled.definition.steps)]
        earlier = order[: order.index(before)] if before in order else order
        left: dict[str, Any] = {}
        for name in earlier:
            step = self.steps.get(name)
            if name in self.outputs and step is not None and step.finished_at is not None and step.finished_at <= moment:
                left[name] = self.outputs[name]
        return {name: output for name, output in left.items() if but is None or output.get("id") != str(but)}


@dataclass(frozen=True)
class Asked:
    """Conditions with the values of their parts; ``unsure``: why these may not be those of then, or why there are none."""

    reasons: tuple[SubValue, ...] = ()
    unsure: str | None = None


def asked_at(run: PastRun, step: PastStep) -> datetime | None:
    """When the conditions of a step were asked; None for a step without any."""
    if not _conditions(run, step):
        return None
    return step.started_at if isinstance(_written(run, step.id), ActionStep) else step.finished_at


def asked(run: PastRun, step: PastStep, known: Known | None) -> Asked:
    """The conditions that were asked at a step, up to the one that decided. ``known``: then; None when it is forgotten."""
    moment = asked_at(run, step)
    if moment is None:
        return Asked()
    if known is None and run.remembers:
        return Asked(unsure=FORGOTTEN)
    then = run.at(moment, known, before=step.id)
    bound = then.bind(then.state.outputs)
    reasons: list[SubValue] = []
    came: bool | None = False
    for number, condition in enumerate(_conditions(run, step), 1):
        reasons += explain(condition, run.compiled.expressions, bound)
        came = came_to(reasons[-1])
        if came is not False:
            return Asked(tuple(reasons), _unsure(run, step, came, number))
    return Asked(tuple(reasons), _unsure(run, step, came, 0))


def moments(run: PastRun) -> Iterable[datetime]:
    """When conditions of its steps were asked that look at what was known then."""
    for step in run.steps.values() if run.remembers else ():
        moment = asked_at(run, step)
        if moment is not None:
            yield moment


def came_to(reason: SubValue) -> bool | None:
    """True, false, or None: it failed."""
    return reason.value if reason.error is None and isinstance(reason.value, bool) else None


def _conditions(run: PastRun, step: PastStep) -> list[Condition]:
    """Those asked there, in this order: the first that holds, or fails, decides."""
    written = _written(run, step.id)
    if isinstance(written, BranchStep):
        return [case.when for case in written.cases]
    if isinstance(written, ActionStep):
        return [written.when] if written.when is not None else []
    own = run.compiled.definition.condition
    passed = step.id == ANCHOR and step.status == "succeeded" and FILTERED not in run.steps
    return [own] if own is not None and (step.id == FILTERED or passed) else []


def _written(run: PastRun, step_id: str) -> Step | None:
    return next((step for step, _, _ in walk(run.compiled.definition.steps) if step.id == step_id), None)


def _unsure(run: PastRun, step: PastStep, came: bool | None, number: int) -> str | None:
    """``differs`` when the run went another way than these values say."""
    words = {True: "held", False: "skipped", None: "failed"}
    if isinstance(_written(run, step.id), BranchStep):
        words = {True: f"case {number}", False: "otherwise", None: "failed"}
    return None if words[came] == _recorded(run, step) else DIFFERS


def _recorded(run: PastRun, step: PastStep) -> str:
    failed = step.error_code == CONDITION_ERROR
    if step.id == ANCHOR:
        failed = (run.error_code or "").startswith(CONDITION_ERROR) and {*run.steps} == {ANCHOR}
    if failed:
        return "failed"
    if step.status == "skipped":
        return "skipped"
    return step.detail or "failed" if isinstance(_written(run, step.id), BranchStep) else "held"
