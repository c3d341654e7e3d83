"""Retell: outbound calls by API v2, the list to look them up in, and the signed webhooks about them.

``POST /_control/webhook {"url", "key", "number"?}`` says where reports about calls from or to that number go (all numbers
without one) and what signs them. Calls then go their way by themselves unless ``"automatic": false``;
``POST /_control/report {"call_id", "event", "changes"?, "times"?, "signed_at"?}`` sends one report, again and again if asked; without a webhook the
call goes its way and nobody is told.
``POST /_control/answering {"reason"}`` says how calls end from now on; ``dial_no_answer`` and the like never connect.
``POST /_control/inbound {"from_number", "to_number"}`` has somebody call the practice. ``POST /_control/do_not_call {"number"}`` puts
a number on the list of those nobody may call.
Sources: Retell's API reference (create phone call, list calls v3, get call) and webhook overview.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import html
import json
import re
import secrets
import time
from pathlib import Path
from typing import Any

import httpx
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp

from libs.testing.simulators.control import Faults, Record, main, simulator

_NUMBER = re.compile(r"\+[1-9][0-9]{6,14}")
WEBHOOK_TRIES = 4
TALK_MS = 15_791
REPEATS_MS = 3_600_000
"""So long a call is known by its idempotency key."""

NOT_FOUND = "Cannot find requested asset under given api key."


def problem(body: Any) -> str | None:
    """What the real API would say about a request to call; None when it would take it."""
    if not isinstance(body, dict):
        return "Invalid request format, please check API reference."
    for name in ("from_number", "to_number"):
        if not isinstance(body.get(name), str) or not _NUMBER.fullmatch(body[name]):
            return f"{name} must be in E.164 format"
    variables = body.get("retell_llm_dynamic_variables", {})
    if not isinstance(variables, dict) or any(not isinstance(value, str) for value in variables.values()):
        return "retell_llm_dynamic_variables values must be strings"
    if not isinstance(body.get("metadata", {}), dict):
        return "metadata must be an object"
    return None


def signature(raw: bytes, key: str, at_ms: int) -> str:
    digest = hmac.new(key.encode(), raw + str(at_ms).encode(), hashlib.sha256).hexdigest()
    return f"v={at_ms},d={digest}"


class RetellSimulator:
    def __init__(self, state: Path) -> None:
        self.record = Record(state / "accepted.jsonl")
        self.faults = Faults()
        self._settings = state / "webhook.json"
        self._calls: dict[str, dict[str, Any]] = {line["call_id"]: line for line in self.record.lines}
        self._reason = "user_hangup"
        self._not_called: set[str] = set()
        self._posting: set[asyncio.Task[None]] = set()
        self._client: httpx.AsyncClient | None = None

    def app(self) -> ASGIApp:
        routes = [
            Route("/v2/create-phone-call", self.create, methods=["POST"]),
            Route("/v2/get-call/{call_id}", self.show),
            Route("/v3/list-calls", self.listing, methods=["POST"]),
            Route("/_control/webhook", self.set_webhook, methods=["POST"]),
            Route("/_control/answering", self.set_reason, methods=["POST"]),
            Route("/_control/do_not_call", self.do_not_call, methods=["POST"]),
            Route("/_control/report", self.report, methods=["POST"]),
            Route("/_control/inbound", self.inbound, methods=["POST"]),
        ]
        return simulator(routes, self.record, self.faults, self.page)

    # --- API ------------------------------------------------------------------------------------------------------

    async def create(self, request: Request) -> Response:
        refused = _unauthorized(request)
        if refused is not None:
            return refused
        body = await _json(request)
        found = problem(body)
        if found is not None:
            return _error(400, found)
        again = self._asked_for_before(body.get("idempotency_key"))
        if again is not None:
            return JSONResponse(_view(again), 201)
        if body.get("honor_internal_dnc") and body["to_number"] in self._not_called:
            return _error(400, "The contact is on the do-not-call list.")
        if not body.get("override_agent_id"):
            return _error(422, NOT_FOUND)
        call = self._new("outbound", body["from_number"], body["to_number"], body["override_agent_id"], body)
        self._go_its_way(call)
        return JSONResponse(_view(call), 201)

    async def show(self, request: Request) -> Response:
        refused = _unauthorized(request)
        call = self._calls.get(request.path_params["call_id"])
        if refused is not None:
            return refused
        return JSONResponse(_view(call)) if call is not None else _error(422, NOT_FOUND)

    async def listing(self, request: Request) -> Response:
        """Filters by metadata, the one we use: each names a key, ``string``, ``eq`` and a value, and all must fit."""
        refused = _unauthorized(request)
        if refused is not None:
            return refused
        body = await _json(request) or {}
        wanted = body.get("filter_criteria", {}).get("metadata", [])
        if any(not isinstance(f, dict) or (f.get("type"), f.get("op")) != ("string", "eq") for f in wanted):
            return _error(400, "Invalid request format, please check API reference.")
        found = [call for call in self._calls.values() if all(call["metadata"].get(f.get("key")) == f.get("value") for f in wanted)]
        limit = min(int(body.get("limit", 50)), 1000)
        shown = [{name: value for name, value in _view(call).items() if not name.startswith("transcript")} for call in found[::-1][:limit]]
        return JSONResponse({"items": shown, "has_more": len(found) > limit})

    # --- control --------------------------------------------------------------------------------------------------

    async def set_webhook(self, request: Request) -> Response:
        body = await request.json()
        settings = self._read_settings()
        settings[body.get("number", "*")] = {"url": body["url"], "key": body["key"], "automatic": body.get("automatic", True)}
        self._settings.write_text(json.dumps(settings))
        return JSONResponse({})

    async def set_reason(self, request: Request) -> Response:
        self._reason = (await request.json())["reason"]
        return JSONResponse({})

    async def do_not_call(self, request: Request) -> Response:
        self._not_called.add((await request.json())["number"])
        return JSONResponse({})

    async def report(self, request: Request) -> Response:
        body = await request.json()
        call = self._calls[body["call_id"]]
        statuses = [await self._tell(call, body["event"], body.get("changes"), body.get("signed_at")) for _ in range(body.get("times", 1))]
        return JSONResponse({"statuses": statuses})

    async def inbound(self, request: Request) -> Response:
        body = await request.json()
        call = self._new("inbound", body["from_number"], body["to_number"], body.get("agent_id", "agent_reception"), {})
        self._go_its_way(call)
        return JSONResponse({"call_id": call["call_id"]})

    # --- inside ---------------------------------------------------------------------------------------------------

    def _new(self, direction: str, from_number: str, to_number: str, agent_id: str, body: dict[str, Any]) -> dict[str, Any]:
        call = {
            "call_id": f"call_{secrets.token_hex(14)}", "call_type": "phone_call", "call_status": "registered", "direction": direction,
            "from_number": from_number, "to_number": to_number, "agent_id": agent_id, "agent_version": 0, "agent_name": "Reception",
            "metadata": body.get("metadata", {}), "retell_llm_dynamic_variables": body.get("retell_llm_dynamic_variables", {}),
            "idempotency_key": body.get("idempotency_key"), "reason": self._reason, "asked_ms": _now_ms(),
        }  # fmt: skip
        self._calls[call["call_id"]] = call
        self.record.add(call)
        return call

    def _asked_for_before(self, key: str | None) -> dict[str, Any] | None:
        since = _now_ms() - REPEATS_MS
        known = (call for call in self._calls.values() if call["idempotency_key"] == key and call.get("asked_ms", 0) > since)
        return next(known, None) if key is not None else None

    def _read_settings(self) -> dict[str, dict[str, Any]]:
        found: dict[str, dict[str, Any]] = json.loads(self._settings.read_text()) if self._settings.exists() else {}
        return found

    def _where(self, call: dict[str, Any]) -> dict[str, Any] | None:
        settings = self._read_settings()
        ours = call["from_number"] if call["direction"] == "outbound" else call["to_number"]
        return settings.get(ours, settings.get("*"))

    def _go_its_way(self, call: dict[str, Any]) -> None:
        where = self._where(call)
        if where is None or not where["automatic"]:
            return
        task = asyncio.create_task(self._whole_course(call))
        self._posting.add(task)
        task.add_done_callback(self._posting.discard)

    async def _whole_course(self, call: dict[str, Any]) -> None:
        """As the real one: a call that does not connect never starts. Anything but 2xx is repeated a few times."""
        events = ["call_ended", "call_analyzed"] if call["reason"].startswith("dial_") else ["call_started", "call_ended", "call_analyzed"]
        for event in events:
            for attempt in range(WEBHOOK_TRIES):
                status = await self._tell(call, event)
                if status is not None and 200 <= status < 300:
                    break
                await asyncio.sleep(0.5 * 2**attempt)

    async def _tell(
        self, call: dict[str, Any], event: str, changes: dict[str, Any] | None = None, signed_at: int | None = None
    ) -> int | None:
        """One report, freshly signed; returns the answer's status."""
        _progress(call, event)
        where = self._where(call)
        if where is None:
            return None
        body = {"event": event, "event_timestamp": _now_ms(), "call": {**_told(call, event), **(changes or {})}}
        raw = json.dumps(body).encode()
        headers = {
            "content-type": "application/json",
            "x-retell-signature": signature(raw, where["key"], signed_at if signed_at is not None else _now_ms()),
        }
        if self._client is None:
            self._client = httpx.AsyncClient(timeout=10.0, trust_env=False)
        try:
            return (await self._client.post(where["url"], content=raw, headers=headers)).status_code
        except httpx.HTTPError:
            return None

    def page(self, _: Request) -> Response:
        rows = "".join(
            f"<li>{html.escape(c['direction'])} {html.escape(c['from_number'])} to {html.escape(c['to_number'])}: "
            f"{html.escape(c['call_status'])} {html.escape(json.dumps(c['retell_llm_dynamic_variables']))}</li>"
            for c in reversed(self._calls.values())
        )
        return HTMLResponse(f"<!doctype html><meta charset=utf-8><title>Calls</title><h1>Calls (Retell simulator)</h1><ul>{rows}</ul>")


