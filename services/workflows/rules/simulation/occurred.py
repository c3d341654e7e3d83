"""An event of a simulation, and what was known when it was handled."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import cached_property
from typing import Any, Self, cast
from uuid import UUID

from libs.contracts.envelope import MESSAGES, Event
from libs.contracts.patients import PatientRegistered, PatientTagged, PatientUntagged, PatientUpdated
from libs.contracts.scheduling import AppointmentState
from services.workflows.rules.expressions.context import APPOINTMENT
from services.workflows.rules.expressions.interface import FieldType

_TIMES = tuple(name for name, shape in APPOINTMENT.items() if shape.kind is FieldType.TIMESTAMP)


@dataclass(frozen=True)
class Known:
    """What expressions see besides the event. None is what nobody knew yet."""

    patient: Mapping[str, Any] | None = None
    appointment: Mapping[str, Any] | None = None
    practice: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def seen(cls, seen: Mapping[str, Any]) -> Known:
        """As it was written down: JSON, so times become times again."""
        return cls(seen.get("patient"), appointment_of(seen.get("appointment")), seen.get("practice") or {})

    def after(self, event: Event) -> Known:
        """What is known once the event is: news of the patient, of a tag or of the appointment."""
        tags = list((self.patient or {}).get("tags") or ())
        if isinstance(event, PatientRegistered | PatientUpdated):
            return replace(self, patient={"id": event.patient_id, **event.details.model_dump(), "tags": tags})
        if isinstance(event, PatientTagged | PatientUntagged):
            others = [tag for tag in tags if tag != event.tag]
            now = sorted([*others, event.tag]) if isinstance(event, PatientTagged) else others
            return replace(self, patient={"id": event.patient_id, **(self.patient or {}), "tags": now})
        if isinstance(event, AppointmentState):
            return replace(self, appointment={"id": event.appointment_id, **event.model_dump(include=set(APPOINTMENT))})
        return self


def appointment_of(stored: Mapping[str, Any] | None) -> Mapping[str, Any] | None:
    """An appointment whose times may be ISO 8601 text, with aware times."""
    if stored is None or not any(isinstance(stored.get(name), str) for name in _TIMES):
        return stored
    return {**stored, **{name: datetime.fromisoformat(stored[name]) for name in _TIMES if isinstance(stored.get(name), str)}}


@dataclass(frozen=True)
class Occurred:
    """``at`` is when it is handled, ``said`` when it happened; both aware UTC."""

    id: UUID
    event: Event
    at: datetime
    said: datetime
    known: Known = field(default_factory=Known)

    @classmethod
    def logged(cls, row: Mapping[str, Any]) -> Self:
        """From a row of the event log. Raises ``ValueError`` for what is no event of its type any more."""
        event = cast("Event", MESSAGES[row["type"]].model_validate(row["data"], extra="ignore"))
        return cls(row["event_id"], event, row["recorded_at"], row["at"], Known.seen(row["seen"]))

    @cached_property
    def data(self) -> Mapping[str, Any]:
        return self.event.model_dump()

    @cached_property
    def subjects(self) -> tuple[UUID | None, UUID | None]:
        """The patient and the appointment it is about."""
        return getattr(self.event, "patient_id", None), getattr(self.event, "appointment_id", None)

    @property
    def bulk(self) -> bool:
        return bool(getattr(self.event, "bulk", False))
