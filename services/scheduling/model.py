"""What is remembered: appointments, contacts that match them, webhook endpoints. Changes are methods that refuse."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import DateTime, MetaData
from sqlalchemy.orm import Mapped, mapped_column

from libs.common.db import Base
from libs.common.errors import Conflict, Refused
from libs.contracts.scheduling import AppointmentStatus, Attendee
from services.scheduling.rules.bookings import BookingNotice, Known, Trigger


class AppointmentIsCancelled(Refused):
    """A cancelled appointment stays cancelled."""


class AlreadyConfirmed(Conflict):
    """The appointment is confirmed already."""


class SchedulingBase(Base):
    __abstract__ = True
    metadata = MetaData(schema="scheduling")


class Appointment(SchedulingBase):
    """A time somebody comes. Local ones never overlap on a resource; outside ones that do are kept and flagged."""

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
    external_uid: Mapped[str | None]
    external_sequence: Mapped[int | None]
    external_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    double_booked: Mapped[bool] = mapped_column(default=False)
    created_at: Mapped[datetime] = mapped_column(DateTime(timezone=True))
    updated_at: Mapped[datetime] = mapped_column(DateTime(timezone=True))

    @classmethod
    def from_notice(cls, notice: BookingNotice, *, practice_id: UUID, appointment_id: UUID, patient_id: UUID | None, now: datetime) -> Appointment:
        cancelled = notice.trigger is Trigger.CANCELLED
        return cls(
            practice_id=practice_id, id=appointment_id, version=1, source="calcom", resource=notice.resource, title=notice.title,
            status=AppointmentStatus.CANCELLED if cancelled else AppointmentStatus.BOOKED,
            starts_at=notice.starts_at, ends_at=notice.ends_at, time_zone=notice.time_zone, patient_id=patient_id,
            attendee_name=notice.attendee_name, attendee_email=notice.attendee_email, attendee_phone=notice.attendee_phone,
            external_id=notice.external_id, external_uid=notice.uid, external_sequence=notice.sequence, external_at=notice.sent_at,
            double_booked=False, created_at=now, updated_at=now,
        )  # fmt: skip

    @property
    def known(self) -> Known:
        cancelled = self.status == AppointmentStatus.CANCELLED
        return Known(self.external_uid, self.external_sequence, self.external_at, cancelled, self.starts_at, self.ends_at)

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

    def follow(self, notice: BookingNotice) -> None:
        """Remember which notice this is the state of."""
        self.external_uid, self.external_sequence, self.external_at = notice.uid, notice.sequence, notice.sent_at

    def confirm(self, now: datetime) -> None:
        """Raises ``AlreadyConfirmed``, ``AppointmentIsCancelled``."""
        if self.status == AppointmentStatus.CONFIRMED:
            raise AlreadyConfirmed
        self._change(AppointmentStatus.CONFIRMED, now)

    def move(self, starts_at: datetime, ends_at: datetime, now: datetime, *, revive: bool = False) -> None:
        """To another time; a moved appointment is to be confirmed anew. Raises ``AppointmentIsCancelled``."""
        if revive and self.status == AppointmentStatus.CANCELLED:
            self.status = AppointmentStatus.BOOKED
        self._change(AppointmentStatus.BOOKED, now)
        self.starts_at, self.ends_at = starts_at, ends_at

    def cancel(self, now: datetime) -> None:
        """Raises ``AppointmentIsCancelled``."""
        self._change(AppointmentStatus.CANCELLED, now)

    def _change(self, status: AppointmentStatus, now: datetime) -> None:
        if self.status == AppointmentStatus.CANCELLED:
            raise AppointmentIsCancelled
        self.status, self.updated_at = status, now
        self.version += 1


class ExternalBooking(SchedulingBase):
    """Which appointment an outside booking uid belongs to."""

    __tablename__ = "external_booking"

    practice_id: Mapped[UUID] = mapped_column(primary_key=True)
    uid: Mapped[str] = mapped_column(primary_key=True)
    appointment_id: Mapped[UUID]
