"""The sender against receivers that misbehave, and names that lead inside."""

from __future__ import annotations

import asyncio
import gzip
import socket
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest
from aiohttp import web
from aiohttp.abc import AbstractResolver, ResolveResult

from services.scheduling.adapters.webhooks import MAX_EXCERPT, WebhookSender
from services.scheduling.tests.receiver import Behaviour, Receiver, answers

Start = Callable[[Behaviour], Awaitable[Receiver]]


@pytest.fixture
async def receiver() -> AsyncIterator[Start]:
    started: list[Receiver] = []

    async def start(behave: Behaviour) -> Receiver:
        found = Receiver(behave)
        await found.start()
        started.append(found)
        return found

    yield start
    for found in started:
        await found.stop()


@pytest.fixture
async def sender() -> AsyncIterator[WebhookSender]:
    """As in development: loopback allowed."""
    found = WebhookSender(development=True, total_seconds=0.5)
    yield found
    await found.close()


class Names(AbstractResolver):
    """A name server that answers each question with the next of its answers."""

    def __init__(self, *answers: list[str]) -> None:
        self.answers = list(answers)
        self.asked = 0

    async def resolve(self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET) -> list[ResolveResult]:
        self.asked += 1
        found = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        return [
            ResolveResult(
                hostname=host, host=address, port=port, family=socket.AF_INET6 if ":" in address else socket.AF_INET, proto=0, flags=0
            )
            for address in found
        ]

    async def close(self) -> None:
        return


