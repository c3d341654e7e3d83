"""Take requests to send: each effect key becomes one message and one planned effect, or one refusal, once."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from uuid import UUID

from pydantic import BaseModel

from libs.common.actions import ActionUnknown, parameters_of
from libs.common.command import Command, Line, Text
from libs.common.errors import NotFound, Refused, Trouble
from libs.common.messaging import Received
from libs.common.work import Tx
from libs.contracts.actions import ActionError, Outcome
from libs.contracts.notifications import ActionFinished, MessageStatus, PerformAction
from services.notifications.rules import EffectState

LEASE_SECONDS = 30
"""A planned or dispatched effect nobody finished within this time is taken up by the recovery duty."""


class SendEmail(Command):
    """The parameters of the action ``send_email``: a subject of one line, a text of several."""

    subject: Line
    text: Text


class SendEmailResult(BaseModel):
    message_id: UUID
    provider_message_id: str


class PatientUnknown(NotFound):
    """No such patient, or news of them is still on its way."""


class PatientHasNoEmail(Refused):
    """The patient has no e-mail address."""


class PatientMissing(Refused):
    """An e-mail goes to a patient; none was named."""


@dataclass(frozen=True)
class Planned:
    """One effect that is to be performed."""

    practice_id: UUID
    effect_key: UUID


_CONTACTS = """
SELECT c.practice_id, c.patient_id, c.name, c.email FROM unnest($1::uuid[], $2::uuid[]) AS t (practice_id, patient_id)
JOIN contact c USING (practice_id, patient_id)
"""
_MESSAGES = """
INSERT INTO message (practice_id, id, effect_key, patient_id, to_email, to_name, subject, body, status, status_at, created_at)
SELECT p, i, k, pt, e, n, s, b, $9, $10, $10 FROM unnest($1::uuid[], $2::uuid[], $3::uuid[], $4::uuid[], $5::text[], $6::text[], $7::text[],
  $8::text[]) AS t (p, i, k, pt, e, n, s, b) ON CONFLICT DO NOTHING
"""
_EFFECTS = """
INSERT INTO effect (practice_id, effect_key, message_id, run_id, step_id, action, state, correlation_id, causation_id, traceparent, planned_at)
SELECT p, k, i, r, st, a, $10, c, ca, tp, $11 FROM unnest($1::uuid[], $2::uuid[], $3::uuid[], $4::uuid[], $5::text[], $6::text[], $7::text[],
  $8::text[], $9::text[]) AS t (p, k, i, r, st, a, c, ca, tp) ON CONFLICT DO NOTHING RETURNING practice_id, effect_key
"""
_DUE = "INSERT INTO effect_due SELECT p, k, $3 FROM unnest($1::uuid[], $2::uuid[]) AS t (p, k) ON CONFLICT DO NOTHING"


async def plan_emails(events: list[Received[PerformAction]], tx: Tx) -> list[Planned]:
    """Plan what is asked for; say at once what cannot be done. Returns what is to be performed after the commit.

    Raises ``PatientUnknown`` when a patient's details have not arrived: the message waits and comes again.
    """
    rows = await tx.rows(_CONTACTS, [e.practice_id for e in events], [e.data.patient_id for e in events])
    contacts = {(row["practice_id"], row["patient_id"]): row for row in rows}
    accepted: list[tuple[Received[PerformAction], SendEmail, Any]] = []
    for event in events:
        try:
            accepted.append((event, _checked(event), _contact(event, contacts)))
        except PatientUnknown:
            raise
        except Trouble as trouble:
            _refuse(event, trouble, tx)
    if not accepted:
        return []
    return await _insert(accepted, tx)


def _checked(event: Received[PerformAction]) -> SendEmail:
    if event.data.action != "send_email":
        raise ActionUnknown
    if event.data.patient_id is None:
        raise PatientMissing
    return parameters_of(event.data, SendEmail)


def _contact(event: Received[PerformAction], contacts: dict[tuple[UUID, UUID | None], Any]) -> Any:
    contact = contacts.get((event.practice_id, event.data.patient_id))
    if contact is None:
        raise PatientUnknown
    if not contact["email"]:
        raise PatientHasNoEmail
    return contact


def _refuse(event: Received[PerformAction], trouble: Trouble, tx: Tx) -> None:
    request = event.data
    tx.emit(
        ActionFinished(
            effect_key=request.effect_key, action=request.action, run_id=request.run_id, step_id=request.step_id,
            outcome=Outcome.FAILED, error=ActionError(code=trouble.code, message=trouble.message),
        ),
        because=event,
    )  # fmt: skip


async def _insert(accepted: list[tuple[Received[PerformAction], SendEmail, Any]], tx: Tx) -> list[Planned]:
    practices = [event.practice_id for event, _, _ in accepted]
    keys = [event.data.effect_key for event, _, _ in accepted]
    ids = [tx.new_id() for _ in accepted]
    await tx.execute(
        _MESSAGES, practices, ids, keys, [event.data.patient_id for event, _, _ in accepted], [contact["email"] for _, _, contact in accepted],
        [contact["name"] for _, _, contact in accepted], [email.subject for _, email, _ in accepted], [email.text for _, email, _ in accepted],
        MessageStatus.QUEUED, tx.now,
    )  # fmt: skip
    rows = await tx.rows(
        _EFFECTS, practices, keys, ids, [event.data.run_id for event, _, _ in accepted], [event.data.step_id for event, _, _ in accepted],
        [event.data.action for event, _, _ in accepted], [event.correlation_id for event, _, _ in accepted],
        [str(event.id) for event, _, _ in accepted], [event.cause.traceparent for event, _, _ in accepted], EffectState.PLANNED, tx.now,
    )  # fmt: skip
    planned = [Planned(row["practice_id"], row["effect_key"]) for row in rows]
    if planned:
        due = tx.now + timedelta(seconds=LEASE_SECONDS)
        await tx.execute(_DUE, [effect.practice_id for effect in planned], [effect.effect_key for effect in planned], due)
    return planned
