"""A draft over events of the past beside another version: what each would have done, and where they differ."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from libs.contracts.patients import PatientRegistered, PatientTagged, PatientUntagged, PatientUpdated
from libs.contracts.scheduling import AppointmentBooked, AppointmentMatched, AppointmentState
from services.workflows.rules.definitions.compiling import CompiledDefinition
from services.workflows.rules.definitions.definition import ScheduleTrigger
from services.workflows.rules.definitions.program import Waiting
from services.workflows.rules.definitions.triggers import TRIGGERS, event_of, started_types
from services.workflows.rules.expressions.interface import Expressions
from services.workflows.rules.simulation.comparing import SIDES, Comparing
from services.workflows.rules.simulation.given import Given
from services.workflows.rules.simulation.occurred import Occurred
from services.workflows.rules.simulation.replaying import Replayed, longest_look_back
from services.workflows.rules.simulation.running import NO_RESULTS, Results

_PATIENT_NEWS = {PatientRegistered.type, PatientUpdated.type, PatientTagged.type, PatientUntagged.type}
_APPOINTMENT_NEWS = {event.type for event in TRIGGERS if issubclass(event, AppointmentState)}


class Backtest:
    """Feed events in the order they were handled, then ``end``. ``compared`` is None when there is nothing to compare with."""

    def __init__(
        self,
        workflow_id: UUID,
        draft: CompiledDefinition,
        compared: CompiledDefinition | None,
        given: Given,
        since: datetime,
    ) -> None:
        self._since = since
        self._told = Comparing()
        versions = [one for one in (draft, compared) if one is not None]
        text = "".join(["steps trigger", *(one.definition.model_dump_json() for one in versions)])
        self._sides = {
            side: Replayed(side, workflow_id, compiled, given, self._told, text) for side, compiled in zip(SIDES, versions, strict=False)
        }
        self.types = sorted(set[str]().union(*(types_of_interest(compiled) for compiled in versions)))
        self.begins = since - max(longest_look_back(compiled) for compiled in versions)
        self.reads_results = any(side.reads for side in self._sides.values())
        self._unreadable = 0
        self._new_times = compared is None or _times(draft) != _times(compared)
        self._scheduled = isinstance(draft.definition.trigger, ScheduleTrigger)

    def hear(self, row: Any, results: Results = NO_RESULTS) -> None:
        """One row of the event log, with the results of the run it really started."""
        try:
            occurred = Occurred.logged(row)
        except ValueError:
            self._unreadable += 1
            return
        bound: dict[Expressions, Any] = {}
        for side in self._sides.values():
            side.until(occurred.at)
            side.hear(occurred, bound, starts=occurred.at >= self._since, results=results)
        self._told.settle()

    def until(self, now: datetime, most: int) -> bool:
        """Ring what is due by the end, so many at once. False while more are due."""
        done = all(side.until(now, most=most) for side in self._sides.values())
        self._told.settle()
        return done

    def end(self) -> dict[str, Any]:
        """What it came to."""
        for side in self._sides.values():
            side.end()
        self._told.settle_all()
        warnings = [{"code": "event_unreadable", "count": self._unreadable}] if self._unreadable else []
        if self._scheduled and self._new_times:
            warnings.append({"code": "only_times_that_came_count", "count": 1})
        shown = {name: side.tally.shown() for name, side in self._sides.items()}
        return {
            "draft": shown["draft"], "compared": shown.get("compared"), "differences": dict(self._told.counts),
            "examples": self._told.examples, "warnings": warnings,
        }  # fmt: skip


def types_of_interest(compiled: CompiledDefinition) -> set[str]:
    """The events that may make a difference to its runs."""
    trigger = compiled.definition.trigger
    types = set(started_types(trigger)) or {event_of(trigger).type}
    if AppointmentBooked.type in types:
        types.add(AppointmentMatched.type)
    types |= {rule.event for rules in compiled.awaited.values() for rule in rules}
    if any(isinstance(instruction, Waiting) for instruction in compiled.program):
        types |= _PATIENT_NEWS if "patient" in compiled.names else set()
        types |= _APPOINTMENT_NEWS if "appointment" in compiled.names else set()
    return types


def _times(compiled: CompiledDefinition) -> object:
    trigger = compiled.definition.trigger
    if not isinstance(trigger, ScheduleTrigger):
        return timedelta()
    return trigger.cron, trigger.time_zone, trigger.for_each, trigger.saved_filter
