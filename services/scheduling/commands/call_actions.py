"""Call a patient once: whom and from which number is written down when the call is planned, what became of it when it is known."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Protocol
from uuid import UUID

from pydantic import BaseModel, Field, StringConstraints

from libs.common.actions import Effect, NewsAwaited, NotSent, OutcomeUnknown, Rejected, Request, Settled
from libs.common.actions.outcomes import Attempt
from libs.common.command import Command, Text
from libs.common.errors import Refused
from libs.common.secrets import SealBroken, SecretBox
from libs.common.work import Tx, Work
from libs.contracts.actions import Outcome
from libs.contracts.scheduling import CallDirection, CallStatus
from services.scheduling.commands.calls import ASK_AFTER, RETELL
from services.scheduling.commands.retell_settings import API_PURPOSE, AgentId
from services.scheduling.rules.calling import CallAnswer, OutboundCall

MOST_VARIABLES = 30
_CONTACTS = """
SELECT t.practice_id, t.patient_id, c.phone, c.patient_id IS NOT NULL AS known, s.agent_id, s.from_number
FROM unnest($1::uuid[], $2::uuid[]) AS t (practice_id, patient_id) LEFT JOIN contact c USING (practice_id, patient_id)
LEFT JOIN retell_settings s USING (practice_id)
"""
_CALLS = """
INSERT INTO call (practice_id, id, direction, status, provider, effect_key, patient_id, agent_id, from_number, to_number, created_at, updated_at)
SELECT p, i, $8, $9, $10, k, pt, a, f, n, $11, $11 FROM unnest($1::uuid[], $2::uuid[], $3::uuid[], $4::uuid[], $5::text[], $6::text[],
  $7::text[]) AS t (p, i, k, pt, a, f, n) ON CONFLICT DO NOTHING
"""
_WRITTEN = """
SELECT c.practice_id, c.effect_key, c.id, c.to_number, c.agent_id, s.api_key, s.from_number
FROM unnest($1::uuid[], $2::uuid[]) AS t (practice_id, effect_key) JOIN call c USING (practice_id, effect_key)
LEFT JOIN retell_settings s USING (practice_id)
"""
# A report about the call may have been quicker than the answer to our request: it is not taken back.
_BECAME = """
UPDATE call c SET status = t.status, external_id = coalesce(c.external_id, nullif(t.external_id, '')), updated_at = $5
FROM unnest($1::uuid[], $2::uuid[], $3::text[], $4::text[]) AS t (practice_id, effect_key, status, external_id)
WHERE c.practice_id = t.practice_id AND c.effect_key = t.effect_key AND c.status = 'requested' RETURNING c.practice_id, c.id, c.status
"""
_ASK_LATER = "INSERT INTO call_due SELECT p, i, $3 FROM unnest($1::uuid[], $2::uuid[]) AS t (p, i) ON CONFLICT DO NOTHING"
_STATUSES = {Outcome.SUCCEEDED: CallStatus.REGISTERED, Outcome.FAILED: CallStatus.FAILED}

NAME = r"^[A-Za-z][A-Za-z0-9_]{0,63}$"
Name = Annotated[str, StringConstraints(pattern=NAME)]


class StartCall(Command):
    """The parameters of the action ``start_call``."""

    agent_id: AgentId | None = Field(
        default=None, title="Agent", description="Retell's agent that speaks; the practice's own when left out."
    )
    variables: Annotated[dict[Name, Text], Field(max_length=MOST_VARIABLES)] = Field(
        default_factory=dict,
        title="Variables",
        description="What the agent may know: names and texts, as its prompt uses them.",
        json_schema_extra={"propertyNames": {"pattern": NAME, "description": "letters, digits and _, beginning with a letter"}},
    )


class StartCallResult(BaseModel):
    call_id: UUID = Field(title="Call", description="The call's id here.")
    external_id: str = Field(title="Provider's id", description="What the provider calls the call.")


class PatientUnknown(NewsAwaited):
    """No such patient, or news of them is still on its way."""


class PatientMissing(Refused):
    """A call goes to a patient; none was named."""


class PatientHasNoPhone(Refused):
    """The patient has no phone number."""


class CallsNotConfigured(Refused):
    """The practice has not configured calls."""


class RetellKeyUnreadable(Refused):
    """The practice's Retell key cannot be opened."""


class CallRejected(Rejected):
    """The provider did not take the call."""


class CallNotTaken(NotSent):
    """The provider did not take the call."""


class CallUnknown(OutcomeUnknown):
    """Whether the provider took the call is unknown."""


