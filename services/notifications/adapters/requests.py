"""Sends one request to an address that a workflow's author chose, through the client that reaches nothing inside the house."""

from __future__ import annotations

import asyncio

from opentelemetry.trace import SpanKind

from libs.common.outbound.client import TROUBLES, GuardedClient, beginning, code_of, never_sent
from libs.common.telemetry import context_of, failed, span
from services.notifications.rules.requests import Answer, Call

MAX_SECONDS = 20.0
MAX_ANSWER_BYTES = 65_536


class Requests(GuardedClient):
    """One per process; safe for concurrent use. ``development`` allows http and loopback."""

    async def send(self, call: Call) -> Answer:
        """One attempt. Never raises for what the outside does; says whether the request may have arrived."""
        with span("http_request", kind=SpanKind.CLIENT, parent=context_of(call.traceparent), attributes={}) as current:
            try:
                client = self.http(call.url)
                async with asyncio.timeout(call.seconds):
                    sent = {**call.headers, "user-agent": "Vantage/1", "accept-encoding": "identity"}
                    async with client.stream(call.method, call.url, headers=sent, content=call.body) as response:
                        await beginning(response, MAX_ANSWER_BYTES)
                        return Answer(response.status_code, retry_after=response.headers.get("retry-after", ""))
            except TROUBLES as error:
                failed(current, error)
                return Answer(None, code_of(error), arrived=not never_sent(error))
