"""Cancel at Cal.com for workflows: one attempt outside of any transaction; what came of it is kept as if the notice had come."""

from __future__ import annotations

from dataclasses import dataclass

from libs.common.actions import Effect, NotSent, OutcomeUnknown, Rejected
from libs.common.actions.outcomes import Attempt
from libs.common.auth import Principal
from libs.common.secrets import SecretBox
from libs.common.work import Work
from libs.contracts.scheduling import AppointmentStatus
from services.scheduling.commands.appointment_actions import CancelForRun, CancelForRunResult
from services.scheduling.commands.bookings import as_cancelled
from services.scheduling.commands.calendar import Calendar, opened
from services.scheduling.commands.notices import again_when_aborted, take_notice
from services.scheduling.model import Appointment
from services.scheduling.queries import appointment_by_id, calcom_settings, cause_of_effect
from services.scheduling.rules.attendees import AttendeeDetails
from services.scheduling.rules.bookings import BAD_REQUEST, BookingState, OutboundCancellation
from services.scheduling.rules.notices import BookingNotice, NoticeKind


class CancellationRejected(Rejected):
    """Cal.com did not cancel the booking."""


class CancellationNotTaken(NotSent):
    """Cal.com did not cancel the booking."""


class CancellationUnknown(OutcomeUnknown):
    """Whether Cal.com cancelled the booking is unknown."""


@dataclass(frozen=True)
class Kept:
    """The appointment as it is here now, and the practice's sealed key."""

    appointment: Appointment
    api_key: bytes | None

    @property
    def uid(self) -> str:
        assert self.appointment.external_id is not None
        return self.appointment.external_id

    @property
    def attendee(self) -> AttendeeDetails:
        found = self.appointment
        return AttendeeDetails(found.attendee_name, found.attendee_email, found.attendee_phone)

    @property
    def cancelled(self) -> bool:
        return self.appointment.status == AppointmentStatus.CANCELLED

    def result(self, *, already: bool) -> CancelForRunResult:
        return CancelForRunResult(appointment_id=self.appointment.id, was_cancelled_already=already)


async def cancel_at_calcom(parameters: CancelForRun, effect: Effect, work: Work, calendar: Calendar, box: SecretBox) -> CancelForRunResult:
    """One request to Cal.com about the booking the appointment is now: it may have been moved since it was asked for."""
    kept = await _kept(parameters, effect, work)
    if kept.cancelled:
        return kept.result(already=True)
    api_key = opened(effect.practice_id, kept.api_key, box)
    cancellation = OutboundCancellation(
        practice_id=effect.practice_id, effect_key=effect.key, api_key=api_key, uid=kept.uid, reason=parameters.reason,
        traceparent=effect.traceparent,
    )  # fmt: skip
    answer = await calendar.cancel(cancellation)
    match answer.attempt:
        case Attempt.ACCEPTED:
            await _record(kept, parameters.reason, effect, work)
            return kept.result(already=False)
        case Attempt.REFUSED:
            # Of one that is cancelled already Cal.com says no more than that the request is bad.
            if answer.code != BAD_REQUEST or not await _is_cancelled_there(kept, api_key, calendar):
                raise CancellationRejected(answer.code)
            await _record(kept, None, effect, work)
            return kept.result(already=True)
        case Attempt.NOT_SENT:
            raise CancellationNotTaken(answer.code, after_seconds=answer.retry_after_seconds)
        case Attempt.LOST | Attempt.REPEATABLE:
            raise CancellationUnknown(answer.code)


async def find_cancellation(
    parameters: CancelForRun, effect: Effect, work: Work, calendar: Calendar, box: SecretBox
) -> CancelForRunResult | None:
    """Whether the booking is cancelled at Cal.com by now."""
    kept = await _kept(parameters, effect, work)
    if not kept.cancelled:
        if not await _is_cancelled_there(kept, opened(effect.practice_id, kept.api_key, box), calendar):
            return None
        await _record(kept, parameters.reason, effect, work)
    return kept.result(already=False)


async def _kept(parameters: CancelForRun, effect: Effect, work: Work) -> Kept:
    async with work(Principal.system("calcom", effect.practice_id)) as tx:
        appointment = await appointment_by_id(parameters.appointment_id, tx)
        settings = await calcom_settings(tx)
    assert appointment is not None
    return Kept(appointment, settings["api_key"] if settings is not None else None)


async def _is_cancelled_there(kept: Kept, api_key: str, calendar: Calendar) -> bool:
    """A booking that was moved is cancelled there, too, and the appointment is not: news of the move is on its way."""
    seen = await calendar.show(api_key, kept.uid, kept.attendee)
    return seen is not None and seen.state is BookingState.CANCELLED and not seen.moved


async def _record(kept: Kept, reason: str | None, effect: Effect, work: Work) -> None:
    found = kept.appointment
    assert found.external_key is not None
    booking = BookingNotice(
        kind=NoticeKind.CREATED, uid=kept.uid, key=found.external_key, delivery_key="", starts_at=found.starts_at, ends_at=found.ends_at,
        time_zone=found.time_zone, resource=found.resource, title=found.title, attendee=kept.attendee, exclusive=found.exclusive,
    )  # fmt: skip

    async def record() -> None:
        async with work(Principal.system("calcom", effect.practice_id)) as tx:
            tx.cause = await cause_of_effect(effect.key, tx)
            await take_notice(as_cancelled(booking, reason), tx)

    await again_when_aborted(record)
