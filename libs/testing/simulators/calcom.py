"""Cal.com: bookings by API v2 and the signed webhooks about them, with the same ids in both.

``POST /_control/webhook {"url", "secret", "key"?}`` says where notices of bookings made with that API key go (all without
one) and what signs them; a ``url`` of null is told nothing. ``POST /_control/book`` books as a patient would on Cal.com's page.
``POST /_control/resend {"uid", "times"}`` delivers the last webhook of a booking again, byte for byte.
``POST /_control/event_type {"id", "host"?, "lengths"?, "confirms"?, "seats"?, "gone"?}`` makes an event type another than the
usual: half an hour, confirmed at once, with a host of its own. ``POST /_control/decide {"uid", "verb"}`` is the host's confirm or
decline. ``POST /_control/no_show {"uid", "no_show"?}`` is the host's mark, or its taking back. ``POST /_control/revoke {"key"}`` takes
an API key back.
Sources: Cal.com API v2 reference (2024-08-13 for bookings), webhook documentation (2021-10-20).
"""

from __future__ import annotations

import hashlib
import hmac
import html
import json
import re
import secrets
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp

from libs.testing.simulators.calcom_shapes import (
    is_asked_for,
    no_show_payload_of,
    now_text,
    older_view_of,
    payload_of,
    problem,
    read_time,
    utc_text,
    view_of,
)
from libs.testing.simulators.control import Faults, Record, main, simulator

API_VERSION = "2024-08-13"
_ALIKE = ("eventTypeId", "host", "seats", "key", "status", "where")


