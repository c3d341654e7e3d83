"""Bookings we asked Cal.com for, and its notices about them: whichever comes first makes the appointment, the other finds it made."""

from __future__ import annotations

import dataclasses
from collections.abc import Awaitable, Callable, Sequence
from typing import Any
from uuid import UUID

from libs.common.actions.effects import Finished, Key
from libs.common.actions.outcomes import Answer, Attempt
from libs.common.telemetry import NO_CAUSE, Cause
from libs.common.work import Tx
from libs.contracts.scheduling import AppointmentMatched, AppointmentStatus
from services.scheduling.commands.appointment_actions import BookForPatientResult
from services.scheduling.commands.notices import take_notice
from services.scheduling.queries import appointment_from, booked_as, booking_request
from services.scheduling.rules.bookings import BookingSeen, BookingState
from services.scheduling.rules.notices import BookingNotice, NoticeKind, delivery_key

RecordIn = Callable[[Sequence[Finished], Tx], Awaitable[None]]

_ASSIGN = """
UPDATE appointment SET patient_id = $3, version = version + 1, updated_at = $4
WHERE practice_id = $1 AND id = $2 AND patient_id IS DISTINCT FROM $3 RETURNING *
"""


async def hear_of_booking(notice: BookingNotice, record_in: RecordIn, tx: Tx) -> None:
    """Take a notice from Cal.com; that a booking of ours was made also ends every doubt about it.

    The effect is held first, by whoever holds it and a booking: recording an outcome and hearing of it cannot wait for each other.
    """
    request = await booking_request(notice.effect_key, tx, hold=True) if notice.effect_key is not None else None
    if request is None or request["attendee_email"] != notice.attendee.email:
        # Anybody can write our mark into a booking on Cal.com's page.
        await take_notice(notice, tx)
    elif notice.kind is not NoticeKind.CREATED:
        await take_notice(dataclasses.replace(notice, patient_id=request["patient_id"]), tx)
    else:
        tx.cause = cause_of(request)
        await take_notice(_as_asked(notice, request), tx)
        result = await _result(notice, request["patient_id"], tx)
        key = Key(tx.practice_id, request["effect_key"])
        await record_in([Finished(key, Answer(Attempt.ACCEPTED, result=result.model_dump(mode="json")))], tx)


async def keep_booking(seen: BookingSeen, request: Any, tx: Tx) -> BookForPatientResult:
    """Keep what Cal.com says it booked for us as if its notices had come; they may, before or after."""
    tx.cause = cause_of(request)
    made = _as_asked(seen.notice, request)
    await take_notice(made, tx)
    if seen.state is BookingState.CANCELLED and not seen.moved:
        tx.cause = NO_CAUSE  # somebody else did that
        await take_notice(as_cancelled(made, None), tx)
    return await _result(made, request["patient_id"], tx)


def as_cancelled(notice: BookingNotice, reason: str | None) -> BookingNotice:
    """What Cal.com would tell of its cancellation."""
    key = delivery_key(NoticeKind.CANCELLED, notice.uid, notice.starts_at, notice.attendee.email)
    return dataclasses.replace(notice, kind=NoticeKind.CANCELLED, delivery_key=key, reason=reason)


def cause_of(request: Any) -> Cause:
    """Why a booking was asked for: what follows it is seen to follow from its run."""
    return Cause(request["correlation_id"], request["causation_id"], request["traceparent"], "")


def _as_asked(notice: BookingNotice, request: Any) -> BookingNotice:
    return dataclasses.replace(notice, patient_id=request["patient_id"], title=request["title"])


async def _result(notice: BookingNotice, patient_id: UUID, tx: Tx) -> BookForPatientResult:
    """Of the appointment the booking is. A notice without our mark may have made it, for whoever it seemed to be for."""
    row = await booked_as(notice.key, tx)
    assert row is not None
    assigned = await tx.row(_ASSIGN, tx.practice_id, row["id"], patient_id, tx.now)
    if assigned is not None and assigned["status"] != AppointmentStatus.CANCELLED:
        # Who follows bookings takes a late match for one; of a cancelled one there is nothing to follow.
        tx.emit(AppointmentMatched(**appointment_from(assigned).state()))
    return BookForPatientResult(appointment_id=row["id"], starts_at=notice.starts_at, ends_at=notice.ends_at)
