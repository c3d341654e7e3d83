"""The suppression list: patients who go through no workflow. Runs that go on are not touched."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from pydantic import BaseModel

from libs.common.command import Command, Line
from libs.common.errors import NotFound
from libs.common.work import Tx
from services.workflows.commands.serial import one_at_a_time
from services.workflows.queries.world import patients

_SUPPRESS = """
INSERT INTO suppression (practice_id, patient_id, reason, created_by, created_at) VALUES ($1, $2, $3, $4, $5)
ON CONFLICT (practice_id, patient_id) DO UPDATE SET reason = excluded.reason RETURNING *
"""
_ADMIT = "DELETE FROM suppression WHERE practice_id = $1 AND patient_id = $2"


class PatientNotKnown(NotFound):
    """No such patient is known here."""


class NotSuppressed(NotFound):
    """The patient is not on the list."""


class SuppressPatient(Command):
    reason: Line


class Suppression(BaseModel):
    """A patient who goes through no workflow, and why. Times are UTC."""

    patient_id: UUID
    reason: str
    created_by: str
    created_at: datetime


async def suppress_patient(patient_id: UUID, cmd: SuppressPatient, tx: Tx) -> Suppression:
    """Starts nothing for this patient from now on; repeating changes the reason. Raises ``PatientNotKnown``."""
    await one_at_a_time([tx.practice_id], tx)
    if not await patients([(tx.practice_id, patient_id)], tx):
        raise PatientNotKnown
    row = await tx.row(_SUPPRESS, tx.practice_id, patient_id, cmd.reason, tx.principal.actor, tx.now)
    assert row is not None
    return Suppression.model_validate(dict(row))


async def admit_patient(patient_id: UUID, tx: Tx) -> None:
    """Off the list. Raises ``NotSuppressed``."""
    await one_at_a_time([tx.practice_id], tx)
    if await tx.execute(_ADMIT, tx.practice_id, patient_id) == "DELETE 0":
        raise NotSuppressed
