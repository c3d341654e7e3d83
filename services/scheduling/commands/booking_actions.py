"""Book at Cal.com for workflows: one attempt outside of any transaction; what Cal.com says is kept in one of its own.

If we die between its answer and that transaction the outcome is unknown, and looking it up ends here, too.
"""

from __future__ import annotations

from typing import Any

from libs.common.actions import Effect, NotSent, OutcomeUnknown, Rejected
from libs.common.actions.outcomes import Attempt
from libs.common.auth import Principal
from libs.common.secrets import SecretBox
from libs.common.work import Work
from services.scheduling.commands.appointment_actions import BookForPatient, BookForPatientResult
from services.scheduling.commands.appointments import SlotTaken
from services.scheduling.commands.bookings import keep_booking
from services.scheduling.commands.calendar import Calendar, opened
from services.scheduling.commands.notices import again_when_aborted
from services.scheduling.queries import booking_request
from services.scheduling.rules.attendees import AttendeeDetails
from services.scheduling.rules.bookings import SLOT_TAKEN, BookingSeen, BookingState, OutboundBooking


class BookingRejected(Rejected):
    """Cal.com did not take the booking."""


class BookingNotTaken(NotSent):
    """Cal.com did not take the booking."""


class BookingUnknown(OutcomeUnknown):
    """Whether Cal.com took the booking is unknown."""


async def book_at_calcom(
    parameters: BookForPatient,  # noqa: ARG001 - the shape
    effect: Effect,
    work: Work,
    calendar: Calendar,
    box: SecretBox,
) -> BookForPatientResult:
    """One request to Cal.com, about the booking as it was asked for."""
    request = await _request(effect, work)
    booking = _outbound(request, box)
    answer = await calendar.book(booking)
    if answer.code == SLOT_TAKEN and effect.attempts > 1:
        # An earlier attempt of ours may be who has the time.
        seen = await calendar.find(booking)
        if seen is not None:
            return await _keep(seen, request, work)
    match answer.attempt:
        case Attempt.ACCEPTED:
            assert answer.seen is not None
            return await _keep(answer.seen, request, work)
        case Attempt.REFUSED:
            raise SlotTaken if answer.code == SLOT_TAKEN else BookingRejected(answer.code)
        case Attempt.NOT_SENT:
            raise BookingNotTaken(answer.code, after_seconds=answer.retry_after_seconds)
        case Attempt.LOST | Attempt.REPEATABLE:
            raise BookingUnknown(answer.code)


async def find_booking(
    parameters: BookForPatient,  # noqa: ARG001 - the shape
    effect: Effect,
    work: Work,
    calendar: Calendar,
    box: SecretBox,
) -> BookForPatientResult | None:
    """Whether Cal.com has it: the attendee's bookings made since, by the effect key in their metadata."""
    request = await _request(effect, work)
    seen = await calendar.find(_outbound(request, box))
    return None if seen is None else await _keep(seen, request, work)


async def _keep(seen: BookingSeen, request: Any, work: Work) -> BookForPatientResult:
    """Raises ``BookingUnknown`` while the host has to say, ``BookingRejected`` when they said no or nothing in time."""
    if seen.state is BookingState.PENDING:
        raise BookingUnknown("awaits_confirmation") if work.now() < seen.notice.starts_at else BookingRejected("never_confirmed")
    if seen.state is BookingState.REJECTED:
        raise BookingRejected("declined_by_host")

    async def keep() -> BookForPatientResult:
        async with work(Principal.system("calcom", request["practice_id"])) as tx:
            return await keep_booking(seen, request, tx)

    return await again_when_aborted(keep)


async def _request(effect: Effect, work: Work) -> Any:
    async with work(Principal.system("calcom", effect.practice_id)) as tx:
        return await booking_request(effect.key, tx)


def _outbound(request: Any, box: SecretBox) -> OutboundBooking:
    return OutboundBooking(
        practice_id=request["practice_id"], effect_key=request["effect_key"], api_key=opened(request["practice_id"], request["api_key"], box),
        event_type_id=request["event_type_id"], starts_at=request["starts_at"], minutes=request["minutes"],
        attendee=AttendeeDetails(name=request["attendee_name"], email=request["attendee_email"]), time_zone=request["time_zone"],
        asked_at=request["asked_at"], traceparent=request["traceparent"],
    )  # fmt: skip
