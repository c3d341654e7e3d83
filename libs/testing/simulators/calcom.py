"""Cal.com: bookings by API v2 and the signed webhooks about them, with the same ids in both.

``POST /_control/webhook {"url", "secret", "triggers"?}`` subscribes; ``POST /_control/book`` books as a patient would on
Cal.com's page. ``POST /_control/resend {"uid", "times"}`` delivers the last webhook of a booking again, byte for byte.
Sources: Cal.com API v2 reference (2024-08-13 for bookings), webhook documentation (2021-10-20).
"""

from __future__ import annotations

import hashlib
import hmac
import html
import json
import re
import secrets
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp

from libs.testing.simulators.control import Faults, Record, main, simulator

API_VERSION = "2024-08-13"


class CalcomSimulator:
    def __init__(self, state: Path) -> None:
        self.record = Record(state / "accepted.jsonl")
        self.faults = Faults()
        self._settings = state / "webhook.json"
        self._bookings: dict[str, dict[str, Any]] = {line["uid"]: line for line in self.record.lines}
        self._sent: dict[str, tuple[bytes, dict[str, str]]] = {}
        self._client: httpx.AsyncClient | None = None

    def app(self) -> ASGIApp:
        routes = [
            Route("/v2/bookings", self.create, methods=["POST"]),
            Route("/v2/bookings", self.listing, methods=["GET"]),
            Route("/v2/bookings/{uid}", self.show),
            Route("/v2/bookings/{uid}/reschedule", self.reschedule, methods=["POST"]),
            Route("/v2/bookings/{uid}/cancel", self.cancel, methods=["POST"]),
            Route("/_control/webhook", self.subscribe, methods=["POST"]),
            Route("/_control/book", self.book, methods=["POST"]),
            Route("/_control/resend", self.resend, methods=["POST"]),
        ]
        return simulator(routes, self.record, self.faults, self.page)

    # --- API v2 -----------------------------------------------------------------------------------------------

    async def create(self, request: Request) -> Response:
        refused = _unauthorized(request)
        if refused is not None:
            return refused
        body = await _json(request)
        attendee = body.get("attendee")
        if not isinstance(attendee, dict) or not all(isinstance(attendee.get(name), str) for name in ("name", "email", "timeZone")):
            return _error(400, "BadRequestException", "attendee.name, attendee.email and attendee.timeZone are needed")
        start = _time(body.get("start"))
        if start is None or not isinstance(body.get("eventTypeId"), int):
            return _error(400, "BadRequestException", "start (UTC, ISO 8601) and eventTypeId are needed")
        booking, status = await self._book(
            start, int(body.get("lengthInMinutes", 30)), attendee, body["eventTypeId"], body.get("metadata", {})
        )
        if booking is None:
            return _error(400, "BadRequestException", "User either already has booking at this time or is not available")
        return JSONResponse({"status": "success", "data": _view(booking), "webhook": status}, 201)

    async def listing(self, request: Request) -> Response:
        refused = _unauthorized(request)
        if refused is not None:
            return refused
        since = request.query_params.get("afterUpdatedAt")
        found = [b for b in self._bookings.values() if since is None or b["updatedAt"] >= since]
        take = min(int(request.query_params.get("take", "100")), 250)
        return JSONResponse({"status": "success", "data": [_view(booking) for booking in found[:take]]})

    async def show(self, request: Request) -> Response:
        refused = _unauthorized(request)
        booking = self._bookings.get(request.path_params["uid"])
        if refused is not None:
            return refused
        if booking is None:
            return _error(404, "NotFoundException", "Booking with the given uid was not found")
        return JSONResponse({"status": "success", "data": _view(booking)})

    async def reschedule(self, request: Request) -> Response:
        refused = _unauthorized(request)
        old = self._bookings.get(request.path_params["uid"])
        if refused is not None:
            return refused
        if old is None or old["status"] != "accepted":
            return _error(400 if old else 404, "BadRequestException", "This booking cannot be rescheduled")
        start = _time((await _json(request)).get("start"))
        if start is None:
            return _error(400, "BadRequestException", "start (UTC, ISO 8601) is needed")
        old["status"], old["updatedAt"] = "rescheduled", _now()
        booking = self._new(start, old["length"], old["attendee"], old["eventTypeId"], old["metadata"], previous=old)
        status = await self._tell("BOOKING_RESCHEDULED", booking)
        return JSONResponse({"status": "success", "data": _view(booking), "webhook": status}, 201)

    async def cancel(self, request: Request) -> Response:
        refused = _unauthorized(request)
        booking = self._bookings.get(request.path_params["uid"])
        if refused is not None:
            return refused
        if booking is None or booking["status"] != "accepted":
            return _error(400 if booking else 404, "BadRequestException", "This booking cannot be cancelled")
        booking["status"], booking["updatedAt"] = "cancelled", _now()
        booking["sequence"] += 1
        booking["reason"] = (await _json(request)).get("cancellationReason", "")
        status = await self._tell("BOOKING_CANCELLED", booking)
        return JSONResponse({"status": "success", "data": _view(booking), "webhook": status})

    # --- control ------------------------------------------------------------------------------------------------

    async def subscribe(self, request: Request) -> Response:
        body = await request.json()
        self._settings.write_text(json.dumps({"url": body["url"], "secret": body["secret"]}))
        return JSONResponse({})

    async def book(self, request: Request) -> Response:
        """A patient books on the page: ``{"name", "email", "start", "minutes"?, "phone"?, "host"?, "url"?, "secret"?}``."""
        body = await request.json()
        attendee = {"name": body["name"], "email": body["email"], "timeZone": "Europe/Berlin", "phoneNumber": body.get("phone")}
        start = _time(body["start"])
        assert start is not None
        metadata = {"host": str(body.get("host", 5))}
        where = (body["url"], body["secret"]) if "url" in body else None
        booking, status = await self._book(start, body.get("minutes", 30), attendee, body.get("event_type", 7), metadata, where)
        if booking is None:
            return JSONResponse({"error": "taken"}, 409)
        return JSONResponse({"uid": booking["uid"], "ical_uid": booking["icalUid"], "webhook_status": status})

    async def resend(self, request: Request) -> Response:
        body = await request.json()
        raw, headers = self._sent[body["uid"]]
        statuses = [await self._post(raw, headers) for _ in range(int(body.get("times", 1)))]
        return JSONResponse({"statuses": statuses})

    # --- inside ---------------------------------------------------------------------------------------------------

    async def _book(
        self,
        start: datetime,
        minutes: int,
        attendee: dict[str, Any],
        event_type: int,
        metadata: dict[str, str],
        where: tuple[str, str] | None = None,
    ) -> tuple[dict[str, Any] | None, int | None]:
        host = metadata.get("host", "5")
        end = start + timedelta(minutes=minutes)
        for other in self._bookings.values():
            same = other["status"] == "accepted" and other["metadata"].get("host", "5") == host
            if same and other["start"] < _text(end) and _text(start) < other["end"]:
                return None, None
        booking = self._new(start, minutes, attendee, event_type, metadata)
        return booking, await self._tell("BOOKING_CREATED", booking, where)

    def _new(
        self,
        start: datetime,
        minutes: int,
        attendee: dict[str, Any],
        event_type: int,
        metadata: dict[str, str],
        previous: dict[str, Any] | None = None,
    ) -> dict[str, Any]:
        uid = secrets.token_urlsafe(16)
        booking: dict[str, Any] = {
            "id": len(self._bookings) + 1, "uid": uid, "start": _text(start), "end": _text(start + timedelta(minutes=minutes)), "length": minutes,
            "attendee": attendee, "eventTypeId": event_type, "metadata": metadata, "status": "accepted", "updatedAt": _now(),
            "icalUid": previous["icalUid"] if previous else f"{uid}@Cal.com", "sequence": previous["sequence"] + 1 if previous else 0,
            "previous": previous["uid"] if previous else None,
        }  # fmt: skip
        self._bookings[uid] = booking
        self.record.add(booking)
        return booking

    async def _tell(self, trigger: str, booking: dict[str, Any], where: tuple[str, str] | None = None) -> int | None:
        """One webhook, one attempt, as the real direct path does; returns the answer's status."""
        if where is None:
            if not self._settings.exists():
                return None
            settings = json.loads(self._settings.read_text())
            where = settings["url"], settings["secret"]
        raw = json.dumps({"triggerEvent": trigger, "createdAt": _now(), "payload": self._payload(booking)}).encode()
        headers = {
            "content-type": "application/json", "x-cal-webhook-version": "2021-10-20",
            "x-cal-signature-256": hmac.new(where[1].encode(), raw, hashlib.sha256).hexdigest(), "x-simulator-url": where[0],
        }  # fmt: skip
        self._sent[booking["uid"]] = raw, headers
        return await self._post(raw, headers)

    async def _post(self, raw: bytes, headers: dict[str, str]) -> int | None:
        if self._client is None:
            self._client = httpx.AsyncClient(timeout=10.0, trust_env=False)
        sent = dict(headers)
        url = sent.pop("x-simulator-url")
        try:
            return (await self._client.post(url, content=raw, headers=sent)).status_code
        except httpx.HTTPError:
            return None

    def _payload(self, booking: dict[str, Any]) -> dict[str, Any]:
        attendee = booking["attendee"]
        previous = self._bookings.get(booking["previous"] or "")
        payload: dict[str, Any] = {
            "bookerUrl": "https://app.cal.com", "type": "first-consult-30", "title": f"First consult with {attendee['name']}",
            "startTime": booking["start"], "endTime": booking["end"], "length": booking["length"], "eventTypeId": booking["eventTypeId"],
            "organizer": {
                "id": int(booking["metadata"].get("host", "5")), "name": "Dr Ada Kim", "email": "ada@practice.example",
                "timeZone": "Europe/Berlin", "language": {"locale": "en"}, "timeFormat": "h:mma", "utcOffset": 60,
            },
            "attendees": [{**attendee, "language": {"locale": "de"}, "firstName": "", "lastName": "", "utcOffset": 60}],
            "responses": {"name": {"label": "your_name", "value": attendee["name"], "isHidden": False}},
            "uid": booking["uid"], "bookingId": booking["id"], "iCalUID": booking["icalUid"], "iCalSequence": booking["sequence"],
            "metadata": booking["metadata"], "status": "CANCELLED" if booking["status"] == "cancelled" else "ACCEPTED",
        }  # fmt: skip
        if previous is not None:
            payload |= {
                "rescheduleUid": previous["uid"], "rescheduleId": previous["id"], "rescheduleStartTime": previous["start"],
                "rescheduleEndTime": previous["end"],
            }  # fmt: skip
        if booking["status"] == "cancelled":
            payload |= {"cancellationReason": booking.get("reason", ""), "requestReschedule": False}
        return payload

    def page(self, _: Request) -> Response:
        rows = "".join(
            f"<li>{html.escape(b['start'])} {html.escape(b['attendee']['name'])} ({html.escape(b['status'])})</li>"
            for b in self._bookings.values()
        )
        return HTMLResponse(
            f"<!doctype html><meta charset=utf-8><title>Bookings</title><h1>Bookings (Cal.com simulator)</h1><ul>{rows}</ul>"
        )


