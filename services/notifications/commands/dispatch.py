"""Perform planned effects: mark, call, record. Each step says what is true if we die after it.

planned: nothing was sent. dispatched: perhaps it was. Only a recorded outcome, a look-up or a delivery report ends that
doubt; it is never ended by sending again blindly.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from uuid import UUID

from libs.common.auth import Principal
from libs.common.secrets import SealBroken, SecretBox
from libs.common.telemetry import Cause
from libs.common.work import Tx, Work
from libs.contracts.actions import ActionError, Outcome
from libs.contracts.notifications import ActionFinished, EmailAccepted, MessageStatus
from services.notifications.commands.plan import LEASE_SECONDS, Planned, SendEmailResult
from services.notifications.commands.settings import PURPOSE
from services.notifications.rules import Attempt, EffectState, Email, ProviderAnswer, next_state, retry_pause

PROVIDER = "sendgrid"
_MARK = """
UPDATE effect e SET state = 'dispatched', attempts = attempts + 1, dispatched_at = $3
FROM unnest($1::uuid[], $2::uuid[]) AS t (practice_id, effect_key), message m
WHERE e.practice_id = t.practice_id AND e.effect_key = t.effect_key AND e.state = 'planned'
  AND NOT EXISTS (SELECT 1 FROM access_practice a WHERE a.practice_id = e.practice_id AND a.suspended)
  AND m.practice_id = e.practice_id AND m.id = e.message_id
RETURNING e.practice_id, e.effect_key, e.traceparent, m.id AS message_id, m.to_email, m.to_name, m.subject, m.body
"""
_POSTPONE = """
UPDATE effect_due d SET due_at = t.due_at FROM unnest($1::uuid[], $2::uuid[], $3::timestamptz[]) AS t (practice_id, effect_key, due_at)
WHERE d.practice_id = t.practice_id AND d.effect_key = t.effect_key
"""
_SETTINGS = "SELECT practice_id, api_key, sender_email, sender_name FROM email_settings WHERE practice_id = ANY($1::uuid[])"
_LOCK = """
SELECT e.*, m.patient_id, m.subject, m.status FROM unnest($1::uuid[], $2::uuid[]) AS t (practice_id, effect_key)
JOIN effect e USING (practice_id, effect_key) JOIN message m ON m.practice_id = e.practice_id AND m.id = e.message_id
WHERE e.state IN ('planned', 'dispatched', 'unknown') ORDER BY e.practice_id, e.effect_key FOR UPDATE OF e
"""
_RECORD = """
UPDATE effect e SET state = t.state, provider_message_id = coalesce(nullif(t.provider_message_id, ''), e.provider_message_id),
  error_code = nullif(t.code, ''), finished_at = CASE WHEN t.state IN ('confirmed', 'failed') THEN $6::timestamptz END
