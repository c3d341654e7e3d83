"""How the server says no: two shapes by version, and the code again in a header."""

from __future__ import annotations

import re
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

VERSION_HEADER = "X-Supabase-Api-Version"
VERSION = "2024-01-01"


class Refusal(Exception):
    """An error as the server words it. ``more`` goes into the body beside it."""

    def __init__(self, status: int, code: str, message: str, **more: Any) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message
        self.more = more

    def response(self, request: Request) -> Response:
        """``{"code", "message"}`` for who asks for the version of 2024, ``{"code", "error_code", "msg"}`` for all others."""
        headers = {"x-sb-error-code": self.code}
        wanted = request.headers.get(VERSION_HEADER, "")
        if re.fullmatch(r"\d{4}-\d{2}-\d{2}", wanted) and wanted >= VERSION:
            headers[VERSION_HEADER] = VERSION
            return JSONResponse({"code": self.code, "message": self.message, **self.more}, self.status, headers)
        return JSONResponse({"code": self.status, "error_code": self.code, "msg": self.message, **self.more}, self.status, headers)


class OAuthRefusal(Refusal):
    """The token endpoint's own shape, which has no code."""

    def __init__(self, error: str, description: str = "") -> None:
        super().__init__(400, error, description)

    def response(self, _: Request) -> Response:
        return JSONResponse({"error": self.code, **({"error_description": self.message} if self.message else {})}, 400)


def invalid(message: str) -> Refusal:
    return Refusal(400, "validation_failed", message)


def not_simulated(what: str) -> Refusal:
    """The real server would do it. Nobody shall take an answer of ours for its answer."""
    return Refusal(501, "not_simulated", f"{what} is not simulated")


def email_exists() -> Refusal:
    return Refusal(422, "email_exists", "A user with this email address has already been registered")
