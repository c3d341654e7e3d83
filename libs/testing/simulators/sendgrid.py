"""SendGrid: ``POST /v3/mail/send`` with its validation, the Email Activity look-up, and the signed event webhook.

``POST /_control/webhook {"url": ...}`` says where events go; ``GET /_control/public_key`` is the verification key.
Sources: Twilio SendGrid v3 API reference, Event Webhook reference.
"""

from __future__ import annotations

import asyncio
import base64
import html
import json
import re
import secrets
import time
from pathlib import Path
from typing import Any

import httpx
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp

from libs.testing.simulators.control import Faults, Record, main, simulator

_EMAIL = re.compile(r"^[^@\s<>]+@[^@\s<>]+\.[^@\s<>]+$")
_QUERY = re.compile(r"unique_args\[\"?(?P<name>\w+)\"?\]\s*=\s*\"(?P<value>[^\"]+)\"")
WEBHOOK_TRIES = 6


def problems(body: Any) -> list[dict[str, Any]]:
    """What the real API would say about a request body; empty when it would take it."""
    found: list[dict[str, Any]] = []

    def refuse(message: str, field: str | None) -> None:
        found.append({"message": message, "field": field, "help": None})

    if not isinstance(body, dict):
        refuse("Bad Request", None)
        return found
    sender = body.get("from")
    if not isinstance(sender, dict) or not _EMAIL.match(str(sender.get("email", ""))):
        refuse("The from email does not contain a valid address.", "from.email")
    personalizations = body.get("personalizations")
    if not isinstance(personalizations, list) or not 1 <= len(personalizations) <= 1000:
        refuse("The personalizations field is required and must have at least one personalization.", "personalizations")
        personalizations = []
    for index, personalization in enumerate(personalizations):
        to = personalization.get("to") if isinstance(personalization, dict) else None
        if not isinstance(to, list) or not to:
            refuse(
                "The to array is required for all personalization objects, and must have at least one email object.",
                f"personalizations.{index}.to",
            )
            continue
        addresses = [str(entry.get("email", "")) for entry in to if isinstance(entry, dict)]
        for position, address in enumerate(addresses):
            if not _EMAIL.match(address):
                refuse("Does not contain a valid address.", f"personalizations.{index}.to.{position}.email")
        if len(set(addresses)) != len(addresses):
            refuse("Each email address in the personalization block should be unique.", f"personalizations.{index}.to")
    subjects = [p.get("subject") for p in personalizations if isinstance(p, dict)]
    if "template_id" not in body and not body.get("subject") and not all(subjects):
        refuse("The subject is required. You can get around this requirement if you use a template with a subject defined.", "subject")
    content = body.get("content")
    if "template_id" not in body and (not isinstance(content, list) or not content):
        refuse("Unless a valid template_id is provided, the content parameter is required.", "content")
    for index, part in enumerate(content if isinstance(content, list) else []):
        if not part.get("value"):
            refuse("The content value must be a string at least one character in length.", f"content.{index}.value")
    arguments = body.get("custom_args", {})
    if not isinstance(arguments, dict) or any(not isinstance(value, str) for value in arguments.values()):
        refuse("The custom_args values must be strings.", "custom_args")
    elif len(json.dumps(arguments)) > 10_000:
        refuse("The custom_args may not exceed 10000 bytes.", "custom_args")
    return found


