"""One run of a simulation: its state, the timer and the events it waits for. Every step is the interpreter's."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any
from uuid import UUID

from libs.contracts.scheduling import AppointmentState
from services.workflows.rules.definitions.compiling import EXITS, AwaitedRule, CompiledDefinition
from services.workflows.rules.expressions.context import values_for
from services.workflows.rules.expressions.interface import Evaluated, Fields
from services.workflows.rules.runs.interpreter import advance
from services.workflows.rules.runs.states import (
    AppointmentChanged,
    Cancelled,
    Effect,
    EventArrived,
    Finished,
    Input,
    OpenWait,
    SetTimer,
    State,
    Status,
    StepEnded,
    Surroundings,
)
from services.workflows.rules.simulation.occurred import Known, Occurred

EXIT = "exit_condition"
Results = Mapping[tuple[str, str], Mapping[str, Any]]
"""What actions came to, by step and action."""

NO_RESULTS: Results = {}


@dataclass(eq=False)
class Running:
    """``event_id`` and ``data`` are the event that started it, ``known`` what is known now, ``wrong`` conditions of waits that failed.

    ``now`` is what its expressions see as the time: that of what happens to it.

    ``results`` are what its actions really came to, by step and action, where it really ran. ``fields`` are those its expressions may look at, when somebody knows that they are fewer than all.
    """

    compiled: CompiledDefinition
    event_id: UUID
    data: Mapping[str, Any]
    known: Known
    state: State = field(default_factory=State)
    timer: SetTimer | None = None
    waits: dict[str, OpenWait] = field(default_factory=dict)
    wrong: list[tuple[str, str]] = field(default_factory=list)
    fields: Fields | None = None
    results: Results = field(default_factory=lambda: NO_RESULTS)
    now: datetime | None = None

    @property
    def patient_id(self) -> UUID | None:
        return self.data.get("patient_id")

    @property
    def appointment_id(self) -> UUID | None:
        return self.data.get("appointment_id")

    @property
    def active(self) -> bool:
        return self.state.status is Status.RUNNING

    def move(self, event: Input, now: datetime) -> list[Effect]:
        """Give it an input; what it then wants done."""
        self.now = now
        around = Surroundings(self.bind, self.known.appointment, self.known.practice, self.known.patient)
        self.state, effects = advance(self.compiled, self.state, event, around, now)
        for effect in effects:
            self._note(effect)
        return effects

    def bind(self, outputs: Mapping[str, Any]) -> Any:
        known = self.known
        fields = self.fields or self.compiled.fields
        values = values_for(fields, self.data, known.patient, known.appointment, known.practice, outputs, now=self.now)
        return self.compiled.expressions.bind(values)

    def _note(self, effect: Effect) -> None:
        """A run waits for one timer at most; one it does not wait for any more is gone."""
        match effect:
            case SetTimer():
                self.timer = effect
            case OpenWait(step_id):
                self.waits[step_id] = effect
            case Finished():
                self.timer = None
                self.waits.clear()
            case StepEnded(step_id, _, _, kind) if kind != "action":
                self.timer = None
                self.waits.pop(step_id, None)

    def hears(self, occurred: Occurred, now: datetime) -> list[Effect]:
        """News: what is known, and the time it waits for if it hangs on the appointment. What it then wants done."""
        patient_id, appointment_id = occurred.subjects
        news = occurred.known
        about = appointment_id is not None and appointment_id == self.appointment_id
        if about and patient_id is not None and self.patient_id is None and self.active:
            self.data = {**self.data, "patient_id": patient_id}  # an appointment nobody's until now found its patient
        if patient_id is not None and patient_id == self.patient_id and news.patient is not None:
            self.known = replace(self.known, patient=news.patient)
        if about and news.appointment is not None:
            self.known = replace(self.known, appointment=news.appointment)
        return self.move(AppointmentChanged(), now) if about and isinstance(occurred.event, AppointmentState) else []

    def answer(self, occurred: Occurred) -> Input | None:
        """What an event means to it, the exit conditions first. What started it is not what it waits for."""
        if not self.active or occurred.id == self.event_id:
            return None
        self.now = occurred.at
        for step_id in [EXITS, *sorted(self.waits)]:
            for subject in filter(None, occurred.subjects):
                number = self._number(step_id, occurred, subject)
                if number is not None:
                    return self._input(step_id, number, occurred)
        return None

    def looked_back(self, wait: OpenWait, before: Iterable[Occurred]) -> Input | None:
        """The first of these events that a wait counts although it came before. None counts twice."""
        counted = {output.get("id") for output in self.state.outputs.values()}
        subject = self._waits_about(wait)
        for occurred in before if subject is not None else ():
            about = subject in occurred.subjects and occurred.event.type in wait.events
            if about and occurred.id != self.event_id and occurred.at >= wait.since and str(occurred.id) not in counted:
                number = self._number(wait.step_id, occurred, subject)
                if number is not None:
                    return self._input(wait.step_id, number, occurred)
        return None

    def _waits_about(self, wait: OpenWait) -> UUID | None:
        return self.appointment_id if wait.about == "appointment" else self.patient_id

    def _subject(self, step_id: str, rule: AwaitedRule) -> UUID | None:
        """Whom the event has to be about."""
        if step_id != EXITS:
            return self._waits_about(self.waits[step_id])
        anything = self.patient_id or self.appointment_id
        return self.appointment_id or anything if rule.about == "appointment" else anything

    def _number(self, step_id: str, occurred: Occurred, subject: UUID | None) -> int | None:
        """Which of the awaited events it is. An expression that fails is no match, and is written down."""
        for number, rule in enumerate(self.compiled.awaited.get(step_id, ())):
            about = rule.event == occurred.event.type and subject == self._subject(step_id, rule)
            if about and self._fits(step_id, rule, occurred):
                return number
        return None

    def _fits(self, step_id: str, rule: AwaitedRule, occurred: Occurred) -> bool:
        if rule.when is None:
            return True
        verdict: Evaluated = rule.when.evaluate(self.bind_awaited(rule, occurred)).verdict
        if verdict.error is not None:
            self.wrong.append((step_id, verdict.error))
        return verdict.is_true

    def bind_awaited(self, rule: AwaitedRule, occurred: Occurred) -> Any:
        """What the condition of a wait sees of the event that came."""
        known = occurred.known
        values = values_for(
            rule.fields, occurred.data, known.patient, known.appointment, known.practice, self.state.outputs, self.data, now=self.now
        )  # fmt: skip
        return rule.expressions.bind(values)

    def _input(self, step_id: str, number: int, occurred: Occurred) -> Input:
        if step_id == EXITS:
            return Cancelled(EXIT)
        return EventArrived(step_id, number, occurred.event.model_dump(mode="json"), str(occurred.id))
