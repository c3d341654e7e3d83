"""The action keeps what every action keeps: the suite that comes with Vantage, against a gateway that behaves as told."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
from aiohttp import web
from libs.testing.action_conformance import CANARY, LeavingConformance, Outside, Scene
from vantage_action_sms import SEND_SMS


class Gateway:
    """Keeps a message under the id it was given: the same id twice is one message."""

    def __init__(self) -> None:
        self.behaviour = Outside.WELL
        self.messages: set[str] = set()
        self.closing = asyncio.Event()

    def behave(self, how: Outside) -> None:
        self.behaviour = how

    async def count(self) -> int:
        return len(self.messages)

    async def send(self, request: web.Request) -> web.StreamResponse:
        if self.behaviour is Outside.REFUSES:
            return web.Response(status=400)
        if self.behaviour is Outside.NOT_NOW:
            return web.Response(status=429)
        self.messages.add(request.match_info["id"])
        if self.behaviour is Outside.TAKES_AND_SAYS_NOTHING:
            await self.closing.wait()
        if self.behaviour is not Outside.WELL and request.transport is not None:
            request.transport.abort()
        return web.json_response({"parts": 1})

    async def show(self, request: web.Request) -> web.StreamResponse:
        return web.json_response({"parts": 1}, status=200 if request.match_info["id"] in self.messages else 404)


class TestSendSms(LeavingConformance):
    plugin = SEND_SMS
    seconds = 1.0

    @pytest.fixture
    async def scene(self, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Scene]:
        gateway = Gateway()
        app = web.Application()
        app.router.add_put("/messages/{id}", gateway.send)
        app.router.add_get("/messages/{id}", gateway.show)
        runner = web.AppRunner(app, shutdown_timeout=0.1)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        monkeypatch.setenv("SMS_GATEWAY_TOKEN", "of-a-test")
        monkeypatch.setenv("SMS_GATEWAY_URL", f"http://127.0.0.1:{runner.addresses[0][1]}")
        invalid = [
            {},
            {"to": "030 1234", "text": "x"},
            {"to": "+4930555001234", "text": ""},
            {"to": "+4930555001234", "text": "x", "cc": "y"},
        ]
        yield Scene({"to": "+4930555001234", "text": CANARY}, invalid, gateway.count, outside=gateway.behave)
        gateway.closing.set()
        await runner.cleanup()