class Dialler(Protocol):
    """Asks for one call and says what came of it; looks one up, raising when the provider cannot say."""

    async def dial(self, call: OutboundCall) -> CallAnswer: ...

    async def find(self, api_key: str, effect_key: UUID) -> str | None: ...


class CallBooks:
    """The call of each effect: whom it goes to is settled when it is planned."""

    async def plan(self, requests: Sequence[Request], tx: Tx) -> None:
        """Raises ``PatientUnknown`` when a patient's details have not arrived: the message waits and comes again."""
        asked = [request.event for request in requests]
        rows = await tx.rows(_CONTACTS, [e.practice_id for e in asked], [e.data.patient_id for e in asked])
        contacts = {(row["practice_id"], row["patient_id"]): row for row in rows}
        taken: list[tuple[Request, Any]] = []
        for request in requests:
            contact = contacts[request.event.practice_id, request.event.data.patient_id]
            if contact["patient_id"] is None:
                request.refused = PatientMissing()
            elif not contact["known"]:
                raise PatientUnknown
            elif contact["phone"] is None:
                request.refused = PatientHasNoPhone()
            elif contact["from_number"] is None:
                request.refused = CallsNotConfigured()
            else:
                taken.append((request, contact))
        if taken:
            await _write(taken, tx)

    async def claim(self, effects: Sequence[Effect], tx: Tx) -> Mapping[tuple[UUID, UUID], Any]:
        rows = await tx.rows(_WRITTEN, [effect.practice_id for effect in effects], [effect.key for effect in effects])
        return {(row["practice_id"], row["effect_key"]): row for row in rows}

    async def record(self, settled: Sequence[Settled], tx: Tx) -> None:
        ended = [item for item in settled if item.outcome in _STATUSES]
        became = await tx.rows(
            _BECAME, [item.effect.practice_id for item in ended], [item.effect.key for item in ended],
            [_STATUSES[item.outcome] for item in ended if item.outcome], [item.result.get("external_id", "") for item in ended], tx.now,
        )  # fmt: skip
        placed = [row for row in became if row["status"] == CallStatus.REGISTERED]
        await tx.execute(_ASK_LATER, [row["practice_id"] for row in placed], [row["id"] for row in placed], tx.now + ASK_AFTER)


async def _write(taken: Sequence[tuple[Request, Any]], tx: Tx) -> None:
    asked = [request.event for request, _ in taken]
    await tx.execute(
        _CALLS, [e.practice_id for e in asked], [tx.new_id() for _ in asked], [e.data.effect_key for e in asked],
        [e.data.patient_id for e in asked], [request.parameters.agent_id or contact["agent_id"] for request, contact in taken],
        [contact["from_number"] for _, contact in taken], [contact["phone"] for _, contact in taken], CallDirection.OUTBOUND,
        CallStatus.REQUESTED, RETELL, tx.now,
    )  # fmt: skip


async def start_call(parameters: StartCall, effect: Effect, work: Work, dialler: Dialler, box: SecretBox) -> StartCallResult:  # noqa: ARG001 - the shape
    """One request to the provider, about the call as it was planned."""
    row = effect.loaded
    api_key = _key_of(row, box)
    call = OutboundCall(
        practice_id=effect.practice_id, effect_key=effect.key, call_id=row["id"], api_key=api_key, from_number=row["from_number"],
        to_number=row["to_number"], agent_id=row["agent_id"], variables=parameters.variables, traceparent=effect.traceparent,
    )  # fmt: skip
    answer = await dialler.dial(call)
    match answer.attempt:
        case Attempt.ACCEPTED:
            return StartCallResult(call_id=row["id"], external_id=answer.external_id)
        case Attempt.REFUSED:
            raise CallRejected(answer.code)
        case Attempt.NOT_SENT:
            raise CallNotTaken(answer.code, after_seconds=answer.retry_after_seconds)
        case Attempt.LOST | Attempt.REPEATABLE:
            raise CallUnknown(answer.code)


async def find_call(parameters: StartCall, effect: Effect, work: Work, dialler: Dialler, box: SecretBox) -> StartCallResult | None:  # noqa: ARG001 - the shape
    """Whether the provider has it: its list of calls, by the effect key in their metadata."""
    found = await dialler.find(_key_of(effect.loaded, box), effect.key)
    return None if found is None else StartCallResult(call_id=effect.loaded["id"], external_id=found)


def _key_of(row: Any, box: SecretBox) -> str:
    if row["api_key"] is None:
        raise CallsNotConfigured
    try:
        return box.open(row["practice_id"], API_PURPOSE, row["api_key"])
    except SealBroken:
        raise RetellKeyUnreadable from None
