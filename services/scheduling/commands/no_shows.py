"""Take Cal.com's word on who did not come. A notice is a state: told again it changes nothing, told late it is out of date."""

from __future__ import annotations

from libs.common.work import Tx
from libs.contracts.scheduling import AppointmentMarkedNoShow, AppointmentReopened, AppointmentStatus
from services.scheduling.model import Appointment
from services.scheduling.queries import appointments_of_bookings, lock, lock_keys
from services.scheduling.rules.no_shows import NOT_BEGUN, UNKNOWN_ATTENDEE, UNKNOWN_BOOKING, NoShowNotice, Turn, turn_of


async def take_no_show(notice: NoShowNotice, tx: Tx) -> str | None:
    """Apply it. Returns why nothing could be made of it, a stable code: it is about nobody we know, or came before the appointment.

    A booking that was moved since is nobody's any more: the appointment has another time now.
    """
    await lock(lock_keys(tx.practice_id, bookings=notice.keys), tx)
    found = await appointments_of_bookings(notice.keys, tx)
    meant = [appointment for appointment in found if appointment.attendee_email in notice.missing]
    if not meant:
        return UNKNOWN_ATTENDEE if found else UNKNOWN_BOOKING
    turns = [_take(appointment, notice, tx) for appointment in meant]
    return NOT_BEGUN if Turn.TOO_EARLY in turns else None


def _take(appointment: Appointment, notice: NoShowNotice, tx: Tx) -> Turn:
    assert appointment.attendee_email is not None
    missing, said_at = notice.missing[appointment.attendee_email], notice.said_at or tx.now
    turn = turn_of(
        AppointmentStatus(appointment.status), appointment.starts_at, appointment.marked_at, missing=missing, said_at=said_at, now=tx.now
    )
    match turn:
        case Turn.MISS:
            appointment.miss(tx.now, said_at)
            tx.emit(AppointmentMarkedNoShow(**appointment.state()))
        case Turn.REOPEN:
            mark = appointment.reopen(tx.now, said_at)
            tx.emit(AppointmentReopened(**appointment.state(), previous_status=mark))
        case Turn.NONE:
            # Taken back before it was heard: the mark may still be on its way.
            appointment.marked_at = max(said_at, appointment.marked_at or said_at)
        case Turn.TOO_EARLY:
            pass
    return turn
