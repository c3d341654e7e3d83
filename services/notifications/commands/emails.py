"""Send an e-mail once: what the patient is sent is written down when it is planned, and what became of it when it is known."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol
from uuid import UUID

from pydantic import BaseModel, Field

from libs.common.actions import Effect, NewsAwaited, NotSent, OutcomeUnknown, Rejected, Request, Settled
from libs.common.actions.outcomes import Attempt
from libs.common.command import LINE_SCHEMA, TEXT_SCHEMA, Command, Line, Text
from libs.common.errors import Refused
from libs.common.secrets import SealBroken, SecretBox
from libs.common.work import Tx, Work
from libs.contracts.actions import Outcome
from libs.contracts.notifications import EmailAccepted, MessageStatus
from services.notifications.commands.settings import PURPOSE, EmailNotConfigured
from services.notifications.rules.mail import Email, ProviderAnswer

PROVIDER = "sendgrid"
_CONTACTS = """
SELECT c.practice_id, c.patient_id, c.name, c.email FROM unnest($1::uuid[], $2::uuid[]) AS t (practice_id, patient_id)
JOIN contact c USING (practice_id, patient_id)
"""
_MESSAGES = """
INSERT INTO message (practice_id, id, effect_key, patient_id, to_email, to_name, subject, body, status, status_at, created_at)
SELECT p, i, k, pt, e, n, s, b, $9, $10, $10 FROM unnest($1::uuid[], $2::uuid[], $3::uuid[], $4::uuid[], $5::text[], $6::text[], $7::text[],
  $8::text[]) AS t (p, i, k, pt, e, n, s, b) ON CONFLICT DO NOTHING
"""
_WRITTEN = """
SELECT m.practice_id, m.effect_key, m.id, m.patient_id, m.to_email, m.to_name, m.subject, m.body, s.api_key, s.sender_email, s.sender_name
FROM unnest($1::uuid[], $2::uuid[]) AS t (practice_id, effect_key) JOIN message m USING (practice_id, effect_key)
LEFT JOIN email_settings s USING (practice_id)
"""
_STATUS = """
UPDATE message m SET status = t.status, status_at = $4 FROM unnest($1::uuid[], $2::uuid[], $3::text[]) AS t (practice_id, id, status)
WHERE m.practice_id = t.practice_id AND m.id = t.id AND m.status IN ('queued', 'unknown')
"""
_STATUSES = {
    Outcome.SUCCEEDED: MessageStatus.SENT,
    Outcome.FAILED: MessageStatus.FAILED,
    Outcome.UNKNOWN: MessageStatus.UNKNOWN,
    None: MessageStatus.QUEUED,
}


class SendEmail(Command):
    """The parameters of the action ``send_email``: a subject of one line, a text of several."""

    subject: Line = Field(title="Subject", description="One line, at most 200 characters.", json_schema_extra=LINE_SCHEMA)
    text: Text = Field(title="Text", description="Plain text, at most 20,000 characters.", json_schema_extra=TEXT_SCHEMA)


class SendEmailResult(BaseModel):
    message_id: UUID = Field(title="Message", description="The message's id here.")
    provider_message_id: str = Field(title="Provider's id", description="What the provider calls the message.")


class PatientUnknown(NewsAwaited):
    """No such patient, or news of them is still on its way."""


class PatientHasNoEmail(Refused):
    """The patient has no e-mail address."""


class PatientMissing(Refused):
    """An e-mail goes to a patient; none was named."""


class EmailKeyUnreadable(Refused):
    """The practice's SendGrid key cannot be opened."""


class EmailRejected(Rejected):
    """The provider did not take the e-mail."""


class EmailNotTaken(NotSent):
    """The provider did not take the e-mail."""


class EmailUnknown(OutcomeUnknown):
    """Whether the provider took the e-mail is unknown."""


class Mailer(Protocol):
    """Sends one e-mail and says what came of it; looks one up, raising when the provider cannot say."""

    async def send(self, email: Email) -> ProviderAnswer: ...

    async def find(self, api_key: str, effect_key: UUID) -> str | None: ...


