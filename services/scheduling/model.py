"""What is remembered of appointments and calls. Their state changes are methods; an appointment's refuse."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import ARRAY, DateTime, MetaData, Text
from sqlalchemy.orm import Mapped, mapped_column

from libs.common.db import Base
from libs.contracts.scheduling import AppointmentSource, AppointmentStatus, Attendee, CallStatus
from services.scheduling.rules.appointments import OVER, AlreadyAtThatTime, KeptByCalcom, Verb, check_begun, status_after
from services.scheduling.rules.calls import CallReport, News, later_status, news_of


class SchedulingBase(Base):
    __abstract__ = True
    metadata = MetaData(schema="scheduling")


class Appointment(SchedulingBase):
    """A time somebody comes. Exclusive ones never overlap on a resource: the database refuses it.

    Not exclusive are seats of a group booking, which share their slot on purpose, and bookings of Cal.com that collide:
    Cal.com has accepted them, so they are kept and flagged ``double_booked`` instead of lost. ``external_id`` is Cal.com's
    uid of the booking it is now, ``external_key`` our key for it (a seat has its own). Once it is completed or marked as no-show,
    ``unmarked_status`` is what it was before; ``marked_at`` is when that was last said, or taken back.
    """

    __tablename__ = "appointment"

    practice_id: Mapped[UUID] = mapped_column(primary_key=True)
    id: Mapped[UUID] = mapped_column(primary_key=True)
    version: Mapped[int]
    status: Mapped[str]
    source: Mapped[str]
    resource: Mapped[str]
    title: Mapped[str]
    starts_at: Mapped[datetime] = mapped_column(DateTime(timezone=True))
    ends_at: Mapped[datetime] = mapped_column(DateTime(timezone=True))
    time_zone: Mapped[str]
    patient_id: Mapped[UUID | None]
    attendee_name: Mapped[str]
    attendee_email: Mapped[str | None]
    attendee_phone: Mapped[str | None]
    external_id: Mapped[str | None]
    external_key: Mapped[str | None]
    external_sequence: Mapped[int | None]
    exclusive: Mapped[bool] = mapped_column(default=True)
    double_booked: Mapped[bool] = mapped_column(default=False)
    unmarked_status: Mapped[str | None]
    marked_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    created_at: Mapped[datetime] = mapped_column(DateTime(timezone=True))
    updated_at: Mapped[datetime] = mapped_column(DateTime(timezone=True))

    @property
    def attendee(self) -> Attendee:
        return Attendee(name=self.attendee_name, email=self.attendee_email, phone=self.attendee_phone)

    def state(self) -> dict[str, Any]:
        """The fields every appointment event carries."""
        return {
            "appointment_id": self.id, "patient_id": self.patient_id, "version": self.version, "status": self.status,
            "source": self.source, "resource": self.resource, "title": self.title, "starts_at": self.starts_at,
            "ends_at": self.ends_at, "time_zone": self.time_zone, "external_id": self.external_id,
        }  # fmt: skip

    def confirm(self, now: datetime) -> None:
        """Raises ``AlreadyConfirmed``, ``AppointmentIsCancelled``, ``AppointmentIsOver``."""
        self._change(Verb.CONFIRM, now)

    def move(self, starts_at: datetime, ends_at: datetime, now: datetime) -> None:
        """To another time; a moved appointment is to be confirmed anew.

        Raises ``KeptByCalcom``, ``AppointmentIsCancelled``, ``AppointmentIsOver``, ``AlreadyAtThatTime``.
        """
        self._must_be_ours()
        if self.status not in {AppointmentStatus.CANCELLED, *OVER} and (self.starts_at, self.ends_at) == (starts_at, ends_at):
            raise AlreadyAtThatTime(pointer="/starts_at")
        self._change(Verb.RESCHEDULE, now)
        self.starts_at, self.ends_at = starts_at, ends_at

    def cancel(self, now: datetime) -> None:
        """Raises ``KeptByCalcom``, ``AlreadyCancelled``, ``AppointmentIsOver``."""
        self._must_be_ours()
        self._change(Verb.CANCEL, now)

    def complete(self, now: datetime) -> None:
        """Cal.com's, too: it has no word for it. Raises ``AlreadyCompleted``, ``AppointmentIsCancelled``, ``NotBegunYet``."""
        self._mark(Verb.COMPLETE, now, now)

    def miss(self, now: datetime, said_at: datetime | None = None) -> None:
        """Nobody came; ``said_at``, when that was said elsewhere. Raises ``AlreadyNoShow``, ``AppointmentIsCancelled``, ``NotBegunYet``."""
        self._mark(Verb.MISS, now, said_at or now)

    def reopen(self, now: datetime, said_at: datetime | None = None) -> AppointmentStatus:
        """Take the mark back; returns what it was. Raises ``NotMarked``, ``AppointmentIsCancelled``."""
        mark, before = AppointmentStatus(self.status), self.unmarked_status
        self._change(Verb.REOPEN, now)
        self.status, self.unmarked_status, self.marked_at = before or self.status, None, said_at or now
        return mark

    def _mark(self, verb: Verb, now: datetime, said_at: datetime) -> None:
        before = self.unmarked_status or self.status
        status_after(AppointmentStatus(self.status), verb)
        check_begun(self.starts_at, now)
        self._change(verb, now)
        self.unmarked_status, self.marked_at = before, said_at

    def _must_be_ours(self) -> None:
        if self.source != AppointmentSource.LOCAL:
            raise KeptByCalcom

    def _change(self, verb: Verb, now: datetime) -> None:
        self.status = status_after(AppointmentStatus(self.status), verb)
        self.version += 1
        self.updated_at = now


