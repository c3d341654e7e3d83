"""A client for addresses that people chose: nothing inside the house is reached by it.

Names are resolved here on every call and the connection goes to the addresses that were judged, so a name that changes
its mind in between gains nothing. No redirects, no cookies, no proxies from the environment, no kept connections.
"""

from __future__ import annotations

import ipaddress
import socket
from http.cookiejar import CookieJar, DefaultCookiePolicy

import aiohttp
import httpx
from aiohttp.abc import AbstractResolver, ResolveResult
from aiohttp.resolver import ThreadedResolver
from httpx_aiohttp import AiohttpTransport

from libs.common.outbound.addresses import acceptable_url, allowed_address

CONNECT_SECONDS = 5.0
TROUBLES = (httpx.HTTPError, httpx.InvalidURL, aiohttp.ClientError, OSError, TimeoutError, ValueError)
"""Whatever a call may raise for what the outside does."""

_NEVER_SENT = frozenset({"url_refused", "address_refused", "name_not_resolved", "tls_failed", "connect_failed"})


class UrlRefused(ValueError):
    """A URL we do not call."""


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


class GuardedClient:
    """One per process; safe for concurrent use. ``development`` allows http and loopback."""

    def __init__(self, *, development: bool = False, resolver: AbstractResolver | None = None, total_seconds: float) -> None:
        self._development = development
        self._resolver = resolver
        self._total = total_seconds
        self._client: httpx.AsyncClient | None = None

    def http(self, url: str) -> httpx.AsyncClient:
        """The client, for a call of ``url``. Raises ``UrlRefused``, ``AddressRefused``.

        Names are judged when they are resolved; an address written into the URL is judged here.
        """
        if not acceptable_url(url, development=self._development):
            raise UrlRefused
        host = httpx.URL(url).host
        if _is_address(host) and not allowed_address(host, development=self._development):
            raise AddressRefused
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
        """Nothing connects before the first call."""

    async def close(self) -> None:
        if self._client is not None:
            client, self._client = self._client, None
            await client.aclose()


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


async def beginning(response: httpx.Response, most_bytes: int) -> bytes:
    """The first bytes of an answer; no more are read before the connection is closed."""
    kept = b""
    async for chunk in response.aiter_raw():
        kept += chunk[: most_bytes - len(kept)]
        if len(kept) >= most_bytes:
            break
    return kept


def never_sent(error: BaseException) -> bool:
    """Whether a call that ended in this certainly reached nobody."""
    return code_of(error) in _NEVER_SENT or any(isinstance(cause, aiohttp.ConnectionTimeoutError) for cause in _causes(error))


def code_of(error: BaseException) -> str:
    """A stable code from the innermost cause; the error's text may hold names and is not used."""
    return next((code for cause in reversed(_causes(error)) if (code := _own_code(cause))), "connection_lost")


def _causes(error: BaseException) -> list[BaseException]:
    seen: BaseException | None = error
    causes: list[BaseException] = []
    while seen is not None and len(causes) < 10:
        causes.append(seen)
        seen = getattr(seen, "os_error", None) or seen.__cause__ or (None if seen.__suppress_context__ else seen.__context__)
    return causes


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
    if isinstance(error, UrlRefused | httpx.InvalidURL | aiohttp.InvalidURL):
        return "url_refused"
    return ""
