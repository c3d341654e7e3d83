"""The actions of notifications keep what every action keeps."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from typing import Any
from uuid import UUID, uuid4

import pytest
from aiohttp import web

from libs.common.actions.outcomes import Attempt
from libs.common.auth import Principal
from libs.common.secrets import SecretBox
from libs.common.work import Work
from libs.contracts.envelope import Message
from libs.contracts.notifications import TaskCreated
from libs.testing.action_conformance import CANARY, ActionConformance, LeavingConformance, Outside, Scene
from libs.testing.fixtures import SECRETS_KEYS
from services.notifications.actions import CREATE_TASK, HTTP_REQUEST, SEND_EMAIL
from services.notifications.adapters.requests import Requests
from services.notifications.commands.settings import ConfigureEmail, configure_email
from services.notifications.rules.mail import Email, ProviderAnswer
from services.notifications.tests.provider import SETTINGS
from services.notifications.tests.test_adapters import KEY
from services.notifications.tests.test_rules import spki

Outbox = Callable[[UUID], Awaitable[list[Message]]]
BOX = SecretBox.local(SECRETS_KEYS)
_CONTACT = "INSERT INTO contact (practice_id, patient_id, version, name, email) VALUES ($1, $2, 1, 'Mira Holm', 'mira.holm@mail.example')"


class TestCreateTask(ActionConformance):
    plugin = CREATE_TASK

    @pytest.fixture
    def scene(self, outbox: Outbox, practice: UUID) -> Scene:
        async def count() -> int:
            return sum(isinstance(message, TaskCreated) for message in await outbox(practice))

        invalid = [{}, {"title": "x", "due_at": "tomorrow"}, {"title": "x", "role": "vantage_admin"}]
        return Scene({"title": CANARY, "text": CANARY, "due_in_hours": 4, "role": "regular_user"}, invalid, count)


class Provider:
    """A mail provider that behaves as told and knows what it took."""

    def __init__(self) -> None:
        self.behaviour = Outside.WELL
        self.taken: list[UUID] = []

    def behave(self, how: Outside) -> None:
        self.behaviour = how

    async def send(self, email: Email) -> ProviderAnswer:
        if self.behaviour is Outside.REFUSES:
            return ProviderAnswer(Attempt.REFUSED, code="provider_status_400")
        if self.behaviour is Outside.NOT_NOW:
            return ProviderAnswer(Attempt.NOT_SENT, code="provider_status_429")
        self.taken.append(email.effect_key)
        if self.behaviour is Outside.TAKES_AND_SAYS_NOTHING:
            await asyncio.Event().wait()
        if self.behaviour is Outside.TAKES_AND_HANGS_UP:
            return ProviderAnswer(Attempt.LOST, code="provider_answer_lost")
        return ProviderAnswer(Attempt.ACCEPTED, provider_message_id="x")

    async def find(self, api_key: str, effect_key: UUID) -> str | None:
        assert api_key == SETTINGS["api_key"]
        return "x" if effect_key in self.taken else None

    async def count(self) -> int:
        return len(self.taken)


class TestSendEmail(LeavingConformance):
    plugin = SEND_EMAIL

    @pytest.fixture
    async def scene(self, work: Work, practice: UUID) -> Scene:
        patient, provider = uuid4(), Provider()
        async with work(Principal.system("test", practice)) as tx:
            await configure_email(ConfigureEmail(**SETTINGS, webhook_key=spki(KEY)), BOX, tx)
            await tx.execute(_CONTACT, practice, patient)
        invalid = [{}, {"subject": "two\nlines", "text": "x"}, {"subject": "x", "text": "x", "bcc": "eve@mail.example"}]
        tools = {"mailer": provider, "box": BOX}
        return Scene({"subject": CANARY, "text": CANARY}, invalid, provider.count, patient, tools, provider.behave)


class System:
    """An outside system that behaves as told and tells repeats by ``Idempotency-Key``, as it should."""

    def __init__(self) -> None:
        self.behaviour = Outside.WELL
        self.keys: set[str] = set()
        self.silent = asyncio.Event()

    def behave(self, how: Outside) -> None:
        self.behaviour = how

    async def count(self) -> int:
        return len(self.keys)

    async def answer(self, request: web.Request) -> web.StreamResponse:
        if self.behaviour is Outside.REFUSES:
            return web.Response(status=400)
        if self.behaviour is Outside.NOT_NOW:
            return web.Response(status=429)
        self.keys.add(request.headers["idempotency-key"])
        if self.behaviour is Outside.TAKES_AND_SAYS_NOTHING:
            await self.silent.wait()
        if self.behaviour is not Outside.WELL and request.transport is not None:
            request.transport.abort()
        return web.Response(status=204)


@pytest.fixture
async def system() -> AsyncIterator[tuple[System, str]]:
    found = System()
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", found.answer)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    yield found, f"http://127.0.0.1:{runner.addresses[0][1]}/hook"
    found.silent.set()
    await runner.cleanup()


class TestHttpRequest(LeavingConformance):
    plugin = HTTP_REQUEST
    declared = False

    @pytest.fixture
    async def scene(self, system: tuple[System, str]) -> AsyncIterator[Scene]:
        there, url = system
        requests = Requests(development=True, total_seconds=5.0)
        parameters = {"url": url, "headers": {"X-Note": CANARY}, "body": {"note": CANARY}, "idempotent": self.declared}
        invalid: list[dict[str, Any]] = [
            {},
            {"url": "gopher://x.example"},
            {"url": url, "headers": {"Host": "x"}},
            {"url": url, "method": "TRACE"},
        ]
        yield Scene(parameters, invalid, there.count, tools={"requester": requests}, outside=there.behave)
        await requests.close()

    def test_takes_its_own_example(self, scene: Scene) -> None:
        """Who writes a workflow names a public address; the scene's own is one of this machine, allowed in development."""
        super().test_takes_its_own_example(replace(scene, parameters=scene.parameters | {"url": "https://system.example/hook"}))


class TestHttpRequestThatMayBeRepeated(TestHttpRequest):
    declared = True
