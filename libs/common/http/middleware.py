"""What surrounds every request: where it came from, size limit, correlation id, server span, metrics, and a clean 500.

Span and log name the route template, never the path, which may hold ids, nor the query, which may hold names.
"""

from __future__ import annotations

import re
from typing import Any

from opentelemetry.trace import SpanKind, Status, StatusCode, use_span
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from libs.common import metrics
from libs.common.clock import monotonic
from libs.common.errors import Unavailable
from libs.common.http.cors import answer_headers, is_preflight, preflight
from libs.common.http.gateway import came_through, client_address
from libs.common.http.problems import internal_error, on_trouble, problem
from libs.common.ids import new_id
from libs.common.logging import get_logger
from libs.common.messaging.batches import is_outage
from libs.common.telemetry import context_of, failed, traceparent_of, tracer

log = get_logger()

MAX_BODY_BYTES = 1_048_576
_CORRELATION = re.compile(r"[A-Za-z0-9._:-]{1,128}")
_UNTRACED = frozenset({"/livez", "/readyz", "/metrics"})


class DatabaseUnavailable(Unavailable):
    """The service cannot reach its database right now."""


class _TooLarge(HTTPException):
    """An ``HTTPException``, because the framework turns any other exception while it reads a body into a 400."""

    def __init__(self) -> None:
        super().__init__(413)


class Surroundings:
    """Outermost ASGI layer of every service. ``proof``: what the gateway sends with what it passes on."""

    def __init__(self, app: ASGIApp, proof: str) -> None:
        self._app = app
        self._proof = proof

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"] in _UNTRACED:
            await self._app(scope, receive, send)
            return
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        correlation = headers.get("x-correlation-id", "")
        if not _CORRELATION.fullmatch(correlation):
            correlation = str(new_id())
        state = scope.setdefault("state", {})
        state["correlation_id"] = correlation
        state["through_gateway"] = came_through(headers, self._proof)
        state["client"] = client_address(scope, headers, through_gateway=state["through_gateway"])
        started = monotonic()
        span = tracer.start_span(
            f"{scope['method']}",
            context=context_of(headers.get("traceparent", ""), headers.get("tracestate", "")),
            kind=SpanKind.SERVER,
            attributes={"http.request.method": scope["method"], "vantage.correlation_id": correlation},
        )
        answer = _Answer(send, correlation)
        with use_span(span, end_on_exit=True, record_exception=False, set_status_on_exception=False):
            state["traceparent"] = traceparent_of(span)
            try:
                if "origin" in headers:
                    answer.headers += await answer_headers(scope, headers["origin"])
                if is_preflight(scope, headers):
                    await (await preflight(scope, headers["origin"]))(scope, receive, answer)
                else:
                    await self._app(scope, _limited(receive, headers), answer)
            except _TooLarge:
                await problem(413, "http_413", "The request body is too large.")(scope, receive, answer)
            except Exception as error:
                failed(span, error)
                if answer.started:
                    raise
                if is_outage(error):
                    await (await on_trouble(None, DatabaseUnavailable()))(scope, receive, answer)  # type: ignore[arg-type]
                else:
                    log.error("request.failed", method=scope["method"], exc_info=error)
                    await internal_error()(scope, receive, answer)
            route = getattr(scope.get("route"), "path", "unmatched")
            span.update_name(f"{scope['method']} {route}")
            span.set_attribute("http.route", route)
            span.set_attribute("http.response.status_code", answer.status)
            if answer.status >= 500:
                span.set_status(Status(StatusCode.ERROR))
        metrics.HTTP_REQUESTS.labels(scope["method"], route, str(answer.status)).inc()
        metrics.HTTP_SECONDS.labels(route).observe(monotonic() - started)


class _Answer:
    """Passes the answer on, remembers its status, adds the correlation id and what a page may read."""

    def __init__(self, send: Send, correlation: str) -> None:
        self._send = send
        self.headers: list[tuple[bytes, bytes]] = [(b"x-correlation-id", correlation.encode())]
        self.started = False
        self.status = 500

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.started = True
            self.status = message["status"]
            message["headers"] = [*message.get("headers", []), *self.headers]
        await self._send(message)


def _limited(receive: Receive, headers: dict[str, str]) -> Receive:
    """The body, up to the limit; the declared length is checked first, the real one while reading."""
    declared = headers.get("content-length", "0")
    seen = 0

    async def limited() -> Any:
        nonlocal seen
        if declared.isdecimal() and int(declared) > MAX_BODY_BYTES:
            raise _TooLarge
        message = await receive()
        seen += len(message.get("body", b""))
        if seen > MAX_BODY_BYTES:
            raise _TooLarge
        return message

    return limited
