"""Every error as problem+json (RFC 9457): a stable code, a sentence, pointers to the fields, the trace id.

Nothing of the request's content is repeated, and nothing of an internal error is told.
"""

from __future__ import annotations

from typing import Any

import orjson
from fastapi import Request, Response
from fastapi.exceptions import RequestValidationError
from opentelemetry import trace
from starlette.exceptions import HTTPException

from libs.common.errors import Trouble, Unauthenticated, Unavailable

CONTENT_TYPE = "application/problem+json"
_TITLES = {
    400: "The request cannot be read.",
    404: "There is nothing at this address.",
    405: "This address does not take that method.",
    413: "The request body is too large.",
    415: "This content type is not taken here.",
    500: "Something went wrong on our side.",
}


def problem(
    status: int, code: str, title: str, *, errors: list[dict[str, Any]] | None = None, headers: dict[str, str] | None = None, **extra: Any
) -> Response:
    """A problem document. ``errors``: one ``{pointer, code, message}`` per offending field, and what else is known of it."""
    body: dict[str, Any] = {"type": f"https://errors.vantage.example/{code}", "title": title, "status": status, "code": code, **extra}
    if errors:
        body["errors"] = errors
    context = trace.get_current_span().get_span_context()
    if context.is_valid:
        body["trace_id"] = f"{context.trace_id:032x}"
    return Response(orjson.dumps(body, default=str), status, headers, CONTENT_TYPE)


async def on_trouble(_: Request, error: Exception) -> Response:
    assert isinstance(error, Trouble)
    headers = {}
    if isinstance(error, Unavailable):
        headers["Retry-After"] = str(error.retry_after_seconds)
    if isinstance(error, Unauthenticated):
        headers["WWW-Authenticate"] = "Bearer"
    details = dict(error.details)
    errors = details.pop("errors", None)
    if errors is None and error.pointer:
        errors = [{"pointer": error.pointer, "code": error.code, "message": error.message}]
    return problem(error.status, error.code, error.message, errors=errors, headers=headers, **details)


async def on_invalid_input(_: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    errors = [
        {
            "pointer": _pointer(found["loc"], error.body, missing=found["type"] == "missing"),
            "in": str(found["loc"][0]) if found["loc"] else "body",
            "code": found["type"],
            "message": _message(found),
        }
        for found in error.errors()
    ]
    if any(entry["code"] == "json_invalid" for entry in errors):
        return problem(400, "invalid_json", "The request body is not JSON.", errors=errors)
    return problem(422, "invalid_input", "The input is not what this operation takes.", errors=errors)


async def on_http_error(_: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    title = _TITLES.get(error.status_code, "The request was refused.")
    return problem(error.status_code, f"http_{error.status_code}", title, headers=dict(error.headers or {}))


def internal_error() -> Response:
    return problem(500, "internal_error", _TITLES[500])


def _pointer(location: tuple[Any, ...], body: Any, *, missing: bool) -> str:
    """A JSON pointer into the body. Pydantic's location also names which kind of a union it tried: that is no part of a path."""
    parts: list[str] = []
    here = body if location and location[0] == "body" else None
    for index, part in enumerate(location[1:], 2):
        last = index == len(location)
        if isinstance(here, dict) and not (last and missing):
            inner = here.get(part)
            if part not in here or not (last or isinstance(inner, dict | list)):
                continue
        else:
            inner = here[part] if isinstance(here, list) and isinstance(part, int) and part < len(here) else None
        here = inner
        parts.append(str(part).replace("~", "~0").replace("/", "~1"))
    return "/" + "/".join(parts)


def _message(found: Any) -> str:
    """Pydantic's sentence; it names limits and types, never the input."""
    return str(found["msg"])
