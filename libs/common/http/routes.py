"""Routes that declare who may call them. An operation that declares nothing does not start.

``@router.get("/…", **needs(Permission.X))`` for people and keys; ``**public("why")`` for callers who prove themselves
otherwise. The declaration is what the door enforces, what the OpenAPI document says and what the permission walk tests.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any

from fastapi import APIRouter, Request, Response
from fastapi.routing import APIRoute

from libs.common.auth import Permission
from libs.common.errors import Trouble
from libs.common.http.strict_json import InvalidJson, strict_json

PERMISSION = "x-permission"
PUBLIC = "x-public"
Handler = Callable[[Request], Coroutine[Any, Any, Response]]


class ContentTypeRefused(Trouble):
    """This operation takes application/json in UTF-8, without content encoding."""

    status = 415


class ParameterUnknown(Trouble):
    """This operation does not take such a query parameter."""

    status = 422


class ParameterRepeated(Trouble):
    """A query parameter is given once."""

    status = 422


def needs(permission: Permission) -> dict[str, Any]:
    """Keyword arguments of a route: who may call it."""
    return {"openapi_extra": {PERMISSION: str(permission), "security": [{"bearer": []}, {"apiKey": []}]}}


def public(reason: str) -> dict[str, Any]:
    """Keyword arguments of a route whose callers bring no token; the reason says what protects it instead."""
    return {"openapi_extra": {PUBLIC: reason, "security": []}}


class DeclaredRoute(APIRoute):
    """A route with a declared permission, a strict reading of bodies and no unknown query parameters."""

    def __init__(self, path: str, endpoint: Callable[..., Any], **kwargs: Any) -> None:
        super().__init__(path, endpoint, **kwargs)
        declared = self.openapi_extra or {}
        if (PERMISSION in declared) == (PUBLIC in declared):
            message = f"{self.methods} {path}: declare needs(Permission...) or public(reason)"
            raise TypeError(message)
        self.permission = Permission(declared[PERMISSION]) if PERMISSION in declared else None

    def get_route_handler(self) -> Handler:
        handle = super().get_route_handler()
        takes_body = self.body_field is not None
        known = _query_names(self.dependant)

        async def strictly(request: Request) -> Response:
            if self.permission is not None:
                _check_query(request, known)
            if takes_body:
                request = _Parsed(request.scope, request.receive, await _body(request))
            return await handle(request)

        return strictly


class Routes(APIRouter):
    """A router of such routes."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(route_class=DeclaredRoute, **kwargs)


class _Parsed(Request):
    """A request whose JSON was read already."""

    def __init__(self, scope: Any, receive: Any, parsed: tuple[bytes, Any]) -> None:
        super().__init__(scope, receive)
        self._body, self._parsed = parsed

    async def json(self) -> Any:
        return self._parsed


async def _body(request: Request) -> tuple[bytes, Any]:
    body = await request.body()
    if not body:
        return body, None
    media, _, parameters = request.headers.get("content-type", "").lower().partition(";")
    charset = parameters.strip().removeprefix("charset=").strip('"')
    if media.strip() != "application/json" or charset not in {"", "utf-8"}:
        raise ContentTypeRefused
    if request.headers.get("content-encoding", "identity").lower() != "identity":
        raise ContentTypeRefused
    if body.startswith(b"\xef\xbb\xbf"):  # RFC 8259 §8.1
        raise InvalidJson
    return body, strict_json(body)


def _query_names(dependant: Any) -> frozenset[str]:
    names = {field.alias for field in dependant.query_params}
    return frozenset(names.union(*(_query_names(inner) for inner in dependant.dependencies)))


def _check_query(request: Request, known: frozenset[str]) -> None:
    given = [name for name, _ in request.query_params.multi_items()]
    for name in given:
        if name not in known:
            raise ParameterUnknown(parameters=sorted(known))
    if len(given) != len(set(given)):
        raise ParameterRepeated
