"""What the scheduling service says and is asked: appointments, whoever booked them, and calls with patients."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from uuid import UUID

from pydantic import AwareDatetime, BaseModel, ConfigDict

from libs.contracts.actions import ActionRequest, ActionResult, EffectLeft
from libs.contracts.envelope import Event
from libs.contracts.marks import Personal


class AppointmentSource(StrEnum):
    LOCAL = "local"
    CALCOM = "calcom"


class AppointmentStatus(StrEnum):
    BOOKED = "booked"
    CONFIRMED = "confirmed"
    CANCELLED = "cancelled"
    COMPLETED = "completed"
    NO_SHOW = "no_show"


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


class AppointmentCompleted(AppointmentState, type="vantage.scheduling.appointment-completed.v1", subject="appointment/{appointment_id}"):
    """The patient came; the visit is over."""


class AppointmentMarkedNoShow(
    AppointmentState, type="vantage.scheduling.appointment-marked-no-show.v1", subject="appointment/{appointment_id}"
):
    """The patient did not come. Said by a person, here or at Cal.com; nobody concludes it from the time."""


class AppointmentReopened(AppointmentState, type="vantage.scheduling.appointment-reopened.v1", subject="appointment/{appointment_id}"):
    """A mark was taken back: the appointment is neither completed nor missed, and has the status it had before."""

    previous_status: AppointmentStatus


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


class CallDirection(StrEnum):
    INBOUND = "inbound"
    OUTBOUND = "outbound"


class CallStatus(StrEnum):
    REQUESTED = "requested"
    REGISTERED = "registered"
    ONGOING = "ongoing"
    ENDED = "ended"
    NOT_CONNECTED = "not_connected"
    FAILED = "failed"


class CallState(Event):
    """The fields every call event carries. ``external_id`` is the provider's name of the call, ``effect_key`` what asked for it.

    ``patient_id`` is None for a caller nobody is known by. Numbers and what was said are not told; ``GET /v1/calls/{call_id}`` shows them.
    """

    call_id: UUID
    patient_id: UUID | None = None
    direction: CallDirection
    provider: str
    external_id: str
    agent_id: str
    effect_key: UUID | None = None


class CallStarted(CallState, type="vantage.scheduling.call-started.v1", subject="call/{call_id}"):
    """Somebody answered. Said before the call's end, never for a call that did not connect."""

    started_at: AwareDatetime


class CallEnded(CallState, type="vantage.scheduling.call-ended.v1", subject="call/{call_id}"):
    """The call is over, or never came about. ``disconnection_reason`` is the provider's own word; new ones appear without notice."""

    connected: bool
    ended_at: AwareDatetime
    duration_seconds: int
    disconnection_reason: str | None = None


class CallAnalyzed(CallState, type="vantage.scheduling.call-analyzed.v1", subject="call/{call_id}"):
    """What the provider makes of a call that is over; None where it does not say."""

    successful: bool | None = None
    in_voicemail: bool | None = None
    sentiment: Personal[str | None] = None


class CallsViewed(Event, type="vantage.scheduling.calls-viewed.v1", subject="calls/viewed"):
    """Somebody read calls. ``view`` names the operation, ``call_ids`` holds those shown, at most 100."""

    call_ids: list[UUID]
    view: str


class PerformAction(ActionRequest, type="vantage.scheduling.perform-action.v1", subject="effect/{effect_key}"):
    """Asks the scheduling service for one of its actions (``book_appointment``, ``cancel_appointment``, ``start_call``)."""


class LeaveEffect(EffectLeft, type="vantage.scheduling.leave-effect.v1", subject="effect/{effect_key}"):
    """Tells the scheduling service that a person has said what became of an effect of its: it is left alone."""


class ActionFinished(ActionResult, type="vantage.scheduling.action-finished.v1", subject="effect/{effect_key}"):
    """What became of an action of the scheduling service."""
