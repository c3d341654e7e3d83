"""People, appointments and definitions to tell an engine about."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from typing import Any
from uuid import UUID, uuid4
from zoneinfo import ZoneInfo

from libs.contracts.actions import ActionDescribed
from libs.contracts.conditions import Blocks
from libs.contracts.patients import (
    FilterVisibility,
    PatientDetails,
    PatientFilterChanged,
    PatientFilterRemoved,
    PatientFilterSaved,
    PatientRegistered,
    PatientTagged,
    PatientUntagged,
    PatientUpdated,
)
from libs.contracts.practices import ClosedDays, OpeningSpan, PracticeCreated
from libs.contracts.scheduling import (
    AppointmentBooked,
    AppointmentCancelled,
    AppointmentCompleted,
    AppointmentConfirmed,
    AppointmentMarkedNoShow,
    AppointmentMatched,
    AppointmentReopened,
    AppointmentRescheduled,
    AppointmentSource,
    AppointmentStatus,
    Attendee,
)
from services.workflows.tests.engine.driver import EngineDriver, Said

BOOKED, CONFIRMED, MOVED, CANCELLED = (
    AppointmentBooked.type,
    AppointmentConfirmed.type,
    AppointmentRescheduled.type,
    AppointmentCancelled.type,
)
UPDATED = PatientUpdated.type
SEND_EMAIL = ActionDescribed(
    name="send_email", owner_service="notifications", title="Send an e-mail", help="Sends it.", idempotent=False, lookup=True,
    personal_data=["email"], result_schema={"type": "object", "properties": {"message_id": {"type": "string", "format": "uuid"}}},
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
BERLIN = ZoneInfo("Europe/Berlin")
SECOND = timedelta(seconds=1)


def send(step: str = "intake", *, when: str | None = None, subject: str = "Welcome", text: str = "See you soon.") -> dict[str, Any]:
    step_of = {"kind": "action", "id": step, "action": "send_email", "parameters": {"subject": subject, "text": text}}
    return step_of if when is None else {**step_of, "when": when}


def wait(duration: str = "PT2H", step: str = "pause") -> dict[str, Any]:
    return {"kind": "wait", "id": step, "duration": duration}


def definition(*steps: dict[str, Any], condition: str | None = None, event: str = BOOKED) -> dict[str, Any]:
    base = {"trigger": {"event": event}, "steps": list(steps or (send(),))}
    return base if condition is None else {**base, "condition": condition}


def past_due(policy: str = "proceed") -> dict[str, Any]:
    """``proceed``, ``skip``, or the duration that has to be left."""
    return {"policy": policy} if policy in {"proceed", "skip"} else {"policy": "proceed_if_left", "left": policy}


def anchor(offset: str = "-P1D", at: str | None = None, of: str = "starts_at") -> dict[str, Any]:
    return {"of": f"appointment.{of}", "offset": offset} | ({"at": at} if at else {})


def reminder(form: str, when: dict[str, Any] | None = None, policy: str = "proceed", **more: Any) -> dict[str, Any]:
    """A mail at a time that follows the appointment: an anchored trigger, or an anchored wait after the booking."""
    timing = {"anchor": when or anchor(), "past_due": past_due(policy)}
    if form == "trigger":
        return {"trigger": {"kind": "anchored", **timing}, "steps": [send("remind")], **more}
    return definition({"kind": "wait_until", "id": "before", **timing}, send("remind")) | more


def until(step: str = "morning", **local: Any) -> dict[str, Any]:
    return {"kind": "wait_until", "id": step, "local": local}


def wait_for(*events: dict[str, Any], step: str = "reply", timeout: str = "P2D", **more: Any) -> dict[str, Any]:
    return {"kind": "wait_for", "id": step, "events": list(events), "timeout": timeout, **more}


def heard(event: str, when: str | None = None) -> dict[str, Any]:
    return {"event": event} if when is None else {"event": event, "when": when}


async def pass_until(engine: EngineDriver, moment: datetime) -> None:
    """Let time pass up to this moment, which lies ahead."""
    assert moment > engine.now
    await engine.pass_time(moment - engine.now)


def clock_change(after: datetime, *, spring: bool, zone: ZoneInfo = BERLIN) -> date:
    """The day of the next change to summer time, or back."""
    day = after.astimezone(zone).date() + timedelta(days=3)
    while True:
        noon, next_noon = (datetime.combine(one, time(12), tzinfo=zone).utcoffset() for one in (day, day + timedelta(days=1)))
        assert noon is not None
        assert next_noon is not None
        if (next_noon > noon) if spring else (next_noon < noon):
            return day + timedelta(days=1)
        day += timedelta(days=1)


@dataclass
class Visit:
    """A patient and an appointment, and what is said about them."""

    patient_id: UUID | None = field(default_factory=uuid4)
    appointment_id: UUID = field(default_factory=uuid4)
    email: str | None = "kim.lorenz@patients.example"
    title: str = "First visit"
    starts_at: datetime = AT
    time_zone: str = "Europe/Berlin"
    lives_in: str | None = None
    version: int = 1
    record: int = 1

    def registered(self) -> Said:
        assert self.patient_id is not None
        return Said(uuid4(), PatientRegistered(patient_id=self.patient_id, version=1, details=self._details()))

    def updated(self, *changed: str) -> Said:
        assert self.patient_id is not None
        self.record += 1
        news = PatientUpdated(patient_id=self.patient_id, version=self.record, changed=list(changed), details=self._details())
        return Said(uuid4(), news)

    def tagged(self, tag: str) -> Said:
        assert self.patient_id is not None
        return Said(uuid4(), PatientTagged(patient_id=self.patient_id, tag_id=uuid4(), tag=tag))

    def untagged(self, tag: str) -> Said:
        assert self.patient_id is not None
        return Said(uuid4(), PatientUntagged(patient_id=self.patient_id, tag_id=uuid4(), tag=tag))

    def again(self, starts_at: datetime | None = None) -> Visit:
        """Another appointment of the same patient."""
        return Visit(self.patient_id, email=self.email, title=self.title, starts_at=starts_at or self.starts_at, lives_in=self.lives_in)

    def moved(self, starts_at: datetime, time_zone: str | None = None) -> Said:
        before, self.starts_at, self.time_zone = self.starts_at, starts_at, time_zone or self.time_zone
        self.version += 1
        was = {"previous_starts_at": before, "previous_ends_at": before + timedelta(minutes=30)}
        return Said(uuid4(), AppointmentRescheduled(**self._state(self.version, AppointmentStatus.BOOKED), **was))

    def cancelled(self) -> Said:
        self.version += 1
        return Said(uuid4(), AppointmentCancelled(**self._state(self.version, AppointmentStatus.CANCELLED)))

    def _details(self) -> PatientDetails:
        return PatientDetails(given_name="Kim", family_name="Lorenz", email=self.email, time_zone=self.lives_in)

    def booked(self) -> Said:
        return Said(
            uuid4(), AppointmentBooked(**self._state(1, AppointmentStatus.BOOKED), attendee=Attendee(name="Kim Lorenz", email=self.email))
        )

    def unmatched(self) -> Said:
        """The booking as scheduling says it while it does not know the patient."""
        return Visit(None, self.appointment_id, self.email, self.title, self.starts_at, self.time_zone).booked()

    def matched(self, status: AppointmentStatus = AppointmentStatus.BOOKED) -> Said:
        self.version = 2
        return Said(uuid4(), AppointmentMatched(**self._state(2, status)))

    def confirmed(self) -> Said:
        self.version = max(2, self.version + 1)
        return Said(uuid4(), AppointmentConfirmed(**self._state(self.version, AppointmentStatus.CONFIRMED)))

    def completed(self) -> Said:
        self.version += 1
        return Said(uuid4(), AppointmentCompleted(**self._state(self.version, AppointmentStatus.COMPLETED)))

    def missed(self) -> Said:
        self.version += 1
        return Said(uuid4(), AppointmentMarkedNoShow(**self._state(self.version, AppointmentStatus.NO_SHOW)))

    def reopened(self, mark: AppointmentStatus = AppointmentStatus.NO_SHOW) -> Said:
        """Booked again after it was marked."""
        self.version += 1
        return Said(uuid4(), AppointmentReopened(**self._state(self.version, AppointmentStatus.BOOKED), previous_status=mark))

    def _state(self, version: int, status: AppointmentStatus) -> dict[str, Any]:
        return {
            "appointment_id": self.appointment_id, "patient_id": self.patient_id, "version": version, "status": status,
            "source": AppointmentSource.CALCOM, "resource": "calcom/1", "title": self.title, "starts_at": self.starts_at,
            "ends_at": self.starts_at + timedelta(minutes=30), "time_zone": self.time_zone,
        }  # fmt: skip


HAS_EMAIL = {"blocks": {"all": [{"field": "patient.email", "operator": "is_not_empty"}]}}
HAS_NO_EMAIL = {"blocks": {"all": [{"field": "patient.email", "operator": "is_empty"}]}}


@dataclass
class Kept:
    """A filter the patients service keeps, and what it says of it."""

    condition: dict[str, Any] = field(default_factory=lambda: HAS_EMAIL)
    name: str = "By e-mail"
    owned_by: str = "user:0198a1b2-0021-7000-8000-000000000021"
    visibility: FilterVisibility = FilterVisibility.SHARED
    id: UUID = field(default_factory=uuid4)
    version: int = 1

    def saved(self) -> Said:
        return Said(uuid4(), PatientFilterSaved(**self._state()))

    def changed(self, **changes: Any) -> Said:
        for name, value in changes.items():
            setattr(self, name, value)
        self.version += 1
        return Said(uuid4(), PatientFilterChanged(**self._state(), changed=list(changes)))

    def removed(self) -> Said:
        return Said(uuid4(), PatientFilterRemoved(filter_id=self.id, version=self.version))

    def _state(self) -> dict[str, Any]:
        condition = Blocks.model_validate(self.condition)
        return {
            "filter_id": self.id, "version": self.version, "owned_by": self.owned_by, "visibility": self.visibility, "name": self.name,
            "condition": condition,
        }  # fmt: skip


def practice_created(
    practice: UUID, hours: list[tuple[str, str, str]] | None = None, holidays: list[tuple[date, date]] | None = None
) -> Said:
    """Hours as weekday, from, to; holidays as first and last day."""
    spans = [OpeningSpan(day=day, opens=opens, closes=closes) for day, opens, closes in hours or ()]
    closed = [ClosedDays(first=first, last=last) for first, last in holidays or ()]
    news = PracticeCreated(
        new_practice_id=practice, name="Elm Street Practice", time_zone="Europe/Berlin", opening_hours=spans, holidays=closed
    )
    return Said(uuid4(), news)


async def booked(engine: EngineDriver, visit: Visit | None = None) -> Visit:
    visit = visit or Visit()
    await engine.deliver(visit.registered(), visit.booked())
    return visit