class EmailBooks:
    """The message of each effect: whom it goes to is settled when it is planned."""

    async def plan(self, requests: Sequence[Request], tx: Tx) -> None:
        """Raises ``PatientUnknown`` when a patient's details have not arrived: the message waits and comes again."""
        asked = [request.event for request in requests]
        rows = await tx.rows(_CONTACTS, [e.practice_id for e in asked], [e.data.patient_id for e in asked])
        contacts = {(row["practice_id"], row["patient_id"]): row for row in rows}
        taken: list[tuple[Request, Any]] = []
        for request in requests:
            about = request.event.practice_id, request.event.data.patient_id
            if about[1] is None:
                request.refused = PatientMissing()
            elif about not in contacts:
                raise PatientUnknown
            elif not contacts[about]["email"]:
                request.refused = PatientHasNoEmail()
            else:
                taken.append((request, contacts[about]))
        if taken:
            await _write(taken, tx)

    async def claim(self, effects: Sequence[Effect], tx: Tx) -> Mapping[tuple[UUID, UUID], Any]:
        return await _written(effects, tx)

    async def record(self, settled: Sequence[Settled], tx: Tx) -> None:
        written = await _written([item.effect for item in settled], tx)
        rows = [written[item.effect.practice_id, item.effect.key] for item in settled]
        statuses = [_STATUSES[item.outcome] for item in settled]
        await tx.execute(_STATUS, [row["practice_id"] for row in rows], [row["id"] for row in rows], statuses, tx.now)
        for item, row in zip(settled, rows, strict=True):
            if item.outcome is Outcome.SUCCEEDED:
                accepted = EmailAccepted(
                    message_id=row["id"], patient_id=row["patient_id"], effect_key=row["effect_key"], provider=PROVIDER,
                    provider_message_id=item.result["provider_message_id"], email_subject=row["subject"],
                )  # fmt: skip
                tx.emit(accepted, because=item.cause, practice_id=row["practice_id"])


async def _write(taken: Sequence[tuple[Request, Any]], tx: Tx) -> None:
    asked, people = [request.event for request, _ in taken], [contact for _, contact in taken]
    emails: list[SendEmail] = [request.parameters for request, _ in taken]
    await tx.execute(
        _MESSAGES, [e.practice_id for e in asked], [tx.new_id() for _ in asked], [e.data.effect_key for e in asked],
        [e.data.patient_id for e in asked], [contact["email"] for contact in people], [contact["name"] for contact in people],
        [email.subject for email in emails], [email.text for email in emails], MessageStatus.QUEUED, tx.now,
    )  # fmt: skip


async def _written(effects: Sequence[Effect], tx: Tx) -> dict[tuple[UUID, UUID], Any]:
    rows = await tx.rows(_WRITTEN, [effect.practice_id for effect in effects], [effect.key for effect in effects])
    return {(row["practice_id"], row["effect_key"]): row for row in rows}


async def send_email(parameters: SendEmail, effect: Effect, work: Work, mailer: Mailer, box: SecretBox) -> SendEmailResult:  # noqa: ARG001 - the shape
    """One call to the provider, about the message as it was planned."""
    row = effect.loaded
    email = Email(
        practice_id=effect.practice_id, effect_key=effect.key, message_id=row["id"], api_key=_key_of(row, box),
        sender_email=row["sender_email"], sender_name=row["sender_name"], to_email=row["to_email"], to_name=row["to_name"],
        subject=row["subject"], text=row["body"], traceparent=effect.traceparent,
    )  # fmt: skip
    answer = await mailer.send(email)
    match answer.attempt:
        case Attempt.ACCEPTED:
            return SendEmailResult(message_id=row["id"], provider_message_id=answer.provider_message_id)
        case Attempt.REFUSED:
            raise EmailRejected(answer.code)
        case Attempt.NOT_SENT:
            raise EmailNotTaken(answer.code, after_seconds=answer.retry_after_seconds)
        case Attempt.LOST | Attempt.REPEATABLE:
            raise EmailUnknown(answer.code)


async def find_email(parameters: SendEmail, effect: Effect, work: Work, mailer: Mailer, box: SecretBox) -> SendEmailResult | None:  # noqa: ARG001 - the shape
    """Whether the provider has it: its own records, complete after a while."""
    found = await mailer.find(_key_of(effect.loaded, box), effect.key)
    return None if found is None else SendEmailResult(message_id=effect.loaded["id"], provider_message_id=found)


def _key_of(row: Any, box: SecretBox) -> str:
    if row["api_key"] is None:
        raise EmailNotConfigured
    try:
        return box.open(row["practice_id"], PURPOSE, row["api_key"])
    except SealBroken:
        raise EmailKeyUnreadable from None
