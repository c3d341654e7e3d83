"""Retell's API v2: ask for a call, find one whose answer was lost, and ask what became of one nobody reported about.

``metadata`` carries the effect key and our id of the call: opaque, never personal. The key goes along as
``idempotency_key`` too, which the provider honours for an hour. The look-up asks ``/v3/list-calls`` by metadata.
"""

from __future__ import annotations

from typing import Any
from urllib.parse import quote
from uuid import UUID

import httpx

from libs.common.actions.outcomes import Attempt, attempt_of
from services.scheduling.adapters.connections import Provider, Unanswered, body_of, pause_asked
from services.scheduling.adapters.retell_notices import CALL, EFFECT, read_finished
from services.scheduling.rules.calling import CallAnswer, OutboundCall
from services.scheduling.rules.calls import CallReport

_NOT_FOUND = frozenset({404, 422})


def request_body(call: OutboundCall) -> dict[str, Any]:
    """The body of ``POST /v2/create-phone-call``."""
    return {
        "from_number": call.from_number,
        "to_number": call.to_number,
        "override_agent_id": call.agent_id,
        "metadata": {EFFECT: str(call.effect_key), CALL: str(call.call_id)},
        "retell_llm_dynamic_variables": dict(call.variables),
        "idempotency_key": str(call.effect_key),
        "honor_internal_dnc": True,
    }


class Retell(Provider):
    """The provider, one per process."""

    async def dial(self, call: OutboundCall) -> CallAnswer:
        """One attempt. Never raises for what the network or the provider does; says whether a telephone may ring."""
        answer = await self._attempt("/v2/create-phone-call", "/v2/create-phone-call", call, request_body(call))
        return CallAnswer(answer.attempt, code=answer.code) if isinstance(answer, Unanswered) else _read(answer)

    async def find(self, api_key: str, effect_key: UUID) -> str | None:
        """The provider's id of the call with this effect key, None when there is none. Raises ``httpx.HTTPError``."""
        wanted = {"key": EFFECT, "type": "string", "op": "eq", "value": str(effect_key)}
        answer = await self._request("POST", "/v3/list-calls", api_key, json={"filter_criteria": {"metadata": [wanted]}, "limit": 10})
        found = body_of(answer.raise_for_status()).get("items")
        if not isinstance(found, list):
            message = "a list of calls without calls"
            raise httpx.DecodingError(message)
        # Asked for by metadata, and looked at again: an older API that does not know the filter would answer with any calls.
        ours = [item for item in found if item.get("metadata", {}).get(EFFECT) == str(effect_key)]
        return str(ours[0]["call_id"]) if ours else None

    async def outcome(self, api_key: str, external_id: str) -> CallReport | None:
        """What became of a call, None while it goes on or for one the provider does not know. Raises ``httpx.HTTPError``."""
        answer = await self._request("GET", f"/v2/get-call/{quote(external_id, safe='')}", api_key)
        if answer.status_code in _NOT_FOUND:
            return None
        return read_finished(body_of(answer.raise_for_status()))


def _read(answer: httpx.Response) -> CallAnswer:
    attempt = attempt_of(answer.status_code)
    if attempt is not Attempt.ACCEPTED:
        return CallAnswer(attempt, code=f"provider_status_{answer.status_code}", retry_after_seconds=pause_asked(answer))
    external_id = body_of(answer).get("call_id")
    # Accepted, and nobody knows as what: its records do.
    return CallAnswer(attempt, external_id) if isinstance(external_id, str) else CallAnswer(Attempt.LOST, code="provider_answer_unreadable")