class TestSend:
    async def test_posts_the_bytes_and_headers_given(self, receiver: Start, sender: WebhookSender) -> None:
        there = await receiver(answers(200, "thanks"))
        answer = await sender.send(there.url, {"webhook-id": "msg_1"}, b'{"a":1}')
        assert (answer.status, answer.error, answer.excerpt) == (200, None, "thanks")
        (got,) = there.got
        assert got.body == b'{"a":1}'
        assert (got.headers["webhook-id"], got.headers["content-type"]) == ("msg_1", "application/json")

    @pytest.mark.parametrize("status", [204, 400, 404, 410, 500])
    async def test_answers_with_the_status(self, receiver: Start, sender: WebhookSender, status: int) -> None:
        assert (await sender.send((await receiver(answers(status))).url, {}, b"{}")).status == status

    @pytest.mark.parametrize("status", [301, 302, 307, 308])
    async def test_follows_no_redirect(self, receiver: Start, sender: WebhookSender, status: int) -> None:
        inside = await receiver(answers(200))
        there = await receiver(answers(status, Location=inside.url))
        assert (await sender.send(there.url, {}, b"{}")).status == status
        assert inside.got == []

    async def test_tells_how_long_the_receiver_wants_to_rest(self, receiver: Start, sender: WebhookSender) -> None:
        answer = await sender.send((await receiver(answers(429, Retry_After="120"))).url, {}, b"{}")
        assert (answer.status, answer.retry_after) == (429, "120")

    async def test_sends_no_cookies_back(self, receiver: Start, sender: WebhookSender) -> None:
        there = await receiver(answers(200, Set_Cookie="session=1; Path=/"))
        for _ in range(2):
            await sender.send(there.url, {}, b"{}")
        assert all("cookie" not in got.headers for got in there.got)

    async def test_ignores_proxies_of_the_environment(
        self, receiver: Start, sender: WebhookSender, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        there, proxy = await receiver(answers(200)), await receiver(answers(200))
        for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
            monkeypatch.setenv(name, proxy.url)
        monkeypatch.delenv("NO_PROXY", raising=False)
        await sender.send(there.url, {}, b"{}")
        assert (len(there.got), len(proxy.got)) == (1, 0)


class TestMisbehaving:
    async def test_receiver_that_hangs_is_left(self, receiver: Start, sender: WebhookSender) -> None:
        release = asyncio.Event()

        async def hang(_: web.Request) -> web.StreamResponse:
            await release.wait()
            return web.Response()

        there = await receiver(hang)
        answer = await sender.send(there.url, {}, b"{}")
        release.set()
        assert (answer.status, answer.error, len(there.got)) == (None, "timeout", 1)

    async def test_receiver_that_never_stops_talking_is_left(self, receiver: Start, sender: WebhookSender) -> None:
        sent = 0

        async def flood(request: web.Request) -> web.StreamResponse:
            nonlocal sent
            response = web.StreamResponse()
            await response.prepare(request)
            while sent < 10**8:
                try:
                    await response.write(b"x" * 10_000)
                except ConnectionError:
                    break
                sent += 10_000
            return response

        answer = await sender.send((await receiver(flood)).url, {}, b"{}")
        assert answer.status == 200
        assert len(answer.excerpt) == MAX_EXCERPT
        assert sent < 10**8

    async def test_answer_that_unpacks_to_a_lot_stays_packed(self, receiver: Start, sender: WebhookSender) -> None:
        async def bomb(_: web.Request) -> web.StreamResponse:
            return web.Response(body=gzip.compress(b"x" * 10**7), headers={"Content-Encoding": "gzip"})

        answer = await sender.send((await receiver(bomb)).url, {}, b"{}")
        assert answer.status == 200
        assert "xxxx" not in answer.excerpt

    async def test_answer_with_control_characters_is_kept_without_them(self, receiver: Start, sender: WebhookSender) -> None:
        answer = await sender.send((await receiver(answers(500, "no\x00\x1b[31m way\nat all"))).url, {}, b"{}")
        assert answer.excerpt == "no  [31m way\nat all"

    async def test_receiver_that_is_not_there(self, sender: WebhookSender) -> None:
        with socket.socket() as closed:
            closed.bind(("127.0.0.1", 0))
            answer = await sender.send(f"http://127.0.0.1:{closed.getsockname()[1]}/", {}, b"{}")
        assert (answer.status, answer.error) == (None, "connect_failed")

    async def test_receiver_that_hangs_up(self, receiver: Start, sender: WebhookSender) -> None:
        async def hang_up(request: web.Request) -> web.StreamResponse:
            assert request.transport is not None
            request.transport.abort()
            return web.Response()

        answer = await sender.send((await receiver(hang_up)).url, {}, b"{}")
        assert (answer.status, answer.error) == (None, "connection_lost")

    async def test_receiver_that_speaks_no_tls(self, receiver: Start, sender: WebhookSender) -> None:
        there = await receiver(answers(200))
        answer = await sender.send(there.url.replace("http:", "https:"), {}, b"{}")
        assert (answer.status, answer.error) == (None, "tls_failed")


class TestGuard:
    @pytest.mark.parametrize(
        "answer",
        [
            ["127.0.0.1"],
            ["10.0.0.1"],
            ["169.254.169.254"],
            ["::1"],
            ["::ffff:10.0.0.1"],
            ["64:ff9b::7f00:1"],
            ["93.184.216.34", "10.0.0.1"],
            [],
        ],
    )
    async def test_refuses_a_name_that_leads_inside(self, answer: list[str]) -> None:
        sender = WebhookSender(resolver=Names(answer))
        assert (await sender.send("https://hooks.clinic.example/", {}, b"{}")).error == "address_refused"
        await sender.close()

    async def test_refuses_a_name_that_changes_its_mind(self, receiver: Start) -> None:
        there = await receiver(answers(200))
        names = Names(["127.0.0.1"], ["192.168.1.1"])
        sender = WebhookSender(development=True, resolver=names, total_seconds=0.5)
        url = f"http://hooks.clinic.example:{there.port}/"
        assert (await sender.send(url, {}, b"{}")).status == 200
        assert (await sender.send(url, {}, b"{}")).error == "address_refused"
        assert (len(there.got), names.asked) == (1, 2)
        await sender.close()

    async def test_tells_a_name_nobody_knows(self) -> None:
        class NoNames(Names):
            async def resolve(self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET) -> list[ResolveResult]:
                raise socket.gaierror(socket.EAI_NONAME, "unknown")

        sender = WebhookSender(resolver=NoNames([]))
        assert (await sender.send("https://hooks.clinic.example/", {}, b"{}")).error == "name_not_resolved"
        await sender.close()

    @pytest.mark.parametrize(
        "url", ["http://hooks.clinic.example/", "https://127.0.0.1/", "https://localhost/", "https://[::1]/", "nonsense"]
    )
    async def test_refuses_an_address_outside_development(self, url: str) -> None:
        names = Names(["93.184.216.34"])
        sender = WebhookSender(resolver=names)
        assert (await sender.send(url, {}, b"{}")).error == "url_refused"
        assert names.asked == 0

    @pytest.mark.parametrize(
        "url", ["http://10.0.0.1/", "http://169.254.169.254/latest/meta-data", "http://[fe80::1]/", "http://0x0a000001/"]
    )
    async def test_refuses_private_addresses_in_development_as_well(self, sender: WebhookSender, url: str) -> None:
        assert (await sender.send(url, {}, b"{}")).status is None

    async def test_may_be_closed_twice(self, receiver: Start, sender: WebhookSender) -> None:
        await sender.send((await receiver(answers(200))).url, {}, b"{}")
        await sender.close()
        await sender.close()
