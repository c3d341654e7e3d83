"""What a request says, read as strictly as the real server reads it."""

from __future__ import annotations

import json
import re
from typing import Any

from starlette.requests import Request

from libs.testing.simulators.supabase.refusals import Refusal, invalid

_BEARER = re.compile(r"[Bb]earer (\S+)")
_EMAIL = re.compile(r"[^@\s<>(),;:\\\"\[\]]+@[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?(?:\.[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?)+")


async def body_of(request: Request) -> dict[str, Any]:
    try:
        body = json.loads(await request.body())
    except ValueError as error:
        raise _bad_json(str(error)) from error
    if not isinstance(body, dict):
        raise _bad_json(f"cannot unmarshal {type(body).__name__} into an object")
    return body


def text(body: dict[str, Any], name: str) -> str:
    """Empty when absent or null, as Go has it."""
    return str(_typed(body, name, str) or "")


def flag(body: dict[str, Any], name: str) -> bool:
    return bool(_typed(body, name, bool))


def table(body: dict[str, Any], name: str) -> dict[str, Any] | None:
    found: dict[str, Any] | None = _typed(body, name, dict)
    return found


def _typed(body: dict[str, Any], name: str, kind: type) -> Any:
    value = body.get(name)
    if value is not None and not isinstance(value, kind):
        raise _bad_json(f"cannot unmarshal {type(value).__name__} into field {name}")
    return value


def _bad_json(why: str) -> Refusal:
    return Refusal(400, "bad_json", f"Could not parse request body as JSON: {why}")


def email_of(body: dict[str, Any], name: str = "email") -> str:
    """The address in lower case."""
    email = text(body, name)
    if not email:
        raise invalid("An email address is required")
    if len(email) > 255:
        raise invalid("An email address is too long")
    if not _EMAIL.fullmatch(email):
        raise invalid("Unable to validate email address: invalid format")
    return email.lower()


def bearer(request: Request) -> str:
    match = _BEARER.fullmatch(request.headers.get("authorization", ""))
    if match is None:
        raise Refusal(401, "no_authorization", "This endpoint requires a valid Bearer token")
    return match[1]


def address(request: Request) -> str:
    """Where the request comes from, as its hooks are told."""
    forwarded = request.headers.get("x-forwarded-for", "").split(",")[0].strip()
    return forwarded or (request.client.host if request.client else "")
