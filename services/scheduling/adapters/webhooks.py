"""Sends one webhook to an address an integrator chose, through the client that reaches nothing inside the house."""

from __future__ import annotations

import asyncio
import unicodedata

import httpx
from aiohttp.abc import AbstractResolver

from libs.common.clock import monotonic
from libs.common.outbound.client import TROUBLES, GuardedClient, beginning, code_of
from services.scheduling.rules.retries import Answer

TOTAL_SECONDS = 15.0
MAX_ANSWER_BYTES = 65_536
MAX_EXCERPT = 2000


class WebhookSender(GuardedClient):
    """One per process; safe for concurrent use. ``development`` allows http and loopback."""

    def __init__(
        self, *, development: bool = False, resolver: AbstractResolver | None = None, total_seconds: float = TOTAL_SECONDS
    ) -> None:
        super().__init__(development=development, resolver=resolver, total_seconds=total_seconds)

    async def send(self, url: str, headers: dict[str, str], body: bytes) -> Answer:
        """One attempt. Never raises for what the outside does: a failure is an answer without status.

        A time-out or a lost connection does not tell whether the receiver took it: the next attempt repeats the id.
        """
        started = monotonic()
        try:
            client = self.http(url)
            async with asyncio.timeout(self._total):
                return await _post(client, url, headers, body, started)
        except TROUBLES as error:
            return Answer(None, code_of(error), _since(started))


async def _post(client: httpx.AsyncClient, url: str, headers: dict[str, str], body: bytes, started: float) -> Answer:
    sent = {**headers, "content-type": "application/json", "user-agent": "Vantage-Webhooks/1", "accept-encoding": "identity"}
    async with client.stream("POST", url, headers=sent, content=body) as response:
        excerpt = _readable(await beginning(response, MAX_ANSWER_BYTES))
        return Answer(response.status_code, None, _since(started), excerpt, response.headers.get("retry-after"))


def _readable(kept: bytes) -> str:
    text = kept[: 4 * MAX_EXCERPT].decode("utf-8", "replace")
    return "".join(c if c == "\n" or unicodedata.category(c) not in {"Cc", "Cs"} else " " for c in text)[:MAX_EXCERPT]


def _since(started: float) -> int:
    return round((monotonic() - started) * 1000)
