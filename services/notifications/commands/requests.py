"""The action ``http_request``: one call of an outside system, told apart from its repeats by the effect key."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Protocol

import orjson
from pydantic import AfterValidator, BaseModel, Field, StringConstraints

from libs.common.actions import Effect, NotSent, OutcomeUnknown, Rejected
from libs.common.command import Command
from libs.common.work import Work
from services.notifications.rules.requests import (
    NAME_PATTERN,
    URL_PATTERN,
    VALUE_PATTERN,
    Answer,
    Call,
    Verdict,
    header_name,
    header_value,
    pause_asked,
    verdict,
)

LARGEST_BODY = 65_536


def _small(value: Any) -> Any:
    try:
        size = len(orjson.dumps(value))
    except (orjson.JSONEncodeError, RecursionError):
        message = "this is not JSON"
        raise ValueError(message) from None
    if size > LARGEST_BODY:
        message = "the body is at most 64 KB"
        raise ValueError(message)
    return value


HeaderName = Annotated[str, AfterValidator(header_name)]
HeaderValue = Annotated[str, AfterValidator(header_value)]
Url = Annotated[str, StringConstraints(min_length=1, max_length=2000, pattern=r"^https?://[^\s\\]+$")]
Status = Annotated[int, Field(ge=100, le=599)]


class HttpRequest(Command):
    """``Host``, ``Authorization`` and what frames a message cannot be set; redirects are not followed."""

    method: Literal["GET", "POST", "PUT", "PATCH", "DELETE"] = Field("POST", title="Method", description="The HTTP method.")
    url: Url = Field(
        title="URL",
        description="A public https address with a host name, on port 443.",
        json_schema_extra={"pattern": URL_PATTERN},
    )
    headers: dict[HeaderName, HeaderValue] = Field(
        default_factory=dict,
        max_length=20,
        title="Headers",
        description="At most 20. Host, Authorization and the like cannot be set.",
        json_schema_extra={
            "propertyNames": {"pattern": NAME_PATTERN, "description": "Host, Authorization and the like cannot be set."},
            "additionalProperties": {"type": "string", "pattern": VALUE_PATTERN},
        },
    )
    body: Annotated[Any, AfterValidator(_small)] = Field(None, title="JSON body", description="Any JSON of at most 64 KB; empty for none.")
    timeout_seconds: float = Field(10.0, ge=1, le=20, title="Time-out", description="Seconds until the answer counts as lost.")
    expected_status: list[Status] = Field(
        default_factory=list, max_length=20, title="Expected status", description="Statuses that count as success; empty for any 2xx."
    )
    idempotent: bool = Field(
        default=False,
        title="May be repeated",
        description="The receiver tells repeats by the Idempotency-Key header: a lost answer is then asked for again.",
    )


class HttpRequestResult(BaseModel):
    status: int = Field(title="Status", description="The HTTP status of the answer. The answer's body is not kept.")


class RequestRejected(Rejected):
    """The receiver refused the request."""


class RequestNotTaken(NotSent):
    """The receiver could not be reached or could not take the request."""


class RequestUnknown(OutcomeUnknown):
    """Whether the receiver took the request is unknown."""


class Requester(Protocol):
    """Sends one request and says what came of it, whatever happens."""

    async def send(self, call: Call) -> Answer: ...


def may_be_repeated(parameters: HttpRequest) -> bool:
    return parameters.idempotent or parameters.method == "GET"


async def http_request(parameters: HttpRequest, effect: Effect, work: Work, requester: Requester) -> HttpRequestResult:  # noqa: ARG001 - the shape
    """One call. The effect key travels as ``Idempotency-Key``: a receiver that knows it can tell a repeat."""
    headers = {**parameters.headers, "idempotency-key": str(effect.key)}
    body = None if parameters.body is None else orjson.dumps(parameters.body)
    if body is not None:
        headers["content-type"] = "application/json"
    call = Call(parameters.method, parameters.url, headers, body, parameters.timeout_seconds, effect.traceparent)
    answer = await requester.send(call)
    code = answer.code if answer.status is None else f"status_{answer.status}"
    match verdict(answer, parameters.expected_status, may_repeat=may_be_repeated(parameters)):
        case Verdict.DONE:
            assert answer.status is not None
            return HttpRequestResult(status=answer.status)
        case Verdict.AGAIN:
            raise RequestNotTaken(code, after_seconds=pause_asked(answer.retry_after))
        case Verdict.FAILED:
            raise RequestRejected(code)
        case Verdict.UNKNOWN:
            raise RequestUnknown(code)
