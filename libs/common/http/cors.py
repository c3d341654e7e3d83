"""Pages of a practice call from that practice's own web origins (WHATWG Fetch, CORS).

A preflight brings no token, so it is told whether any practice's pages come from there; the request itself is served
only when the origin is the caller's practice's own, or that of the address it was sent to. No cookies are involved.
"""

from __future__ import annotations

from urllib.parse import urlsplit

from fastapi import Request, Response
from starlette.types import Scope

from libs.common.errors import Forbidden
from libs.common.http.problems import problem

_EXPOSED = "etag, location, retry-after, ratelimit-limit, ratelimit-remaining, ratelimit-reset, x-correlation-id, idempotent-replayed"
_PREFLIGHT = {
    "access-control-allow-methods": "GET, POST, PUT, PATCH, DELETE",
    "access-control-allow-headers": "authorization, content-type, idempotency-key, if-match, traceparent, vantage-practice, x-api-key",
    "access-control-max-age": "600",
}


class OriginNotAllowed(Forbidden):
    """Pages from this origin may not call for this practice."""


def is_preflight(scope: Scope, headers: dict[str, str]) -> bool:
    return scope["method"] == "OPTIONS" and "origin" in headers and "access-control-request-method" in headers


async def answer_headers(scope: Scope, origin: str) -> list[tuple[bytes, bytes]]:
    """What lets a page of this origin read an answer; for an unknown origin only that answers differ by origin."""
    vary = (b"vary", b"origin")
    if not await scope["app"].state.access.origin_known(origin):
        return [vary]
    return [vary, (b"access-control-allow-origin", origin.encode("latin-1")), (b"access-control-expose-headers", _EXPOSED.encode())]


async def preflight(scope: Scope, origin: str) -> Response:
    """204 for an origin some practice's pages come from, else 403."""
    if await scope["app"].state.access.origin_known(origin):
        return Response(status_code=204, headers=_PREFLIGHT)
    return problem(403, OriginNotAllowed.code, OriginNotAllowed().message)


def check_origin(request: Request, origins: frozenset[str]) -> None:
    """Raises ``OriginNotAllowed`` when a page calls that is neither the practice's nor of this address."""
    origin = request.headers.get("origin")
    if origin is None or origin in origins or urlsplit(origin).netloc == request.headers.get("host"):
        return
    raise OriginNotAllowed
