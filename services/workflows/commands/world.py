"""What is known about everything a batch of runs may name, read in three statements, bound once per event."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from libs.common.errors import NotFound
from libs.common.work import Tx
from services.workflows.queries.world import Key, appointments, patients
from services.workflows.queries.world import practices as practices_named
from services.workflows.rules.definitions.compiling import AwaitedRule, CompiledDefinition
from services.workflows.rules.expressions.context import values_for
from services.workflows.rules.runs.states import Surroundings


class PatientNotYet(NotFound):
    """News of this patient is still on its way."""


class PracticeNotYet(NotFound):
    """News of this practice is still on its way."""


@dataclass(frozen=True)
class World:
    """Patients, appointments and practices as they are now: at least as new as the events that name them."""

    patients: dict[Key, Any]
    appointments: dict[Key, Any]
    practices: dict[UUID, dict[str, Any]]
    now: datetime | None = None
    """What expressions see as the time."""

    def around(self, compiled: CompiledDefinition, practice_id: UUID, event: dict[str, Any], bound: Any = None) -> Surroundings:
        """What a run started by the event sees. ``bound``: the values without outputs of steps, made before."""
        patient, appointment = self._about(practice_id, event)
        practice = self._practice(practice_id)

        def bind(outputs: Mapping[str, Any]) -> Any:
            if bound is not None and not outputs:
                return bound
            return compiled.expressions.bind(values_for(compiled.fields, event, patient, appointment, practice, outputs, now=self.now))

        return Surroundings(bind, appointment, practice, patient)

    def bind(self, compiled: CompiledDefinition, practice_id: UUID, event: dict[str, Any]) -> Any:
        """The values of one event, for every definition about its kind."""
        return self.around(compiled, practice_id, event).bind({})

    def bind_awaited(
        self, rule: AwaitedRule, practice_id: UUID, event: dict[str, Any], trigger: dict[str, Any], outputs: Mapping[str, Any]
    ) -> Any:
        """The values a run that waits sees of the event that came."""
        patient, appointment = self._about(practice_id, event)
        practice = self._practice(practice_id)
        return rule.expressions.bind(values_for(rule.fields, event, patient, appointment, practice, outputs, trigger, now=self.now))

    def seen(self, practice_id: UUID, event: Mapping[str, Any]) -> dict[str, Any]:
        """What was known when the event was looked at: what its expressions saw besides the event."""
        patient, appointment = self._about(practice_id, event)
        return {"patient": patient, "appointment": appointment, "practice": self._practice(practice_id)}

    def _about(self, practice_id: UUID, event: Mapping[str, Any]) -> tuple[Any, Any]:
        patient_id, appointment_id = id_in(event, "patient_id"), id_in(event, "appointment_id")
        patient = self.patients.get((practice_id, patient_id)) if patient_id else None
        return patient, self.appointments.get((practice_id, appointment_id)) if appointment_id else None

    def require_patient(self, practice_id: UUID, event: Mapping[str, Any]) -> None:
        """An event that names a patient waits for news of that patient: not yet is not the same as no. Raises ``PatientNotYet``."""
        patient_id = id_in(event, "patient_id")
        if patient_id is not None and (practice_id, patient_id) not in self.patients:
            raise PatientNotYet

    def require_practice(self, practice_id: UUID) -> None:
        """The same for what an expression says of the practice. Raises ``PracticeNotYet``."""
        if "name" not in self._practice(practice_id):
            raise PracticeNotYet

    def _practice(self, practice_id: UUID) -> dict[str, Any]:
        return self.practices.get(practice_id, {"id": practice_id})


EVERYTHING = frozenset({"patient", "appointment", "practice"})


async def world_of(
    named: Sequence[tuple[UUID, Mapping[str, Any]]],
    tx: Tx,
    of_interest: frozenset[str] = EVERYTHING,
    practices: dict[UUID, dict[str, Any]] | None = None,
) -> World:
    """What the events name, as far as expressions look at it: at most three statements however many there are. ``practices``: read before."""
    if practices is None:
        practices = await practices_named({practice for practice, _ in named}, tx) if "practice" in of_interest else {}
    who = [(practice, patient) for practice, event in named if (patient := id_in(event, "patient_id"))]
    what = [(practice, appointment) for practice, event in named if (appointment := id_in(event, "appointment_id"))]
    return World(
        await patients(who, tx) if "patient" in of_interest else {},
        await appointments(what, tx) if "appointment" in of_interest else {},
        practices,
        tx.now,
    )


def id_in(event: Mapping[str, Any], name: str) -> UUID | None:
    """An id in an event's data, which may come parsed or as JSON."""
    value = event.get(name)
    return UUID(value) if isinstance(value, str) else value