def _view(booking: dict[str, Any]) -> dict[str, Any]:
    return {
        "id": booking["id"], "uid": booking["uid"], "title": "First consult", "status": booking["status"], "start": booking["start"],
        "end": booking["end"], "duration": booking["length"], "eventTypeId": booking["eventTypeId"], "attendees": [booking["attendee"]],
        "metadata": booking["metadata"], "icsUid": booking["icalUid"], "updatedAt": booking["updatedAt"],
        "rescheduledFromUid": booking["previous"],
    }  # fmt: skip


def _unauthorized(request: Request) -> Response | None:
    if not re.match(r"^Bearer cal_\S+$", request.headers.get("authorization", "")):
        return _error(401, "UnauthorizedException", "Invalid API Key")
    if request.headers.get("cal-api-version") != API_VERSION:
        return _error(404, "NotFoundException", f"Cannot {request.method} {request.url.path}")
    return None


def _error(status: int, code: str, message: str) -> Response:
    return JSONResponse({"status": "error", "error": {"code": code, "message": message, "details": {"statusCode": status}}}, status)


async def _json(request: Request) -> dict[str, Any]:
    try:
        body = await request.json()
    except ValueError:
        return {}
    return body if isinstance(body, dict) else {}


def _time(text: Any) -> datetime | None:
    try:
        moment = datetime.fromisoformat(text)
    except (TypeError, ValueError):
        return None
    return moment.astimezone(UTC) if moment.tzinfo else None


def _text(moment: datetime) -> str:
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


if __name__ == "__main__":
    main(lambda state: CalcomSimulator(state).app())
