"""SendGrid as the tests meet it: the simulator on a real port, and a mailer that answers what it is told."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from uuid import UUID

import httpx
import uvicorn

from libs.testing.simulators.sendgrid import SendGridSimulator
from services.notifications.rules.mail import Attempt, Email, ProviderAnswer

API_KEY = "SG.test-key-of-a-practice"
SETTINGS = {"api_key": API_KEY, "sender_email": "intake@lindenhof.example", "sender_name": "Lindenhof"}


@asynccontextmanager
async def running(state: Path) -> AsyncIterator[tuple[SendGridSimulator, str]]:
    """The simulator and its URL. Requests wait in the socket's queue until it has started."""
    simulator = SendGridSimulator(state)
    listening = socket.socket()
    listening.bind(("127.0.0.1", 0))
    listening.listen(100)
    server = uvicorn.Server(uvicorn.Config(simulator.app(), log_config=None, access_log=False, lifespan="off", timeout_graceful_shutdown=0))
    serving = asyncio.create_task(server.serve(sockets=[listening]))
    url = f"http://127.0.0.1:{listening.getsockname()[1]}"
    async with httpx.AsyncClient() as client:
        assert (await client.get(f"{url}/_control/health")).status_code == 200
    try:
        yield simulator, url
    finally:
        server.should_exit = True
        await serving


class ToldMailer:
    """Answers as told, in order, then accepts; remembers what it was given. ``gate`` holds it."""

    def __init__(self) -> None:
        self.given: list[Email] = []
        self.answers: list[ProviderAnswer | Exception] = []
        self.known: dict[UUID, str] = {}
        self.gate: asyncio.Event | None = None
        self.reached = asyncio.Event()
        self.most_at_once = 0
        self._at_once = 0
        self.find_error: Exception | None = None

    async def send(self, email: Email) -> ProviderAnswer:
        self.given.append(email)
        self._at_once += 1
        self.most_at_once = max(self.most_at_once, self._at_once)
        self.reached.set()
        try:
            if self.gate is not None:
                await self.gate.wait()
            answer = self.answers.pop(0) if self.answers else accepted(email.effect_key)
            if isinstance(answer, Exception):
                raise answer
            return answer
        finally:
            self._at_once -= 1

    async def find(self, api_key: str, effect_key: UUID) -> str | None:
        assert api_key == API_KEY
        if self.find_error is not None:
            raise self.find_error
        return self.known.get(effect_key)


def accepted(effect_key: UUID) -> ProviderAnswer:
    return ProviderAnswer(Attempt.ACCEPTED, provider_message_id=f"sg-{effect_key}")
