"""``http_request``: what may be sent, where to, and what an answer means."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any
from uuid import UUID, uuid4

import pytest
from aiohttp import web
from pydantic import ValidationError

from libs.common.work import Work
from libs.contracts.actions import Outcome
from libs.testing.stage import Stage
from services.notifications.actions import HTTP_REQUEST
from services.notifications.adapters.requests import MAX_ANSWER_BYTES, Requests
from services.notifications.commands.requests import HttpRequest
from services.notifications.rules.requests import Answer, Call, Verdict, pause_asked, verdict

URL = "https://system.example/hook"
Answering = Callable[[web.Request], Awaitable[web.StreamResponse]]
Serve = Callable[[Answering], Awaitable[str]]


@pytest.fixture
async def serve() -> AsyncIterator[Serve]:
    runners: list[web.AppRunner] = []

    async def start(answering: Answering) -> str:
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", answering)
        runner = web.AppRunner(app, shutdown_timeout=0.1)
        await runner.setup()
        runners.append(runner)
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        return f"http://127.0.0.1:{runner.addresses[0][1]}/hook"

    yield start
    for runner in runners:
        await runner.cleanup()


@pytest.fixture
async def requests() -> AsyncIterator[Requests]:
    found = Requests(development=True, total_seconds=5.0)
    yield found
    await found.close()


def call(url: str, seconds: float = 2.0) -> Call:
    return Call("POST", url, {"idempotency-key": str(uuid4())}, b"{}", seconds)


class TestParameters:
    @pytest.mark.parametrize(
        "fields",
        [
            {"url": "gopher://x.example/"}, {"url": "file:///etc/passwd"}, {"url": "ftp://x.example"}, {"url": "https://x.example/a b"},
            {"url": "https://x.example\\@evil.example"}, {"url": "https://x.example/\r\nX-A: 1"}, {"url": ""}, {"url": "x" * 3000},
            {"method": "TRACE"}, {"method": "CONNECT"}, {"timeout_seconds": 0.5}, {"timeout_seconds": 21}, {"timeout_seconds": "NaN"},
            {"expected_status": [99]}, {"expected_status": [600]}, {"body": "x" * 70_000}, {"redirects": True},
            {"headers": {"Host": "x"}}, {"headers": {"authorization": "Bearer x"}}, {"headers": {"Content-Length": "1"}},
            {"headers": {"Transfer-Encoding": "chunked"}}, {"headers": {"Idempotency-Key": "x"}}, {"headers": {"Cookie": "a=b"}},
            {"headers": {"X-Forwarded-For": "127.0.0.1"}}, {"headers": {"X-A": "1\r\nHost: evil.example"}}, {"headers": {"X-A\r\nHost": "x"}},
            {"headers": {"X-A": "ä"}}, {"headers": {"X-A": ""}}, {"headers": {"": "x"}}, {"headers": {"X A": "x"}},
            {"headers": {f"X-{number}": "x" for number in range(21)}},
        ],
    )  # fmt: skip
    def test_that_may_not_be_sent_are_refused(self, fields: dict[str, Any]) -> None:
        with pytest.raises(ValidationError):
            HttpRequest.model_validate({"url": URL, **fields})

    def test_that_may_are_taken(self) -> None:
        taken = HttpRequest.model_validate({"url": URL, "headers": {"X-Practice": "Lindenhof 1"}, "body": {"a": [1, None]}})
        assert (taken.method, taken.headers, taken.idempotent) == ("POST", {"x-practice": "Lindenhof 1"}, False)


class TestVerdict:
    @pytest.mark.parametrize(
        ("answer", "expected", "follows"),
        [
            (Answer(204), [], Verdict.DONE), (Answer(200), [201], Verdict.FAILED), (Answer(404), [404], Verdict.DONE),
            (Answer(302), [], Verdict.FAILED), (Answer(400), [], Verdict.FAILED), (Answer(410), [], Verdict.FAILED),
            (Answer(429), [], Verdict.AGAIN), (Answer(503), [], Verdict.AGAIN), (Answer(503), [503], Verdict.DONE),
            (Answer(None, "connect_failed", arrived=False), [], Verdict.AGAIN), (Answer(None, "timeout"), [], Verdict.UNKNOWN),
            (Answer(None, "connection_lost"), [], Verdict.UNKNOWN), (Answer(None, "url_refused", arrived=False), [], Verdict.FAILED),
            (Answer(None, "address_refused", arrived=False), [], Verdict.FAILED),
        ],
    )  # fmt: skip
    def test_follows_from_the_answer(self, answer: Answer, expected: list[int], follows: Verdict) -> None:
        assert verdict(answer, expected) is follows

    @pytest.mark.parametrize("status", [500, 502, 504, 524])
    def test_of_a_server_that_broke_is_unknown(self, status: int) -> None:
        """It may have broken behind what it was asked for."""
        assert verdict(Answer(status), []) is Verdict.UNKNOWN
        assert verdict(Answer(status), [status]) is Verdict.DONE

    @pytest.mark.parametrize(("text", "seconds"), [("7", 7.0), ("", None), ("-1", None), ("9" * 10, None), ("Wed, 21 Oct 2026", None)])
    def test_a_pause_is_asked_for_in_seconds(self, text: str, seconds: float | None) -> None:
        assert pause_asked(text) == seconds


class TestSend:
    @pytest.mark.parametrize(
        "url",
        [
            "http://169.254.169.254/latest", "http://[::ffff:10.0.0.1]/", "http://10.0.0.1/", "http://[64:ff9b::a9fe:a9fe]/",
            "http://[2002:7f00:1::]/",
        ],
    )  # fmt: skip
    async def test_never_reaches_inside_not_even_in_development(self, url: str, requests: Requests) -> None:
        assert await requests.send(call(url)) == Answer(None, "address_refused", arrived=False)

    @pytest.mark.parametrize(
        "url",
        [
            "http://system.example/", "https://127.0.0.1/", "https://2130706433/", "https://0x7f.1/", "https://0177.0.0.1/", "https://[::1]/",
            "https://system.example:22/", "https://good.example@evil.example/", "https://evil.example/#good.example", "https://0/",
            "https://\uff11\uff12\uff17.0.0.1/",
        ],
    )  # fmt: skip
    async def test_calls_public_names_over_https_only(self, url: str) -> None:
        strict = Requests(total_seconds=1.0)
        assert await strict.send(call(url)) == Answer(None, "url_refused", arrived=False)
        await strict.close()

    async def test_does_not_follow_a_redirect(self, requests: Requests, serve: Serve) -> None:
        seen: list[str] = []

        async def elsewhere(request: web.Request) -> web.StreamResponse:
            seen.append(request.path)
            return web.Response(status=302, headers={"Location": "/inside"})

        assert (await requests.send(call(await serve(elsewhere)))).status == 302
        assert seen == ["/hook"]

    async def test_knows_when_nobody_was_there(self, requests: Requests) -> None:
        answer = await requests.send(call("http://127.0.0.1:1/hook"))
        assert (answer.code, answer.arrived) == ("connect_failed", False)

    async def test_does_not_know_when_the_answer_never_came(self, requests: Requests, serve: Serve) -> None:
        silent = asyncio.Event()

        async def nothing(_: web.Request) -> web.StreamResponse:
            await silent.wait()
            return web.Response()

        answer = await requests.send(call(await serve(nothing), seconds=0.2))
        silent.set()
        assert (answer.status, answer.code, answer.arrived) == (None, "timeout", True)

    async def test_reads_no_more_of_an_endless_answer_than_it_must(self, requests: Requests, serve: Serve) -> None:
        written = 0

        async def endless(request: web.Request) -> web.StreamResponse:
            nonlocal written
            response = web.StreamResponse()
            await response.prepare(request)
            while written < 1000 * MAX_ANSWER_BYTES:
                await response.write(b"x" * MAX_ANSWER_BYTES)
                written += MAX_ANSWER_BYTES
            return response

        assert (await requests.send(call(await serve(endless)))).status == 200
        assert written < 1000 * MAX_ANSWER_BYTES


class TestAction:
    async def test_says_who_repeats_and_nothing_the_author_did_not_write(
        self, work: Work, practice: UUID, requests: Requests, serve: Serve
    ) -> None:
        seen: list[tuple[str, dict[str, str], bytes]] = []

        async def take(request: web.Request) -> web.StreamResponse:
            seen.append((request.method, {name.lower(): value for name, value in request.headers.items()}, await request.read()))
            return web.Response(status=201, headers={"Set-Cookie": "a=b"})

        parameters = {"method": "PUT", "url": await serve(take), "headers": {"X-Practice": "Lindenhof"}, "body": {"a": 1}}
        async with Stage(work, HTTP_REQUEST, practice, {"requester": requests}) as stage:
            first, second = (stage.asking(parameters, None) for _ in range(2))
            await stage.ask(first)
            await stage.ask(second)
            assert [(o.outcome, o.result) for o in await stage.outcomes()] == [(Outcome.SUCCEEDED, {"status": 201})] * 2
        (method, headers, body), (_, again, _) = seen
        assert (method, body, headers["x-practice"], headers["content-type"]) == ("PUT", b'{"a":1}', "Lindenhof", "application/json")
        assert [headers["idempotency-key"], again["idempotency-key"]] == [str(first.effect_key), str(second.effect_key)]
        assert "cookie" not in again
        assert not headers.keys() & {"authorization", "traceparent"}

    async def test_names_the_status_it_failed_with(self, work: Work, practice: UUID, requests: Requests, serve: Serve) -> None:
        async def gone(_: web.Request) -> web.StreamResponse:
            return web.Response(status=410)

        async with Stage(work, HTTP_REQUEST, practice, {"requester": requests}) as stage:
            await stage.ask(stage.asking({"url": await serve(gone)}, None))
            (finished,) = await stage.outcomes()
        assert finished.error is not None
        assert (finished.error.code, finished.error.retryable) == ("status_410", False)

    async def test_is_refused_for_an_address_inside(self, work: Work, practice: UUID) -> None:
        strict = Requests(total_seconds=1.0)
        async with Stage(work, HTTP_REQUEST, practice, {"requester": strict}) as stage:
            await stage.ask(stage.asking({"url": "https://169.254.169.254/latest"}, None))
            (finished,) = await stage.outcomes()
        await strict.close()
        assert finished.error is not None
        assert (finished.outcome, finished.error.code) == (Outcome.FAILED, "url_refused")
