"""Take SendGrid's delivery reports: each once, in any order; they also end the doubt about an unknown effect."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from libs.common.actions.effects import Finished, Key
from libs.common.actions.outcomes import Answer, Attempt, EffectState
from libs.common.errors import Unauthenticated
from libs.common.telemetry import Cause
from libs.common.work import Tx
from libs.contracts.notifications import EmailStatusChanged, MessageStatus
from services.notifications.commands.emails import SendEmailResult
from services.notifications.queries import settings_of
from services.notifications.rules.mail import Report, later_status

RecordIn = Callable[[Sequence[Finished], Tx], Awaitable[None]]

# Whoever changes a message holds its effect first, in the order of effect keys: recording an outcome and taking a report
# about the same e-mails cannot wait for each other. Read only afterwards: what was read before the wait may be old.
_HOLD = """
SELECT 1 FROM effect WHERE practice_id = $1
  AND effect_key IN (SELECT effect_key FROM message WHERE practice_id = $1 AND id = ANY($2::uuid[])) ORDER BY effect_key FOR UPDATE
"""
_MESSAGES = """
SELECT m.id, m.patient_id, m.status, e.effect_key, e.state, e.correlation_id, e.causation_id, e.traceparent
FROM message m JOIN effect e ON e.practice_id = m.practice_id AND e.effect_key = m.effect_key
WHERE m.practice_id = $1 AND m.id = ANY($2::uuid[])
"""
_NEW = """
INSERT INTO delivery_event (practice_id, event_key, message_id, status, at)
SELECT $1, k, m, s, a FROM unnest($2::text[], $3::uuid[], $4::text[], $5::timestamptz[]) AS t (k, m, s, a)
ON CONFLICT DO NOTHING RETURNING event_key
"""
_STATUS = "UPDATE message SET status = $3, status_at = $4 WHERE practice_id = $1 AND id = $2"


class WebhookNotConfigured(Unauthenticated):
    """The webhook's signature is not valid here."""

    code = "webhook_refused"


async def check_signature(verify: Callable[[str], None], tx: Tx) -> None:
    """Hand the practice's verification key to ``verify``. An unknown practice answers as a wrong signature does."""
    settings = await settings_of(tx)
    if settings is None:
        raise WebhookNotConfigured
    verify(settings["webhook_key"])


async def take_reports(reports: Sequence[Report], record_in: RecordIn, tx: Tx) -> int:
    """Apply reports; returns how many were new. Reports about messages that are not of this practice are passed over."""
    about = list({report.message_id for report in reports})
    await tx.rows(_HOLD, tx.practice_id, about)
    rows = await tx.rows(_MESSAGES, tx.practice_id, about)
    messages: dict[Any, Any] = {row["id"]: row for row in rows}
    ours = [report for report in reports if report.message_id in messages]
    marked = await tx.rows(
        _NEW, tx.practice_id, [r.key for r in ours], [r.message_id for r in ours], [r.status for r in ours], [r.at for r in ours]
    )
    new_keys = {row["event_key"] for row in marked}
    fresh = [report for report in ours if report.key in new_keys]
    await _end_doubt(fresh, messages, record_in, tx)
    for message_id in {report.message_id for report in fresh}:
        await _apply([report for report in fresh if report.message_id == message_id], messages[message_id], tx)
    return len(fresh)


async def _end_doubt(fresh: Sequence[Report], messages: dict[Any, Any], record_in: RecordIn, tx: Tx) -> None:
    doubtful = {EffectState.DISPATCHED, EffectState.UNKNOWN}
    confirmed = {
        report.effect_key: Finished(Key(tx.practice_id, report.effect_key), _accepted(report))
        for report in fresh
        if messages[report.message_id]["effect_key"] == report.effect_key and messages[report.message_id]["state"] in doubtful
    }
    if confirmed:
        await record_in(list(confirmed.values()), tx)


def _accepted(report: Report) -> Answer:
    result = SendEmailResult(message_id=report.message_id, provider_message_id=report.provider_message_id)
    return Answer(Attempt.ACCEPTED, result=result.model_dump(mode="json"))


async def _apply(reports: Sequence[Report], message: Any, tx: Tx) -> None:
    status = MessageStatus(message["status"])
    for report in sorted(reports, key=lambda report: report.at):
        further = later_status(status, report.status)
        if further is status:
            continue
        status = further
        cause = Cause(message["correlation_id"], message["causation_id"], message["traceparent"], "")
        changed = EmailStatusChanged(
            message_id=message["id"], patient_id=message["patient_id"], status=status, at=report.at, reason_code=report.reason_code
        )
        tx.emit(changed, because=cause)
        await tx.execute(_STATUS, tx.practice_id, message["id"], status, report.at)
