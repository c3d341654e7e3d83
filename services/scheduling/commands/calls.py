"""Take a provider's reports about calls, each once and in any order; show and list calls.

What was said in a call is kept sealed, and is in no event.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime, timedelta
from typing import Self
from uuid import UUID

from pydantic import BaseModel

from libs.common.actions.effects import Finished, Key
from libs.common.actions.outcomes import Answer, Attempt
from libs.common.errors import NotFound
from libs.common.secrets import SecretBox
from libs.common.telemetry import Cause
from libs.common.work import Tx
from libs.contracts.scheduling import CallAnalyzed, CallEnded, CallStarted, CallStatus, CallsViewed
from services.scheduling.model import Call
from services.scheduling.queries import call_by_id, call_reported, calls_newest_first, lock, lock_keys, patient_of
from services.scheduling.rules.attendees import AttendeeDetails
from services.scheduling.rules.calls import CallReport, News

RETELL = "retell"
PURPOSE = "what was said in a call"
ASK_AFTER = timedelta(minutes=10)
RecordIn = Callable[[Sequence[Finished], Tx], Awaitable[None]]

# Whoever changes a call that we asked for holds its effect first: recording an outcome and taking a report cannot wait for each other.
_HOLD = """
SELECT effect_key, correlation_id, causation_id, traceparent FROM effect WHERE practice_id = $1 AND effect_key = $2 FOR UPDATE
"""


_ASK_LATER = """
INSERT INTO call_due (practice_id, call_id, due_at) SELECT $1, id, $3 FROM unnest($2::uuid[]) AS t (id)
ON CONFLICT (practice_id, call_id) DO UPDATE SET due_at = excluded.due_at
"""


class CallNotFound(NotFound):
    """No such call."""


class CallView(BaseModel):
    """A call as the API lists it. Times are UTC; ``patient_id`` is null for a caller nobody is known by."""

    id: UUID
    direction: str
    status: str
    patient_id: UUID | None
    from_number: str | None
    to_number: str | None
    agent_id: str
    provider: str
    external_id: str | None
    effect_key: UUID | None
    started_at: datetime | None
    ended_at: datetime | None
    duration_seconds: int | None
    disconnection_reason: str | None
    successful: bool | None
    in_voicemail: bool | None
    sentiment: str | None
    created_at: datetime

    @classmethod
    def of(cls, call: Call) -> Self:
        return cls.model_validate(call, from_attributes=True)


class CallRecord(CallView):
    """A call with what was said in it, as far as the provider told."""

    summary: str | None
    transcript: str | None


async def take_report(report: CallReport, box: SecretBox, record_in: RecordIn, tx: Tx) -> tuple[News, ...]:
    """Apply one report and say what is new; a repetition, a late or an overtaken one says nothing.

    A report about a call whose request had no answer ends that doubt.
    """
    effect = await tx.row(_HOLD, tx.practice_id, report.effect_key)
    await lock(lock_keys(tx.practice_id, calls=(report.external_id,)), tx)
    if not await tx.once(RETELL, f"{report.kind}|{report.external_id}"):
        return ()
    call = await call_reported(report.external_id, report.effect_key, tx)
    if call is None:
        call = await _unheard_of(report, tx)
        tx.session.add(call)
    news = call.hear(report, tx.now)
    if effect is not None and call.effect_key == effect["effect_key"]:
        await tx.flush()
        await record_in([Finished(Key(tx.practice_id, effect["effect_key"]), _accepted(call))], tx)
        tx.cause = Cause(effect["correlation_id"], effect["causation_id"], effect["traceparent"], "")
    if report.transcript is not None:
        call.transcript = box.seal(tx.practice_id, PURPOSE, report.transcript)
    if report.summary is not None:
        call.summary = box.seal(tx.practice_id, PURPOSE, report.summary)
    await tx.flush()
    if News.ANALYZED in call.told:
        await forget(call.practice_id, call.id, tx)
    else:
        await ask_later([call.id], tx)
    _say(call, news, tx)
    return news


async def ask_later(call_ids: Sequence[UUID], tx: Tx) -> None:
    """When nobody reports about these calls in time, the provider is asked what became of them."""
    await tx.execute(_ASK_LATER, tx.practice_id, call_ids, tx.now + ASK_AFTER)


async def forget(practice_id: UUID, call_id: UUID, tx: Tx) -> None:
    """Nobody has to ask about this call any more."""
    await tx.execute("DELETE FROM call_due WHERE practice_id = $1 AND call_id = $2", practice_id, call_id)


def _accepted(call: Call) -> Answer:
    return Answer(Attempt.ACCEPTED, result={"call_id": str(call.id), "external_id": call.external_id})


async def _unheard_of(report: CallReport, tx: Tx) -> Call:
    """Somebody called the practice, or was called by other means than ours. Whose number it is tells who."""
    patient_id = await patient_of(AttendeeDetails(phone=report.other_number), tx) if report.other_number else None
    return Call(
        practice_id=tx.practice_id, id=tx.new_id(), direction=report.direction.value, status=CallStatus.REGISTERED.value, provider=RETELL,
        external_id=report.external_id, patient_id=patient_id, agent_id=report.agent_id, told=[], created_at=tx.now, updated_at=tx.now,
    )  # fmt: skip


def _say(call: Call, news: tuple[News, ...], tx: Tx) -> None:
    ended_at = call.ended_at or tx.now
    if News.STARTED in news:
        tx.emit(CallStarted(**call.state(), started_at=call.started_at or ended_at))
    if News.ENDED in news:
        ended = CallEnded(
            **call.state(), connected=call.status == CallStatus.ENDED, ended_at=ended_at, duration_seconds=call.duration_seconds or 0,
            disconnection_reason=call.disconnection_reason,
        )  # fmt: skip
        tx.emit(ended)
    if News.ANALYZED in news:
        tx.emit(CallAnalyzed(**call.state(), successful=call.successful, in_voicemail=call.in_voicemail, sentiment=call.sentiment))


async def show_call(call_id: UUID, box: SecretBox, tx: Tx) -> CallRecord:
    """Read one; that it was read is said in the same transaction. Raises ``CallNotFound``."""
    call = await call_by_id(call_id, tx)
    if call is None:
        raise CallNotFound
    tx.emit(CallsViewed(call_ids=[call.id], view="record"))
    said = {name: _opened(box, call.practice_id, sealed) for name, sealed in (("summary", call.summary), ("transcript", call.transcript))}
    return CallRecord(**CallView.of(call).model_dump(), **said)


def _opened(box: SecretBox, practice_id: UUID, sealed: bytes | None) -> str | None:
    return box.open(practice_id, PURPOSE, sealed) if sealed is not None else None


async def list_calls(tx: Tx, *, patient_id: UUID | None, after: tuple[str, ...] | None, limit: int) -> list[CallView]:
    """Newest first; one more than ``limit`` when there is more. That they were read is said in the same transaction."""
    found = await calls_newest_first(tx, patient_id=patient_id, after=after, limit=limit)
    if found:
        tx.emit(CallsViewed(call_ids=[call.id for call in found[:limit]], view="list"))
    return [CallView.of(call) for call in found]
