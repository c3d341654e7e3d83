"""Sends one webhook to an address an integrator chose, and lets nothing inside the house be reached by it.

Names are resolved here on every attempt and the connection goes to the addresses that were judged, so a name that changes
its mind in between gains nothing. No redirects, no cookies, no proxies from the environment, no kept connections.
"""

from __future__ import annotations

import asyncio
import ipaddress
import socket
import unicodedata
from http.cookiejar import CookieJar, DefaultCookiePolicy

import aiohttp
import httpx
from aiohttp.abc import AbstractResolver, ResolveResult
from aiohttp.resolver import ThreadedResolver
from httpx_aiohttp import AiohttpTransport

from libs.common.clock import monotonic
from services.scheduling.rules.addresses import WebhookUrlRefused, allowed_address, check_url
from services.scheduling.rules.retries import Answer

CONNECT_SECONDS = 5.0
TOTAL_SECONDS = 15.0
MAX_ANSWER_BYTES = 65_536
MAX_EXCERPT = 2000


class AddressRefused(OSError):
    """A name led to an address we do not connect to."""


class GuardedResolver(AbstractResolver):
    """Resolves a name and refuses it as a whole when one of its addresses is not allowed."""

    def __init__(self, inner: AbstractResolver, *, development: bool) -> None:
        self._inner = inner
        self._development = development

    async def resolve(self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET) -> list[ResolveResult]:
        """Raises ``AddressRefused``; ``OSError`` when the name does not resolve."""
        found = await self._inner.resolve(host, port, family)
        if not found or not all(allowed_address(entry["host"], development=self._development) for entry in found):
            raise AddressRefused
        return found

    async def close(self) -> None:
        await self._inner.close()


class WebhookSender:
    """One per process; safe for concurrent use. ``development`` allows http and loopback."""

    def __init__(
        self, *, development: bool = False, resolver: AbstractResolver | None = None, total_seconds: float = TOTAL_SECONDS
    ) -> None:
        self._development = development
        self._resolver = resolver
        self._total = total_seconds
        self._client: httpx.AsyncClient | None = None

    async def send(self, url: str, headers: dict[str, str], body: bytes) -> Answer:
        """One attempt. Never raises for what the outside does: a failure is an answer without status.

        A time-out or a lost connection does not tell whether the receiver took it: the next attempt repeats the id.
        """
        started = monotonic()
        try:
            self._check(url)
            async with asyncio.timeout(self._total):
                return await self._post(url, headers, body, started)
        except WebhookUrlRefused:
            return _failure("url_refused", started)
        except (httpx.HTTPError, httpx.InvalidURL, aiohttp.ClientError, OSError, TimeoutError, ValueError) as error:
            return _failure(_code_of(error), started)

    async def _post(self, url: str, headers: dict[str, str], body: bytes, started: float) -> Answer:
        sent = {**headers, "content-type": "application/json", "user-agent": "Vantage-Webhooks/1", "accept-encoding": "identity"}
        async with self._connected().stream("POST", url, headers=sent, content=body) as response:
            excerpt = await _beginning(response)
            return Answer(response.status_code, None, _since(started), excerpt, response.headers.get("retry-after"))

    def _check(self, url: str) -> None:
        """Names are judged when they are resolved; an address written into the URL is judged here."""
        check_url(url, development=self._development)
        host = httpx.URL(url).host
        try:
            ipaddress.ip_address(host)
        except ValueError:
            return
        if not allowed_address(host, development=self._development):
            raise AddressRefused

    def _connected(self) -> httpx.AsyncClient:
        if self._client is None:
            self._client = httpx.AsyncClient(
                transport=AiohttpTransport(client=self._session),
                timeout=httpx.Timeout(self._total, connect=CONNECT_SECONDS),
                follow_redirects=False,
                trust_env=False,
                cookies=CookieJar(DefaultCookiePolicy(allowed_domains=[])),
            )
        return self._client

    def _session(self) -> aiohttp.ClientSession:
        resolver = GuardedResolver(self._resolver or ThreadedResolver(), development=self._development)
        connector = aiohttp.TCPConnector(resolver=resolver, use_dns_cache=False, force_close=True, limit=100)
        return aiohttp.ClientSession(connector=connector, cookie_jar=aiohttp.DummyCookieJar(), trust_env=False)

    async def open(self) -> None:
        """Nothing connects before the first attempt."""

    async def close(self) -> None:
        if self._client is not None:
            client, self._client = self._client, None
            await client.aclose()


async def _beginning(response: httpx.Response) -> str:
    """The first characters of the answer; at most ``MAX_ANSWER_BYTES`` are read before the connection is closed."""
    kept = b""
    async for chunk in response.aiter_raw():
        kept += chunk[: MAX_ANSWER_BYTES - len(kept)]
        if len(kept) >= MAX_ANSWER_BYTES:
            break
    text = kept[: 4 * MAX_EXCERPT].decode("utf-8", "replace")
    return "".join(c if c == "\n" or unicodedata.category(c) not in {"Cc", "Cs"} else " " for c in text)[:MAX_EXCERPT]


def _failure(code: str, started: float) -> Answer:
    return Answer(None, code, _since(started))


def _since(started: float) -> int:
    return round((monotonic() - started) * 1000)


def _code_of(error: BaseException) -> str:
    """A stable code from the innermost cause; the error's text may hold names and is not used."""
    seen: BaseException | None = error
    codes: list[str] = []
    while seen is not None and len(codes) < 10:
        codes.append(_own_code(seen))
        seen = getattr(seen, "os_error", None) or seen.__cause__ or (None if seen.__suppress_context__ else seen.__context__)
    return next((code for code in reversed(codes) if code), "connection_lost")


def _own_code(error: BaseException) -> str:
    if isinstance(error, AddressRefused):
        return "address_refused"
    if isinstance(error, TimeoutError | httpx.TimeoutException | aiohttp.ServerTimeoutError):
        # The transport calls every lost connection a connect time-out; only aiohttp's own names tell.
        return "" if type(error) is httpx.ConnectTimeout else "timeout"
    if isinstance(error, socket.gaierror | aiohttp.ClientConnectorDNSError):
        return "name_not_resolved"
    if isinstance(error, aiohttp.ClientSSLError):
        return "tls_failed"
    if isinstance(error, ConnectionRefusedError | aiohttp.ClientConnectorError):
        return "connect_failed"
    if isinstance(error, httpx.InvalidURL | aiohttp.InvalidURL):
        return "url_refused"
    return ""
