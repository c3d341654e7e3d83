"""What the gateway itself answers when it refuses: problem documents with stable codes, as the services give them."""

from __future__ import annotations

import json

PROBLEMS: dict[int, tuple[str, str]] = {
    400: ("bad_request", "The request cannot be read."),
    401: ("token_refused", "A valid bearer token or API key is needed."),
    404: ("no_route", "There is nothing at this address."),
    408: ("request_timeout", "The request took too long to arrive."),
    413: ("body_too_large", "The request body is too large."),
    426: ("upgrade_required", "This protocol version is not taken here."),
    429: ("rate_limited", "Too many requests; come back when Retry-After says."),
    431: ("headers_too_large", "The request headers are too large."),
    503: ("upstream_unavailable", "This does not work right now."),
    504: ("upstream_timeout", "No answer came in time."),
}
OTHER = ("gateway_error", "The gateway could not pass this request on.")
_AUDIENCE = 403
"""Envoy's status for a token made for somebody else: to the caller a token that is not valid here, as any other."""

_INDENT = " " * 18


def mappers() -> str:
    """The entries of Envoy's ``local_reply_config.mappers``: one for each status, then one for all others from 400 on."""
    entries = [_mapper(_equal(_AUDIENCE), *PROBLEMS[401], "status_code: 401")]
    entries += [_mapper(_equal(status), *PROBLEMS[status]) for status in PROBLEMS]
    return "\n".join([*entries, _mapper("op: GE, value: {default_value: 400, runtime_key: problem_other}", *OTHER)])


def _equal(status: int) -> str:
    return f"op: EQ, value: {{default_value: {status}, runtime_key: problem_{status}}}"


def _mapper(comparison: str, code: str, title: str, *more: str) -> str:
    document = {
        "type": f"https://errors.vantage.example/{code}",
        "title": title,
        "status": "%RESPONSE_CODE%",
        "code": code,
        "request_id": "%REQ(X-REQUEST-ID)%",
    }
    lines = (
        f"- filter: {{status_code_filter: {{comparison: {{{comparison}}}}}}}",
        f"  body_format_override: {{content_type: application/problem+json, json_format: {json.dumps(document)}}}",
        *(f"  {one}" for one in more),
    )
    return "\n".join(_INDENT + line for line in lines)
