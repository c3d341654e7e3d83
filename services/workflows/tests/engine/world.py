"""People, appointments and definitions to tell an engine about."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

from libs.contracts.actions import ActionDescribed
from libs.contracts.patients import PatientDetails, PatientRegistered
from libs.contracts.practices import PracticeCreated
from libs.contracts.scheduling import (
    AppointmentBooked,
    AppointmentConfirmed,
    AppointmentMatched,
    AppointmentSource,
    AppointmentStatus,
    Attendee,
)
from services.workflows.tests.engine.driver import EngineDriver, Said

BOOKED = AppointmentBooked.type
SEND_EMAIL = ActionDescribed(
    name="send_email", owner_service="notifications", title="Send an e-mail", help="Sends it.", idempotent=False, lookup=True,
    personal_data=["email"], result_schema={"type": "object"},
    parameters_schema={
        "type": "object", "required": ["subject", "text"], "additionalProperties": False,
        "properties": {"subject": {"type": "string", "pattern": "^[^\\n]*$", "maxLength": 200}, "text": {"type": "string"}},
    },
)  # fmt: skip
UPDATE_PATIENT = ActionDescribed(
    name="update_patient", owner_service="patients", title="Update the patient", help="Changes it.", idempotent=True, lookup=False,
    personal_data=["phone"], result_schema={"type": "object"},
    parameters_schema={
        "type": "object", "additionalProperties": False,
        "properties": {
            "phone": {"anyOf": [{"type": "string", "pattern": "^[+]?[0-9 ]+$"}, {"type": "null"}]},
            "visits": {"anyOf": [{"type": "integer"}, {"type": "null"}]},
        },
    },
)  # fmt: skip
HOURS = timedelta(hours=1)
AT = datetime(2030, 1, 31, 9, 30, tzinfo=UTC)


def send(step: str = "intake", *, when: str | None = None, subject: str = "Welcome", text: str = "See you soon.") -> dict[str, Any]:
    step_of = {"kind": "action", "id": step, "action": "send_email", "parameters": {"subject": subject, "text": text}}
    return step_of if when is None else {**step_of, "when": when}


def wait(duration: str = "PT2H", step: str = "pause") -> dict[str, Any]:
    return {"kind": "wait", "id": step, "duration": duration}


def definition(*steps: dict[str, Any], condition: str | None = None, event: str = BOOKED) -> dict[str, Any]:
    base = {"trigger": {"event": event}, "steps": list(steps or (send(),))}
    return base if condition is None else {**base, "condition": condition}


@dataclass
class Visit:
    """A patient and an appointment, and what is said about them."""

    patient_id: UUID | None = field(default_factory=uuid4)
    appointment_id: UUID = field(default_factory=uuid4)
    email: str | None = "kim.lorenz@patients.example"
    title: str = "First visit"

    def registered(self) -> Said:
        assert self.patient_id is not None
        details = PatientDetails(given_name="Kim", family_name="Lorenz", email=self.email)
        return Said(uuid4(), PatientRegistered(patient_id=self.patient_id, version=1, details=details))

    def booked(self) -> Said:
        return Said(
            uuid4(), AppointmentBooked(**self._state(1, AppointmentStatus.BOOKED), attendee=Attendee(name="Kim Lorenz", email=self.email))
        )

    def unmatched(self) -> Said:
        """The booking as scheduling says it while it does not know the patient."""
        return Visit(None, self.appointment_id, self.email, self.title).booked()

    def matched(self, status: AppointmentStatus = AppointmentStatus.BOOKED) -> Said:
        return Said(uuid4(), AppointmentMatched(**self._state(2, status)))

    def confirmed(self) -> Said:
        return Said(uuid4(), AppointmentConfirmed(**self._state(2, AppointmentStatus.CONFIRMED)))

    def _state(self, version: int, status: AppointmentStatus) -> dict[str, Any]:
        return {
            "appointment_id": self.appointment_id, "patient_id": self.patient_id, "version": version, "status": status,
            "source": AppointmentSource.CALCOM, "resource": "calcom/1", "title": self.title, "starts_at": AT,
            "ends_at": AT + timedelta(minutes=30), "time_zone": "Europe/Berlin",
        }  # fmt: skip


def practice_created(practice: UUID) -> Said:
    return Said(uuid4(), PracticeCreated(new_practice_id=practice, name="Elm Street Practice", time_zone="Europe/Berlin"))


async def booked(engine: EngineDriver, visit: Visit | None = None) -> Visit:
    visit = visit or Visit()
    await engine.deliver(visit.registered(), visit.booked())
    return visit
