"""SendGrid as the tests meet it: the simulator on a real port, and a mailer that answers what it is told."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from uuid import UUID

from libs.common.actions.outcomes import Attempt
from libs.testing.serving import serving
from libs.testing.simulators.sendgrid import SendGridSimulator
from services.notifications.rules.mail import Email, ProviderAnswer

API_KEY = "SG.test-key-of-a-practice"
SETTINGS = {"api_key": API_KEY, "sender_email": "intake@lindenhof.example", "sender_name": "Lindenhof"}


@asynccontextmanager
async def running(state: Path) -> AsyncIterator[tuple[SendGridSimulator, str]]:
    """The simulator and its URL."""
    simulator = SendGridSimulator(state)
    async with serving(simulator.app()) as url:
        yield simulator, url


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