class SendGridSimulator:
    def __init__(self, state: Path) -> None:
        self.record = Record(state / "accepted.jsonl")
        self.faults = Faults()
        self._settings = state / "settings.json"
        self._key = _kept_key(state / "webhook-key.pem")
        self._posting: set[asyncio.Task[None]] = set()
        self._client: httpx.AsyncClient | None = None

    @property
    def public_key(self) -> str:
        spki = self._key.public_key().public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
        return base64.b64encode(spki).decode()

    def app(self) -> ASGIApp:
        routes = [
            Route("/v3/mail/send", self.send, methods=["POST"]),
            Route("/v3/messages", self.messages),
            Route("/_control/webhook", self.set_webhook, methods=["POST"]),
            Route("/_control/public_key", self.show_key),
            Route("/_control/events", self.post_event, methods=["POST"]),
        ]
        return simulator(routes, self.record, self.faults, self.page)

    async def send(self, request: Request) -> Response:
        if not re.match(r"^Bearer SG\.\S+$", request.headers.get("authorization", "")):
            return _refused(
                401, [{"message": "The provided authorization grant is invalid, expired, or revoked", "field": None, "help": None}]
            )
        if not request.headers.get("content-type", "").startswith("application/json"):
            return _refused(415, [{"message": "Content-Type should be application/json.", "field": None, "help": None}])
        try:
            body = await request.json()
        except ValueError:
            return _refused(400, [{"message": "Bad Request", "field": None, "help": None}])
        found = problems(body)
        if found:
            return _refused(400, found)
        message_id = secrets.token_urlsafe(16)
        self.record.add({"message_id": message_id, "at": time.time(), "traceparent": request.headers.get("traceparent", ""), **body})
        self._deliver(message_id, body)
        return Response(status_code=202, headers={"X-Message-Id": message_id})

    async def messages(self, request: Request) -> Response:
        """Email Activity: only the query by unique argument, which is the one we use."""
        if not re.match(r"^Bearer SG\.\S+$", request.headers.get("authorization", "")):
            return _refused(401, [{"message": "authorization required", "field": None, "help": None}])
        match = _QUERY.search(request.query_params.get("query", ""))
        if match is None:
            return _refused(400, [{"message": "invalid filter query", "field": "query", "help": None}])
        found = [line for line in self.record.lines if line.get("custom_args", {}).get(match["name"]) == match["value"]]
        shown = [
            {"from_email": line["from"]["email"], "msg_id": f"{line['message_id']}.filter0001", "status": "delivered", "opens_count": 0}
            for line in found
        ]
        return JSONResponse({"messages": shown})

    async def set_webhook(self, request: Request) -> Response:
        """``{"url": ..., "practice": ...}``: events about e-mails from any sender go there; several may be set by sender."""
        settings = self._read_settings()
        body = await request.json()
        settings[body.get("sender", "*")] = body["url"]
        self._settings.write_text(json.dumps(settings))
        return JSONResponse(settings)

    async def show_key(self, _: Request) -> Response:
        return JSONResponse({"public_key": self.public_key})

    async def post_event(self, request: Request) -> Response:
        """Report an event about an accepted e-mail: ``{"message_id", "event"}``."""
        body = await request.json()
        line = next((line for line in self.record.lines if line["message_id"] == body["message_id"]), None)
        if line is None:
            return JSONResponse({"error": "no such message"}, 404)
        status = await self._post_once(line, [self._event(line, body["event"])])
        return JSONResponse({"status": status})

    def _read_settings(self) -> dict[str, str]:
        found: dict[str, str] = json.loads(self._settings.read_text()) if self._settings.exists() else {}
        return found

    def _deliver(self, message_id: str, body: dict[str, Any]) -> None:
        """Afterwards, as the real one: processed and delivered, in one signed batch."""
        line = {"message_id": message_id, **body}
        if self._url_for(line) is None:
            return
        task = asyncio.create_task(self._post(line, [self._event(line, "processed"), self._event(line, "delivered")]))
        self._posting.add(task)
        task.add_done_callback(self._posting.discard)

    def _url_for(self, line: dict[str, Any]) -> str | None:
        settings = self._read_settings()
        return settings.get(line["from"]["email"], settings.get("*"))

    def _event(self, line: dict[str, Any], event: str) -> dict[str, Any]:
        return {
            "email": line["personalizations"][0]["to"][0]["email"], "timestamp": int(time.time()), "event": event,
            "smtp-id": f"<{line['message_id']}@simulator>", "sg_event_id": secrets.token_urlsafe(12),
            "sg_message_id": f"{line['message_id']}.filter0001.1", **line.get("custom_args", {}),
        }  # fmt: skip

    async def _post(self, line: dict[str, Any], events: list[dict[str, Any]]) -> None:
        """Anything but 2xx is repeated; the real one does so for a day."""
        for attempt in range(WEBHOOK_TRIES):
            status = await self._post_once(line, events)
            if status is not None and 200 <= status < 300:
                return
            await asyncio.sleep(min(0.5 * 2**attempt, 5.0))

    async def _post_once(self, line: dict[str, Any], events: list[dict[str, Any]]) -> int | None:
        url = self._url_for(line)
        if url is None:
            return None
        raw = json.dumps(events).encode() + b"\r\n"
        timestamp = str(int(time.time()))
        signature = self._key.sign(timestamp.encode() + raw, ec.ECDSA(hashes.SHA256()))
        headers = {
            "content-type": "application/json;charset=utf-8",
            "x-twilio-email-event-webhook-signature": base64.b64encode(signature).decode(),
            "x-twilio-email-event-webhook-timestamp": timestamp,
        }
        if self._client is None:
            self._client = httpx.AsyncClient(timeout=10.0, trust_env=False)
        try:
            return (await self._client.post(url, content=raw, headers=headers)).status_code
        except httpx.HTTPError:
            return None

    def page(self, _: Request) -> Response:
        rows = "".join(
            f"<article><h2>{html.escape(line.get('subject', ''))}</h2><p>to {html.escape(line['personalizations'][0]['to'][0]['email'])}, "
            f"from {html.escape(line['from']['email'])}</p><pre>{html.escape(line['content'][0]['value'])}</pre></article>"
            for line in reversed(self.record.lines[-200:])
        )
        style = "body{font:16px/1.5 system-ui;max-width:44rem;margin:2rem auto;padding:0 1rem}article{border-top:1px solid #ccc}"
        style += "h2{font-size:1rem;margin:.8rem 0 0}p{color:#555;margin:0}pre{white-space:pre-wrap}"
        head = f"<!doctype html><html lang=en><meta charset=utf-8><title>E-mails accepted</title><style>{style}</style>"
        return HTMLResponse(f"{head}<h1>{len(self.record.lines)} e-mails accepted (SendGrid simulator)</h1>{rows}")


def _refused(status: int, errors: list[dict[str, Any]]) -> Response:
    return JSONResponse({"errors": errors}, status)


def _kept_key(path: Path) -> ec.EllipticCurvePrivateKey:
    """The signing key, made once and kept."""
    if not path.exists():
        key = ec.generate_private_key(ec.SECP256R1())
        pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        path.touch(mode=0o600)
        path.write_bytes(pem)
    loaded = serialization.load_pem_private_key(path.read_bytes(), None)
    assert isinstance(loaded, ec.EllipticCurvePrivateKey)
    return loaded


if __name__ == "__main__":
    main(lambda state: SendGridSimulator(state).app())