class CalcomSimulator:
    def __init__(self, state: Path) -> None:
        self.record = Record(state / "accepted.jsonl")
        self.faults = Faults()
        self._settings = state / "settings.json"
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
            Route("/_control/event_type", self.set_event_type, methods=["POST"]),
            Route("/_control/decide", self.decide, methods=["POST"]),
            Route("/_control/no_show", self.mark_no_show, methods=["POST"]),
            Route("/_control/revoke", self.revoke, methods=["POST"]),
            Route("/_control/book", self.book, methods=["POST"]),
            Route("/_control/resend", self.resend, methods=["POST"]),
        ]
        return simulator(routes, self.record, self.faults, self.page)

    # --- API v2 -----------------------------------------------------------------------------------------------

    async def create(self, request: Request) -> Response:
        refused = self._unauthorized(request)
        if refused is not None:
            return refused
        body = await _json(request)
        event_type = self._event_type(body.get("eventTypeId"))
        found = problem(body, event_type) if _is_current(request) else "responses.name and responses.email are needed"
        if found is not None:
            return _error(400, "BadRequestException", found)
        if event_type is None:
            return _error(404, "NotFoundException", "Event type was not found")
        start = read_time(body["start"])
        assert start is not None
        minutes = int(body.get("lengthInMinutes", event_type["lengths"][0]))
        booking, status = await self._book(start, minutes, body["attendee"], event_type, body.get("metadata", {}), key=_key(request))
        if booking is None:
            return _error(400, "BadRequestException", "User either already has booking at this time or is not available")
        return JSONResponse({"status": "success", "data": view_of(booking), "webhook": status}, 201)

    async def listing(self, request: Request) -> Response:
        """The filters we use, and pages: bookings of this account, newest last. Those made on the page are in every account."""
        refused = self._unauthorized(request)
        if refused is not None:
            return refused
        asked = request.query_params
        try:
            take, skip = int(asked.get("take", "100")), int(asked.get("skip", "0"))
        except ValueError:
            return _error(400, "BadRequestException", "take and skip must be numbers")
        if not 1 <= take <= 250 or skip < 0:
            return _error(400, "BadRequestException", "take must be from 1 to 250, skip at least 0")
        ours = (booking for booking in self._bookings.values() if booking["key"] in {"", _key(request)})
        found = [booking for booking in ours if is_asked_for(booking, asked)]
        shown = found[skip : skip + take]
        if not _is_current(request):
            return JSONResponse({"status": "success", "data": {"bookings": [older_view_of(b) for b in shown], "totalCount": len(found)}})
        pages = {
            "totalItems": len(found), "remainingItems": max(len(found) - skip - len(shown), 0), "returnedItems": len(shown),
            "itemsPerPage": take, "currentPage": skip // take + 1, "totalPages": -(-len(found) // take),
            "hasNextPage": skip + take < len(found), "hasPreviousPage": skip > 0,
        }  # fmt: skip
        return JSONResponse({"status": "success", "data": [view_of(booking) for booking in shown], "pagination": pages})

    async def show(self, request: Request) -> Response:
        refused = self._unauthorized(request)
        booking = self._bookings.get(request.path_params["uid"])
        if refused is not None:
            return refused
        if booking is None:
            return _error(404, "NotFoundException", "Booking with the given uid was not found")
        return JSONResponse({"status": "success", "data": view_of(booking) if _is_current(request) else older_view_of(booking)})

    async def reschedule(self, request: Request) -> Response:
        refused = self._unauthorized(request, changing=True)
        old = self._bookings.get(request.path_params["uid"])
        if refused is not None:
            return refused
        if old is None or old["status"] != "accepted":
            return _error(400 if old else 404, "BadRequestException", "This booking cannot be rescheduled")
        start = read_time((await _json(request)).get("start"))
        if start is None:
            return _error(400, "BadRequestException", "start (UTC, ISO 8601) is needed")
        booking = self._new(start, old["length"], old["attendee"], old["metadata"], old, previous=old)
        old.update(status="cancelled", updatedAt=now_text(), movedTo=booking["uid"])
        status = await self._tell("BOOKING_RESCHEDULED", booking)
        return JSONResponse({"status": "success", "data": view_of(booking), "webhook": status}, 201)

    async def cancel(self, request: Request) -> Response:
        refused = self._unauthorized(request, changing=True)
        booking = self._bookings.get(request.path_params["uid"])
        if refused is not None:
            return refused
        if booking is None:
            return _error(404, "NotFoundException", "Booking with the given uid was not found")
        if booking["status"] not in {"accepted", "pending"}:
            return _error(400, "BadRequestException", "Can't cancel booking because it has been cancelled already")
        booking["status"], booking["updatedAt"] = "cancelled", now_text()
        booking["sequence"] += 1
        booking["reason"] = (await _json(request)).get("cancellationReason", "")
        status = await self._tell("BOOKING_CANCELLED", booking)
        return JSONResponse({"status": "success", "data": view_of(booking), "webhook": status})

    # --- control ------------------------------------------------------------------------------------------------

    async def subscribe(self, request: Request) -> Response:
        body = await request.json()
        self._set("webhooks", body.get("key", "*"), {"url": body["url"], "secret": body.get("secret", "")})
        return JSONResponse({})

    async def set_event_type(self, request: Request) -> Response:
        body = await request.json()
        self._set("event_types", str(body["id"]), body)
        return JSONResponse({})

    async def revoke(self, request: Request) -> Response:
        self._set("revoked", (await request.json())["key"], True)
        return JSONResponse({})

    async def decide(self, request: Request) -> Response:
        """The host confirms a booking that waits for it, or declines."""
        body = await request.json()
        booking = self._bookings[body["uid"]]
        booking["status"], booking["updatedAt"] = {"confirm": "accepted", "decline": "rejected"}[body["verb"]], now_text()
        trigger = "BOOKING_CREATED" if body["verb"] == "confirm" else "BOOKING_REJECTED"
        return JSONResponse({"webhook": await self._tell(trigger, booking)})

    async def mark_no_show(self, request: Request) -> Response:
        """The host marks the guest as no-show, or takes the mark back."""
        body = await request.json()
        booking = self._bookings[body["uid"]]
        booking["no_show"], booking["updatedAt"] = bool(body.get("no_show", True)), now_text()
        return JSONResponse({"webhook": await self._tell("BOOKING_NO_SHOW_UPDATED", booking)})

    async def book(self, request: Request) -> Response:
        """A patient books on the page: ``{"name", "email", "start", "minutes"?, "phone"?, "host"?, "url"?, "secret"?}``."""
        body = await request.json()
        attendee = {"name": body["name"], "email": body["email"], "timeZone": "Europe/Berlin", "phoneNumber": body.get("phone")}
        start = read_time(body["start"])
        assert start is not None
        event_type = self._event_type(body.get("event_type", 7))
        assert event_type is not None
        event_type["host"] = int(body.get("host", event_type["host"]))
        where = {"url": body["url"], "secret": body["secret"]} if "url" in body else None
        booking, status = await self._book(start, body.get("minutes", 30), attendee, event_type, {}, where=where)
        if booking is None:
            return JSONResponse({"error": "taken"}, 409)
        return JSONResponse({"uid": booking["uid"], "ical_uid": booking["icalUid"], "webhook_status": status})

    async def resend(self, request: Request) -> Response:
        body = await request.json()
        raw, headers = self._sent[body["uid"]]
        statuses = [await self._post(raw, headers) for _ in range(int(body.get("times", 1)))]
        return JSONResponse({"statuses": statuses})

    # --- inside ---------------------------------------------------------------------------------------------------

    def _read_settings(self) -> dict[str, dict[str, Any]]:
        found: dict[str, dict[str, Any]] = json.loads(self._settings.read_text()) if self._settings.exists() else {}
        return found

    def _set(self, kind: str, name: str, value: Any) -> None:
        settings = self._read_settings()
        settings.setdefault(kind, {})[name] = value
        self._settings.write_text(json.dumps(settings))

    def _event_type(self, number: Any) -> dict[str, Any] | None:
        """Every event type exists until it is gone; the host of type 7 is 5, any other has one of its own."""
        if not isinstance(number, int) or isinstance(number, bool) or number < 1:
            return {"id": None, "lengths": [30]}
        usual = {"id": number, "host": 5 if number == 7 else number, "lengths": [30], "confirms": False, "seats": None, "gone": False}
        found = usual | self._read_settings().get("event_types", {}).get(str(number), {})
        return None if found["gone"] else found

    def _unauthorized(self, request: Request, *, changing: bool = False) -> Response | None:
        key = _key(request)
        if not re.match(r"^cal_\S+$", key) or key in self._read_settings().get("revoked", {}):
            return _error(401, "UnauthorizedException", "Invalid API Key")
        if changing and not _is_current(request):
            return _error(404, "NotFoundException", f"Cannot {request.method} {request.url.path}")
        return None

    async def _book(
        self,
        start: datetime,
        minutes: int,
        attendee: dict[str, Any],
        event_type: dict[str, Any],
        metadata: dict[str, str],
        key: str = "",
        where: dict[str, str] | None = None,
    ) -> tuple[dict[str, Any] | None, int | None]:
        end = start + timedelta(minutes=minutes)
        for other in self._bookings.values():
            same = other["status"] in {"accepted", "pending"} and other["host"] == event_type["host"]
            if same and other["start"] < utc_text(end) and utc_text(start) < other["end"] and not event_type["seats"]:
                return None, None
        like = {"eventTypeId": event_type["id"], "host": event_type["host"], "seats": event_type["seats"], "key": key}
        like |= {"status": "pending" if event_type["confirms"] else "accepted", "where": where}
        booking = self._new(start, minutes, attendee, metadata, like)
        return booking, await self._tell("BOOKING_REQUESTED" if event_type["confirms"] else "BOOKING_CREATED", booking)

    def _new(
        self,
        start: datetime,
        minutes: int,
        attendee: dict[str, Any],
        metadata: dict[str, str],
        like: dict[str, Any],
        previous: dict[str, Any] | None = None,
    ) -> dict[str, Any]:
        """``like`` says which event type, whose time, how many seats, by which key, how it stands, and where its notices go."""
        uid = secrets.token_urlsafe(16)
        booking: dict[str, Any] = {
            "id": len(self._bookings) + 1, "uid": uid, "start": utc_text(start), "end": utc_text(start + timedelta(minutes=minutes)),
            "length": minutes, "attendee": attendee, "metadata": metadata, "createdAt": now_text(), "updatedAt": now_text(),
            "icalUid": previous["icalUid"] if previous else f"{uid}@Cal.com", "sequence": previous["sequence"] + 1 if previous else 0,
            "previous": previous["uid"] if previous else None, **{name: like[name] for name in _ALIKE},
        }  # fmt: skip
        self._bookings[uid] = booking
        self.record.add(booking)
        return booking

    async def _tell(self, trigger: str, booking: dict[str, Any]) -> int | None:
        """One webhook, one attempt, as the real direct path does; returns the answer's status."""
        where = booking.get("where")
        if where is None:
            webhooks = self._read_settings().get("webhooks", {})
            where = webhooks.get(booking["key"], webhooks.get("*"))
            if where is None or where["url"] is None:
                return None
        about_guests = trigger == "BOOKING_NO_SHOW_UPDATED"
        payload = no_show_payload_of(booking) if about_guests else payload_of(booking, self._bookings.get(booking["previous"] or ""))
        raw = json.dumps({"triggerEvent": trigger, "createdAt": now_text(), "payload": payload}).encode()
        headers = {
            "content-type": "application/json", "x-cal-webhook-version": "2021-10-20",
            "x-cal-signature-256": hmac.new(where["secret"].encode(), raw, hashlib.sha256).hexdigest(), "x-simulator-url": where["url"],
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

    def page(self, _: Request) -> Response:
        rows = "".join(
            f"<li>{html.escape(b['start'])} {html.escape(b['attendee']['name'])} ({html.escape(b['status'])})</li>"
            for b in self._bookings.values()
        )
        return HTMLResponse(
            f"<!doctype html><meta charset=utf-8><title>Bookings</title><h1>Bookings (Cal.com simulator)</h1><ul>{rows}</ul>"
        )


def _error(status: int, code: str, message: str) -> Response:
    return JSONResponse({"status": "error", "error": {"code": code, "message": message, "details": {"statusCode": status}}}, status)


async def _json(request: Request) -> dict[str, Any]:
    try:
        body = await request.json()
    except ValueError:
        return {}
    return body if isinstance(body, dict) else {}


def _key(request: Request) -> str:
    return request.headers.get("authorization", "").removeprefix("Bearer ")


def _is_current(request: Request) -> bool:
    return request.headers.get("cal-api-version") == API_VERSION


if __name__ == "__main__":
    main(lambda state: CalcomSimulator(state).app())
