"""What is remembered: patients, their timeline, and saved filters. Changes are methods that refuse."""

from __future__ import annotations

from datetime import date, datetime
from typing import Any
from uuid import UUID

from sqlalchemy import DateTime, MetaData
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column

from libs.common.db import Base
from libs.contracts.conditions import Blocks
from libs.contracts.patients import PatientDetails
from services.patients.rules.details import changed_fields, tag_key


class PatientsBase(Base):
    __abstract__ = True
    metadata = MetaData(schema="patients")


class Patient(PatientsBase):
    """A person the practice treats."""

    __tablename__ = "patient"

    practice_id: Mapped[UUID] = mapped_column(primary_key=True)
    id: Mapped[UUID] = mapped_column(primary_key=True)
    version: Mapped[int]
    given_name: Mapped[str]
    family_name: Mapped[str]
    email: Mapped[str | None]
    phone: Mapped[str | None]
    birth_date: Mapped[date | None]
    time_zone: Mapped[str | None]
    created_at: Mapped[datetime] = mapped_column(DateTime(timezone=True))
    updated_at: Mapped[datetime] = mapped_column(DateTime(timezone=True))

    def details(self) -> PatientDetails:
        return PatientDetails(
            given_name=self.given_name, family_name=self.family_name, email=self.email, phone=self.phone, birth_date=self.birth_date,
            time_zone=self.time_zone,
        )  # fmt: skip

    def change(self, changes: dict[str, Any], now: datetime) -> list[str]:
        """Apply the changes; returns the names of the fields that differ. Nothing differs: nothing happens."""
        changed = changed_fields({name: getattr(self, name) for name in changes}, changes)
        if changed:
            for name in changed:
                setattr(self, name, changes[name])
            self.version += 1
            self.updated_at = now
        return changed


class TimelineEntry(PatientsBase):
    """Something that happened to a patient, as an event of some service told it."""

    __tablename__ = "timeline_entry"

    practice_id: Mapped[UUID] = mapped_column(primary_key=True)
    id: Mapped[UUID] = mapped_column(primary_key=True)
    patient_id: Mapped[UUID]
    at: Mapped[datetime] = mapped_column(DateTime(timezone=True))
    kind: Mapped[str]
    subject: Mapped[str]
    actor: Mapped[str]
    correlation_id: Mapped[str]
    details: Mapped[dict[str, Any]] = mapped_column(JSONB)


class SavedFilter(PatientsBase):
    """A filter over patients that somebody keeps under a name. ``key`` is the same for names people take for the same."""

    __tablename__ = "patient_filter"

    practice_id: Mapped[UUID] = mapped_column(primary_key=True)
    id: Mapped[UUID] = mapped_column(primary_key=True)
    version: Mapped[int]
    owned_by: Mapped[str]
    visibility: Mapped[str]
    key: Mapped[str]
    name: Mapped[str]
    condition: Mapped[dict[str, Any]] = mapped_column(JSONB)
    created_at: Mapped[datetime] = mapped_column(DateTime(timezone=True))
    updated_at: Mapped[datetime] = mapped_column(DateTime(timezone=True))

    @property
    def blocks(self) -> Blocks:
        return Blocks.model_validate(self.condition)

    def change(self, changes: dict[str, Any], now: datetime) -> list[str]:
        """Apply the changes; returns the names of the fields that differ. Nothing differs: nothing happens."""
        changed = changed_fields({name: getattr(self, name) for name in changes}, changes)
        if changed:
            for name in changed:
                setattr(self, name, changes[name])
            self.key = tag_key(self.name)
            self.version += 1
            self.updated_at = now
        return changed
