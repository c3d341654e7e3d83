"""Who may go through a simulated workflow: the enrolment policies, beginning with what was so at the first event."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID

from services.workflows.rules.definitions.compiling import CompiledDefinition
from services.workflows.rules.definitions.definition import Enrolment
from services.workflows.rules.expressions.templates import as_text
from services.workflows.rules.runs.states import Status
from services.workflows.rules.runs.waiting import APPOINTMENT_CANCELLED
from services.workflows.rules.simulation.given import Given
from services.workflows.rules.simulation.running import Running

EVERY = Enrolment()


@dataclass
class Admitting:
    """``given`` is how it was at the beginning; the rest is filled as runs begin and end."""

    compiled: CompiledDefinition
    given: Given = field(default_factory=Given)
    active: Counter[UUID] = field(default_factory=Counter)
    enrolled: dict[str, tuple[datetime, Running]] = field(default_factory=dict)

    @property
    def policy(self) -> Enrolment:
        return self.compiled.definition.enrolment or EVERY

    def key(self, patient_id: UUID | None, bound: Any) -> tuple[str | None, str | None]:
        """The key enrolment goes by, and the error if there is none to be had."""
        if self.policy.policy == "once" and patient_id is not None:
            return str(patient_id), None
        if self.policy.policy != "by_key":
            return None, None
        assert self.compiled.key is not None
        found = self.compiled.key.evaluate(bound)
        key = as_text(found.value) if found.error is None else None
        return (key or None, None) if key is not None else (None, f"key_error:{found.error or 'not_text'}")

    def refusal(self, patient_id: UUID | None, key: str | None, waiting: bool, now: datetime) -> str | None:
        """Why somebody may not go through now. ``waiting``: a run waits for the time of this appointment already."""
        if patient_id is not None and patient_id in self.given.suppressed:
            return "suppressed"
        if waiting:
            return "waits_already"
        if self.policy.policy == "once_while_active" and patient_id is not None and self._is_active(patient_id, now):
            return "active_already"
        last = self._enrolled_at(key, now) if key is not None else None
        if last is None:
            return None
        return "enrolled_already" if self.policy.again_after is None or now < last + self.policy.again_after else None

    def _is_active(self, patient_id: UUID, now: datetime) -> bool:
        return bool(self.active[patient_id]) or self.given.is_active(patient_id, now)

    def _enrolled_at(self, key: str, now: datetime) -> datetime | None:
        last = self.enrolled.get(key)
        return self.given.enrolled_at(key, now) if last is None else None if _never_came(last[1]) else last[0]

    def owns(self, run: Running, key: str | None, at: datetime) -> None:
        """Who comes again with the run they have is enrolled since it began, not since now."""
        if key is not None and (key not in self.enrolled or self.enrolled[key][0] < at):
            self.enrolled[key] = at, run

    def enter(self, run: Running, key: str | None, now: datetime) -> None:
        if key is not None:
            self.enrolled[key] = now, run
        if run.patient_id is not None and run.active:
            self.active[run.patient_id] += 1

    def leave(self, run: Running) -> None:
        if run.patient_id is not None and self.active[run.patient_id]:
            self.active[run.patient_id] -= 1
            if not self.active[run.patient_id]:
                del self.active[run.patient_id]


def _never_came(run: Running) -> bool:
    """Whose appointment was cancelled before its time came has not been through."""
    return run.state.status is Status.CANCELLED and run.state.cursor == 0 and run.state.error_code == APPOINTMENT_CANCELLED
