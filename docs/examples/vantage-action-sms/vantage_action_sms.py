"""The action ``send_sms``: a text message through an HTTP gateway that knows repeats by the id we give them.

``SMS_GATEWAY_URL`` and ``SMS_GATEWAY_TOKEN`` name the gateway; ``PUT /messages/{id}`` sends, ``GET /messages/{id}`` looks up.
"""

from __future__ import annotations

import os
import ssl
from functools import cache
from typing import Annotated

import httpx
from libs.common.actions import ActionPlugin, Effect, NotSent, OutcomeUnknown, Rejected
from libs.common.command import Command
from libs.common.work import Work
from pydantic import BaseModel, Field, StringConstraints

Phone = Annotated[str, StringConstraints(pattern=r"^\+[1-9][0-9]{6,14}$")]
ShortText = Annotated[str, StringConstraints(min_length=1, max_length=480)]


class SendSms(Command):
    to: Phone = Field(title="To", description="A phone number with its country code, like {{patient.phone}}.")
    text: ShortText = Field(title="Text", description="At most 480 characters: three messages on the phone.")


class SendSmsResult(BaseModel):
    parts: int = Field(title="Parts", description="Into how many messages the gateway split the text.")


class SmsNotTaken(NotSent):
    """The gateway cannot take the message now."""


class SmsRejected(Rejected):
    """The gateway refused the message."""


class SmsUnknown(OutcomeUnknown):
    """Whether the gateway took the message is unknown."""


async def send_sms(parameters: SendSms, effect: Effect, work: Work) -> SendSmsResult:  # noqa: ARG001 - the shape: it leaves the house
    """One call. What it raises says whether the message may be on its way."""
    try:
        async with _gateway() as gateway:
            answer = await gateway.put(f"/messages/{effect.key}", json=parameters.model_dump())
    except (httpx.ConnectError, httpx.ConnectTimeout) as error:
        code = "gateway_unreachable"
        raise SmsNotTaken(code) from error
    except httpx.HTTPError as error:
        code = "gateway_answer_lost"
        raise SmsUnknown(code) from error
    code = f"gateway_status_{answer.status_code}"
    if answer.status_code in {429, 503}:
        raise SmsNotTaken(code)
    if answer.is_client_error:
        raise SmsRejected(code)
    if not answer.is_success:
        raise SmsUnknown(code)
    return SendSmsResult(parts=answer.json()["parts"])


async def find_sms(parameters: SendSms, effect: Effect, work: Work) -> SendSmsResult | None:  # noqa: ARG001 - the shape
    """What the gateway knows of this effect; None when it provably has nothing."""
    async with _gateway() as gateway:
        answer = await gateway.get(f"/messages/{effect.key}")
    if answer.status_code == httpx.codes.NOT_FOUND:
        return None
    return SendSmsResult(parts=answer.raise_for_status().json()["parts"])


def _gateway() -> httpx.AsyncClient:
    """Raises ``SmsRejected`` when nobody said where it is: that is no outcome to wait for."""
    url, token = os.environ.get("SMS_GATEWAY_URL"), os.environ.get("SMS_GATEWAY_TOKEN")
    if not url or not token:
        code = "gateway_not_configured"
        raise SmsRejected(code)
    headers = {"authorization": f"Bearer {token}"}
    return httpx.AsyncClient(base_url=url, headers=headers, timeout=8.0, trust_env=False, verify=_tls())


@cache
def _tls() -> ssl.SSLContext:
    """Read once: it takes longer than a call."""
    return ssl.create_default_context()


SEND_SMS = ActionPlugin(
    name="send_sms",
    owner="notifications",
    title="Send a text message",
    help="Sends a text message to a phone number, once.",
    parameters=SendSms,
    result=SendSmsResult,
    handler=send_sms,
    lookup=find_sms,
    personal_data=("phone", "text"),
)