class Call(SchedulingBase):
    """A telephone call with a patient, or with somebody we do not know. ``told`` is what was said of it, in order.

    ``summary`` and ``transcript`` are sealed. ``external_id`` is missing until the provider has named the call.
    """

    __tablename__ = "call"

    practice_id: Mapped[UUID] = mapped_column(primary_key=True)
    id: Mapped[UUID] = mapped_column(primary_key=True)
    direction: Mapped[str]
    status: Mapped[str]
    provider: Mapped[str]
    external_id: Mapped[str | None]
    effect_key: Mapped[UUID | None]
    patient_id: Mapped[UUID | None]
    agent_id: Mapped[str]
    from_number: Mapped[str | None]
    to_number: Mapped[str | None]
    started_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    ended_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    duration_seconds: Mapped[int | None]
    disconnection_reason: Mapped[str | None]
    successful: Mapped[bool | None]
    in_voicemail: Mapped[bool | None]
    sentiment: Mapped[str | None]
    summary: Mapped[bytes | None]
    transcript: Mapped[bytes | None]
    told: Mapped[list[str]] = mapped_column(ARRAY(Text))
    created_at: Mapped[datetime] = mapped_column(DateTime(timezone=True))
    updated_at: Mapped[datetime] = mapped_column(DateTime(timezone=True))

    def state(self) -> dict[str, Any]:
        """The fields every call event carries."""
        return {
            "call_id": self.id, "patient_id": self.patient_id, "direction": self.direction, "provider": self.provider,
            "external_id": self.external_id, "agent_id": self.agent_id, "effect_key": self.effect_key,
        }  # fmt: skip

    def hear(self, report: CallReport, now: datetime) -> tuple[News, ...]:
        """Learn what a report tells; what it leaves out stays as it is. Returns what is to be said now."""
        self.external_id = report.external_id
        self.status = later_status(CallStatus(self.status), report.status)
        self.agent_id = report.agent_id or self.agent_id
        for name in ("from_number", "to_number", "started_at", "ended_at", "duration_seconds", "successful", "in_voicemail", "sentiment"):
            told = getattr(report, name)
            if told is not None:
                setattr(self, name, told)
        self.disconnection_reason = report.reason or self.disconnection_reason
        news = news_of(report, {News(said) for said in self.told})
        self.told = [*self.told, *news]
        self.updated_at = now
        return news
