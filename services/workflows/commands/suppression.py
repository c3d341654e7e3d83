"""The suppression list: patients who go through no workflow. Their runs end when they are put on it."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from pydantic import BaseModel

from libs.common.command import Command, Line
from libs.common.errors import NotFound
from libs.common.work import Tx
from services.workflows.commands.controls import stop
from services.workflows.commands.published import PublishedWorkflows
from services.workflows.commands.runs import SUPPRESSED
from services.workflows.commands.serial import one_at_a_time
from services.workflows.queries.operations import runs_of_patient
from services.workflows.queries.world import patients

STOPPED_AT_ONCE = 100

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


async def suppress_patient(patient_id: UUID, cmd: SuppressPatient, published: PublishedWorkflows, tx: Tx) -> Suppression:
    """Nothing more happens for this patient: nothing starts, and what goes on ends as ``suppressed`` before its next step.

    What was asked for already is not taken back. Repeating changes the reason. Raises ``PatientNotKnown``.
    """
    await one_at_a_time([tx.practice_id], tx)
    if not await patients([(tx.practice_id, patient_id)], tx):
        raise PatientNotKnown
    row = await tx.row(_SUPPRESS, tx.practice_id, patient_id, cmd.reason, tx.principal.actor, tx.now)
    assert row is not None
    while ids := await runs_of_patient(patient_id, STOPPED_AT_ONCE, tx):
        await stop(ids, SUPPRESSED, published, tx)
    return Suppression.model_validate(dict(row))


async def admit_patient(patient_id: UUID, tx: Tx) -> None:
    """Off the list; what ended stays ended. Raises ``NotSuppressed``."""
    await one_at_a_time([tx.practice_id], tx)
    if await tx.execute(_ADMIT, tx.practice_id, patient_id) == "DELETE 0":
        raise NotSuppressed
