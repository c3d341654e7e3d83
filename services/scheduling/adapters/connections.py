"""The way to a provider's API: one pooled client per process, and what became of a request that must not be made twice."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol
from uuid import UUID

import httpx
from httpx_aiohttp import AiohttpTransport
from opentelemetry.trace import SpanKind
from opentelemetry.util.types import AttributeValue

from libs.common.actions.outcomes import Attempt
from libs.common.outbound.client import never_sent
from libs.common.telemetry import context_of, failed, span

TIMEOUT = httpx.Timeout(15.0, connect=5.0)
CONNECTIONS = 20
"""As many calls a workspace of Retell may have at a time, unless it pays for more."""


class Effectful(Protocol):
    """What a request is about that has an effect over there."""

    @property
    def practice_id(self) -> UUID: ...

    @property
    def effect_key(self) -> UUID: ...

    @property
    def api_key(self) -> str: ...

    @property
    def traceparent(self) -> str: ...


@dataclass(frozen=True, slots=True)
class Unanswered:
    """No answer came: nothing was sent, or nobody knows."""

    attempt: Attempt
    code: str


class Provider:
    """Safe for concurrent use. ``headers`` go along with every request, beside the practice's key."""

    headers: dict[str, str] = {}  # noqa: RUF012 - never changed

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

    async def _request(self, method: str, path: str, api_key: str, **what: Any) -> httpx.Response:
        """Raises ``httpx.HTTPError``."""
        assert self._client is not None
        headers = {"authorization": f"Bearer {api_key}", **self.headers}
        return await self._client.request(method, self._url + path, headers=headers, **what)

    async def _attempt(self, name: str, path: str, about: Effectful, body: dict[str, Any]) -> httpx.Response | Unanswered:
        """One POST. Never raises for what the network or the provider does. ``name`` is the path without what differs."""
        attributes: dict[str, AttributeValue] = {
            "server.address": self._url, "vantage.effect_key": str(about.effect_key), "vantage.practice_id": str(about.practice_id),
        }  # fmt: skip
        with span(f"POST {name}", kind=SpanKind.CLIENT, parent=context_of(about.traceparent), attributes=attributes) as current:
            try:
                answer = await self._request("POST", path, about.api_key, json=body)
            except httpx.HTTPError as error:
                failed(current, error)
                if never_sent(error):
                    return Unanswered(Attempt.NOT_SENT, "provider_unreachable")
                # The request was (perhaps) written and no answer came: somebody's telephone may ring, a time may be taken.
                return Unanswered(Attempt.LOST, "provider_answer_lost")
            current.set_attribute("http.response.status_code", answer.status_code)
            return answer


def pause_asked(answer: httpx.Response) -> float | None:
    """Seconds that the provider wants to be left alone."""
    after = answer.headers.get("retry-after", "")
    return float(after) if after.isdecimal() else None


def body_of(answer: httpx.Response) -> dict[str, Any]:
    """The answer's object; an empty one for what is none."""
    try:
        body = answer.json()
    except ValueError:
        return {}
    return body if isinstance(body, dict) else {}
