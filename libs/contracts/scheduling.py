"""What the scheduling service says: appointments, whoever booked them."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from uuid import UUID

from pydantic import AwareDatetime, BaseModel, ConfigDict

from libs.contracts.envelope import Event
from libs.contracts.marks import Personal


class AppointmentSource(StrEnum):
    LOCAL = "local"
    CALCOM = "calcom"


class AppointmentStatus(StrEnum):
    BOOKED = "booked"
    CONFIRMED = "confirmed"
    CANCELLED = "cancelled"


class Attendee(BaseModel):
    """Who comes, as the booking named them. E-mail is lower-cased."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    name: str = ""
    email: str | None = None
    phone: str | None = None


class AppointmentState(Event):
    """The fields every appointment event carries: the appointment after the change. Times are aware UTC."""

    appointment_id: UUID
    patient_id: UUID | None = None
    version: int
    status: AppointmentStatus
    source: AppointmentSource
    resource: str
    title: str = ""
    starts_at: AwareDatetime
    ends_at: AwareDatetime
    time_zone: str
    external_id: str | None = None


class AppointmentBooked(AppointmentState, type="vantage.scheduling.appointment-booked.v1", subject="appointment/{appointment_id}"):
    """An appointment exists. ``patient_id`` is None while the attendee is not matched to a patient."""

    attendee: Personal[Attendee]
    double_booked: bool = False


class AppointmentConfirmed(AppointmentState, type="vantage.scheduling.appointment-confirmed.v1", subject="appointment/{appointment_id}"):
    """The appointment is confirmed."""


class AppointmentRescheduled(
    AppointmentState, type="vantage.scheduling.appointment-rescheduled.v1", subject="appointment/{appointment_id}"
):
    """The appointment moved."""

    previous_starts_at: AwareDatetime
    previous_ends_at: AwareDatetime


class AppointmentCancelled(AppointmentState, type="vantage.scheduling.appointment-cancelled.v1", subject="appointment/{appointment_id}"):
    """The appointment will not take place."""

    reason: Personal[str | None] = None


class AppointmentMatched(AppointmentState, type="vantage.scheduling.appointment-matched.v1", subject="appointment/{appointment_id}"):
    """An unmatched appointment found its patient."""


class AppointmentsViewed(Event, type="vantage.scheduling.appointments-viewed.v1", subject="appointments/viewed"):
    """Somebody read appointments. ``view`` names the operation, ``appointment_ids`` holds those shown, at most 100."""

    appointment_ids: list[UUID]
    view: str


class WebhookDeliveryExhausted(Event, type="vantage.scheduling.webhook-delivery-exhausted.v1", subject="webhook-delivery/{delivery_id}"):
    """An outbound webhook was given up after its last attempt."""

    delivery_id: UUID
    event_type: str
    attempts: int
    last_attempt_at: datetime
    last_status: int | None = None
