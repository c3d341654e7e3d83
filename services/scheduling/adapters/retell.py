"""Retell's API v2: ask for a call, find one whose answer was lost, and ask what became of one nobody reported about.

``metadata`` carries the effect key and our id of the call: opaque, never personal. The key goes along as
``idempotency_key`` too, which the provider honours for an hour. The look-up asks ``/v3/list-calls`` by metadata.
"""

from __future__ import annotations

from typing import Any
from urllib.parse import quote
from uuid import UUID

import httpx
from httpx_aiohttp import AiohttpTransport
from opentelemetry.trace import SpanKind
from opentelemetry.util.types import AttributeValue

from libs.common.telemetry import context_of, failed, span
from services.scheduling.adapters.connections import never_connected
from services.scheduling.adapters.retell_notices import CALL, EFFECT, read_finished
from services.scheduling.rules.calling import CallAnswer, Dialled, OutboundCall, answer_to
from services.scheduling.rules.calls import CallReport

TIMEOUT = httpx.Timeout(15.0, connect=5.0)
_NOT_FOUND = frozenset({404, 422})
CONNECTIONS = 20
"""As many calls a workspace may have at a time, unless it pays for more."""


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


class Retell:
    """The provider, one pooled client per process."""

    def __init__(self, url: str) -> None:
        self._url = url.rstrip("/")
        self._client: httpx.AsyncClient | None = None

    async def open(self) -> None:
        limits = httpx.Limits(max_connections=CONNECTIONS, max_keepalive_connections=CONNECTIONS)
        self._client = httpx.AsyncClient(transport=AiohttpTransport(limits=limits, retries=0), timeout=TIMEOUT, trust_env=False)

    async def close(self) -> None:
        if self._client is not None:
            await self._client.aclose()
            self._client = None

    async def dial(self, call: OutboundCall) -> CallAnswer:
        """One attempt. Never raises for what the network or the provider does; says whether a telephone may ring."""
        attributes: dict[str, AttributeValue] = {
            "server.address": self._url,
            "vantage.effect_key": str(call.effect_key),
            "vantage.practice_id": str(call.practice_id),
        }
        with span(
            "POST /v2/create-phone-call", kind=SpanKind.CLIENT, parent=context_of(call.traceparent), attributes=attributes
        ) as current:
            try:
                answer = await self._post("/v2/create-phone-call", call.api_key, request_body(call))
            except httpx.HTTPError as error:
                failed(current, error)
                if never_connected(error):
                    return CallAnswer(Dialled.NOT_NOW, code="provider_unreachable")
                # The request was (perhaps) written and no answer came: somebody's telephone may ring.
                return CallAnswer(Dialled.LOST, code="provider_answer_lost")
            current.set_attribute("http.response.status_code", answer.status_code)
            return _read(answer)

    async def find(self, api_key: str, effect_key: UUID) -> str | None:
        """The provider's id of the call with this effect key, None when there is none. Raises ``httpx.HTTPError``."""
        wanted = {"key": EFFECT, "type": "string", "op": "eq", "value": str(effect_key)}
        answer = await self._post("/v3/list-calls", api_key, {"filter_criteria": {"metadata": [wanted]}, "limit": 10})
        found = _object(answer.raise_for_status()).get("items")
        if not isinstance(found, list):
            message = "a list of calls without calls"
            raise httpx.DecodingError(message)
        # Asked for by metadata, and looked at again: an older API that does not know the filter would answer with any calls.
        ours = [item for item in found if item.get("metadata", {}).get(EFFECT) == str(effect_key)]
        return str(ours[0]["call_id"]) if ours else None

    async def outcome(self, api_key: str, external_id: str) -> CallReport | None:
        """What became of a call, None while it goes on or for one the provider does not know. Raises ``httpx.HTTPError``."""
        assert self._client is not None
        url = f"{self._url}/v2/get-call/{quote(external_id, safe='')}"
        answer = await self._client.get(url, headers={"authorization": f"Bearer {api_key}"})
        if answer.status_code in _NOT_FOUND:
            return None
        return read_finished(_object(answer.raise_for_status()))

    async def _post(self, path: str, api_key: str, body: dict[str, Any]) -> httpx.Response:
        assert self._client is not None
        return await self._client.post(self._url + path, json=body, headers={"authorization": f"Bearer {api_key}"})


def _read(answer: httpx.Response) -> CallAnswer:
    dialled = answer_to(answer.status_code)
    if dialled is Dialled.ACCEPTED:
        external_id = _object(answer).get("call_id")
        # Accepted, and nobody knows as what: its records do.
        return (
            CallAnswer(dialled, external_id)
            if isinstance(external_id, str)
            else CallAnswer(Dialled.LOST, code="provider_answer_unreadable")
        )
    retry_after = answer.headers.get("retry-after", "")
    return CallAnswer(
        dialled, code=f"provider_status_{answer.status_code}", retry_after_seconds=float(retry_after) if retry_after.isdecimal() else None
    )


def _object(answer: httpx.Response) -> dict[str, Any]:
    try:
        body = answer.json()
    except ValueError:
        return {}
    return body if isinstance(body, dict) else {}