def _progress(call: dict[str, Any], event: str) -> None:
    """What becomes of a call; a report sent again changes nothing more."""
    missed = call["reason"].startswith("dial_")
    if event == "call_started":
        call.setdefault("start_timestamp", _now_ms())
        if call["call_status"] == "registered":
            call["call_status"] = "ongoing"
        return
    if event == "call_analyzed":
        talked = not missed
        call["call_analysis"] = {
            "call_summary": "The patient confirmed the visit." if talked else "Nobody answered.",
            "user_sentiment": "Positive" if talked else "Unknown", "call_successful": talked, "in_voicemail": False,
            "custom_analysis_data": {},
        }  # fmt: skip
    if "disconnection_reason" not in call:
        call["call_status"] = "not_connected" if missed else "ended"
        call["disconnection_reason"] = call["reason"]
        if not missed:
            started = call.setdefault("start_timestamp", _now_ms() - TALK_MS)
            call.update(end_timestamp=started + TALK_MS, duration_ms=TALK_MS)
            call["transcript"] = "Agent: Hi, this is the practice.\nUser: Hello, yes, I will come.\n"


def _told(call: dict[str, Any], event: str) -> dict[str, Any]:
    """The call object of a report: an analysis only in ``call_analyzed``, no empty metadata, an earlier state for an earlier event."""
    told = _view(call)
    for name in ("metadata", "retell_llm_dynamic_variables"):
        if not told[name]:
            del told[name]
    if event == "call_started":
        for name in ("end_timestamp", "duration_ms", "disconnection_reason", "transcript"):
            told.pop(name, None)
        told["call_status"] = "ongoing"
    if event != "call_analyzed":
        told.pop("call_analysis", None)
    return told


def _view(call: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in call.items() if name not in {"reason", "idempotency_key", "asked_ms"}}


def _unauthorized(request: Request) -> Response | None:
    if not re.match(r"^Bearer key_\S+$", request.headers.get("authorization", "")):
        return _error(401, "API key is missing or invalid.")
    return None


def _error(status: int, message: str) -> Response:
    return JSONResponse({"status": "error", "message": message}, status)


async def _json(request: Request) -> Any:
    try:
        return await request.json()
    except ValueError:
        return None


def _now_ms() -> int:
    return int(time.time() * 1000)


if __name__ == "__main__":
    main(lambda state: RetellSimulator(state).app())
