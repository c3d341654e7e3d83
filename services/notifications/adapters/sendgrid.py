"""SendGrid v3: one e-mail per request, and the look-up of one whose answer was lost.

The body is made by SendGrid's own library; the request is sent by a pooled asynchronous client, because that library
only sends synchronously. ``custom_args`` carry the effect key and our ids: opaque, never personal (SendGrid treats them
as not personal). The look-up uses the Email Activity API (``GET /v3/messages``), which lags behind sending.
"""

from __future__ import annotations

from typing import Any
from uuid import UUID

import httpx
from httpx_aiohttp import AiohttpTransport
from opentelemetry.trace import SpanKind
from opentelemetry.util.types import AttributeValue
from sendgrid.helpers.mail import Content, CustomArg, From, Mail, Subject, To

from libs.common.actions.outcomes import Attempt, attempt_of
from libs.common.outbound.client import never_sent
from libs.common.telemetry import context_of, failed, span
from services.notifications.rules.mail import Email, ProviderAnswer

TIMEOUT = httpx.Timeout(10.0, connect=5.0)
EFFECT_ARG = "vantage_effect"
MESSAGE_ARG = "vantage_message"


def request_body(email: Email) -> dict[str, Any]:
    """The body of ``POST /v3/mail/send``. Names lose ``,`` and ``;``, which SendGrid reads as separators."""
    mail = Mail()
    mail.from_email = From(email.sender_email, _name(email.sender_name))
    mail.to = To(email.to_email, _name(email.to_name))
    mail.subject = Subject(email.subject)
    mail.content = Content("text/plain", email.text)
    mail.custom_arg = [CustomArg(EFFECT_ARG, str(email.effect_key)), CustomArg(MESSAGE_ARG, str(email.message_id))]
    body: dict[str, Any] = mail.get()
    body["tracking_settings"] = {"click_tracking": {"enable": False, "enable_text": False}, "open_tracking": {"enable": False}}
    return body


def _name(text: str) -> str:
    return text.replace(",", " ").replace(";", " ").strip()


class SendGrid:
    """The provider, one pooled client per process."""

    def __init__(self, url: str, concurrency: int) -> None:
        self._url = url.rstrip("/")
        self._concurrency = concurrency
        self._client: httpx.AsyncClient | None = None

    async def open(self) -> None:
        limits = httpx.Limits(max_connections=self._concurrency, max_keepalive_connections=self._concurrency)
        self._client = httpx.AsyncClient(transport=AiohttpTransport(limits=limits, retries=0), timeout=TIMEOUT, trust_env=False)

    async def close(self) -> None:
        if self._client is not None:
            await self._client.aclose()
            self._client = None

    async def send(self, email: Email) -> ProviderAnswer:
        """One attempt. Never raises for what the network or the provider does; says whether the e-mail may be on its way."""
        attributes: dict[str, AttributeValue] = {
            "server.address": self._url,
            "vantage.effect_key": str(email.effect_key),
            "vantage.practice_id": str(email.practice_id),
        }
        with span("POST /v3/mail/send", kind=SpanKind.CLIENT, parent=context_of(email.traceparent), attributes=attributes) as current:
            try:
                answer = await self._post("/v3/mail/send", email.api_key, request_body(email))
            except httpx.HTTPError as error:
                failed(current, error)
                if never_sent(error):
                    return ProviderAnswer(Attempt.NOT_SENT, code="provider_unreachable")
                # The request was (perhaps) written and no answer came: SendGrid may have it.
                return ProviderAnswer(Attempt.LOST, code="provider_answer_lost")
            current.set_attribute("http.response.status_code", answer.status_code)
            return _read(answer)

    async def find(self, api_key: str, effect_key: UUID) -> str | None:
        """The provider's id of the e-mail with this effect key, None when there is none. Raises ``httpx.HTTPError``."""
        query = f'(unique_args["{EFFECT_ARG}"]="{effect_key}")'
        assert self._client is not None
        answer = await self._client.get(
            f"{self._url}/v3/messages", params={"query": query, "limit": "10"}, headers={"authorization": f"Bearer {api_key}"}
        )
        messages = answer.raise_for_status().json().get("messages", [])
        return str(messages[0]["msg_id"]) if messages else None

    async def _post(self, path: str, api_key: str, body: dict[str, Any]) -> httpx.Response:
        assert self._client is not None
        return await self._client.post(self._url + path, json=body, headers={"authorization": f"Bearer {api_key}"})


def _read(answer: httpx.Response) -> ProviderAnswer:
    attempt = attempt_of(answer.status_code)
    if attempt is Attempt.ACCEPTED:
        return ProviderAnswer(attempt, provider_message_id=answer.headers.get("x-message-id", ""))
    retry_after = answer.headers.get("retry-after", "")
    return ProviderAnswer(
        attempt, code=f"provider_status_{answer.status_code}", retry_after_seconds=float(retry_after) if retry_after.isdecimal() else None
    )