FROM unnest($1::uuid[], $2::uuid[], $3::text[], $4::text[], $5::text[]) AS t (practice_id, effect_key, state, provider_message_id, code)
WHERE e.practice_id = t.practice_id AND e.effect_key = t.effect_key
"""
_STATUS = """
UPDATE message m SET status = t.status, status_at = $4 FROM unnest($1::uuid[], $2::uuid[], $3::text[]) AS t (practice_id, id, status)
WHERE m.practice_id = t.practice_id AND m.id = t.id AND m.status IN ('queued', 'unknown')
"""
_DONE = "DELETE FROM effect_due d USING unnest($1::uuid[], $2::uuid[]) AS t (p, k) WHERE d.practice_id = t.p AND d.effect_key = t.k"
_MESSAGE_STATUS = {
    EffectState.CONFIRMED: MessageStatus.SENT,
    EffectState.FAILED: MessageStatus.FAILED,
    EffectState.UNKNOWN: MessageStatus.UNKNOWN,
    EffectState.PLANNED: MessageStatus.QUEUED,
}


@dataclass(frozen=True)
class Finished:
    """What one call came to."""

    practice_id: UUID
    effect_key: UUID
    answer: ProviderAnswer


async def mark_dispatched(planned: Sequence[Planned], work: Work, box: SecretBox) -> tuple[list[Email], list[Finished]]:
    """Claim planned effects for this process; returns what to send, and what cannot be for want of settings.

    After this commit an e-mail may be on its way. If we die before its outcome is recorded, the recovery duty asks the
    provider; nobody sends it again without asking.
    """
    practices = {effect.practice_id for effect in planned}
    async with work.batch(practices, Principal.system("dispatcher")) as tx:
        settings = {row["practice_id"]: row for row in await tx.rows(_SETTINGS, list(practices))}
        rows = await tx.rows(_MARK, [effect.practice_id for effect in planned], [effect.effect_key for effect in planned], tx.now)
        lease = tx.now + timedelta(seconds=LEASE_SECONDS)
        keys = [row["practice_id"] for row in rows], [row["effect_key"] for row in rows]
        await tx.execute(_POSTPONE, *keys, [lease] * len(rows))
    emails: list[Email] = []
    unable: list[Finished] = []
    for row in rows:
        try:
            emails.append(_email(row, settings[row["practice_id"]], box))
        except (KeyError, SealBroken) as error:
            code = "email_not_configured" if isinstance(error, KeyError) else "email_key_unreadable"
            unable.append(Finished(row["practice_id"], row["effect_key"], ProviderAnswer(Attempt.REFUSED, code=code)))
    return emails, unable


def _email(row: Any, settings: Any, box: SecretBox) -> Email:
    return Email(
        practice_id=row["practice_id"], effect_key=row["effect_key"], message_id=row["message_id"],
        api_key=box.open(row["practice_id"], PURPOSE, settings["api_key"]), sender_email=settings["sender_email"],
        sender_name=settings["sender_name"], to_email=row["to_email"], to_name=row["to_name"], subject=row["subject"], text=row["body"],
        traceparent=row["traceparent"],
    )  # fmt: skip


async def record(finished: Sequence[Finished], work: Work, lookup_after_seconds: float, jitter: float) -> None:
    """Write down what calls came to, and say it. Durable together; a second report about a finished effect changes nothing."""
    async with work.batch({item.practice_id for item in finished}, Principal.system("dispatcher")) as tx:
        await record_in(finished, tx, lookup_after_seconds, jitter)


async def record_in(finished: Sequence[Finished], tx: Tx, lookup_after_seconds: float, jitter: float) -> None:
    answers = {(item.practice_id, item.effect_key): item.answer for item in finished}
    effects = await tx.rows(_LOCK, [key[0] for key in answers], [key[1] for key in answers])
    if not effects:
        return
    states = [next_state(answers[e["practice_id"], e["effect_key"]], e["attempts"]) for e in effects]
    practices, keys = [e["practice_id"] for e in effects], [e["effect_key"] for e in effects]
    told = [answers[pair] for pair in zip(practices, keys, strict=True)]
    await tx.execute(
        _RECORD, practices, keys, states, [answer.provider_message_id for answer in told], [answer.code for answer in told], tx.now
    )
    await tx.execute(_STATUS, practices, [e["message_id"] for e in effects], [_MESSAGE_STATUS[state] for state in states], tx.now)
    final = [i for i, state in enumerate(states) if state in {EffectState.CONFIRMED, EffectState.FAILED}]
    open_ = [i for i in range(len(states)) if i not in set(final)]
    if final:
        await tx.execute(_DONE, [practices[i] for i in final], [keys[i] for i in final])
    if open_:
        due = [tx.now + timedelta(seconds=_pause(states[i], told[i], effects[i]["attempts"], lookup_after_seconds, jitter)) for i in open_]
        await tx.execute(_POSTPONE, [practices[i] for i in open_], [keys[i] for i in open_], due)
    for effect, state, answer in zip(effects, states, told, strict=True):
        _say(effect, state, answer, tx)


def _pause(state: EffectState, answer: ProviderAnswer, attempts: int, lookup_after_seconds: float, jitter: float) -> float:
    if state is EffectState.UNKNOWN:
        return lookup_after_seconds
    return retry_pause(attempts, answer.retry_after_seconds, jitter)


def _say(effect: Any, state: EffectState, answer: ProviderAnswer, tx: Tx) -> None:
    """The events of an outcome. A planned retry says nothing; a second ``unknown`` neither."""
    if state is EffectState.PLANNED or effect["state"] == state:
        return
    cause = Cause(effect["correlation_id"], effect["causation_id"], effect["traceparent"], "")
    practice_id = effect["practice_id"]
    result: dict[str, Any] = {}
    error = None
    if state is EffectState.CONFIRMED:
        found = answer.provider_message_id or effect["provider_message_id"] or ""
        result = SendEmailResult(message_id=effect["message_id"], provider_message_id=found).model_dump(mode="json")
        accepted = EmailAccepted(
            message_id=effect["message_id"], patient_id=effect["patient_id"], effect_key=effect["effect_key"], provider=PROVIDER,
            provider_message_id=found, email_subject=effect["subject"],
        )  # fmt: skip
        tx.emit(accepted, because=cause, practice_id=practice_id)
    else:
        message = (
            "The provider did not take the e-mail." if state is EffectState.FAILED else "Whether the provider took the e-mail is unknown."
        )
        error = ActionError(code=answer.code or "provider_refused", message=message)
    outcomes = {EffectState.CONFIRMED: Outcome.SUCCEEDED, EffectState.FAILED: Outcome.FAILED, EffectState.UNKNOWN: Outcome.UNKNOWN}
    finished = ActionFinished(
        effect_key=effect["effect_key"], action=effect["action"], run_id=effect["run_id"], step_id=effect["step_id"],
        outcome=outcomes[state], error=error, result=result,
    )  # fmt: skip
    tx.emit(finished, because=cause, practice_id=practice_id)
