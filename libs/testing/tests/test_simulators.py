"""The simulators against the providers' own libraries and the words of their documentation."""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import pytest
from sendgrid.helpers.eventwebhook import EventWebhook
from sendgrid.helpers.mail import Mail
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from libs.testing import probe
from libs.testing.simulators.calcom import API_VERSION, CalcomSimulator
from libs.testing.simulators.retell import RetellSimulator
from libs.testing.simulators.sendgrid import SendGridSimulator

KEY = {"Authorization": "Bearer SG.key"}
CAL = {"Authorization": "Bearer cal_key", "cal-api-version": API_VERSION}
SECRET = "a secret of the webhook"
NINE = "2030-01-07T09:00:00Z"


class Receiver:
    """Where webhooks go. Answers ``status``."""

    def __init__(self) -> None:
        self.requests: list[tuple[bytes, httpx.Headers]] = []
        self.status = 204

    async def hook(self, request: Request) -> Response:
        self.requests.append((await request.body(), httpx.Headers(request.headers.raw)))
        return Response(status_code=self.status)

    def client(self) -> httpx.AsyncClient:
        return httpx.AsyncClient(transport=httpx.ASGITransport(Starlette(routes=[Route("/hook", self.hook, methods=["POST"])])))


@pytest.fixture
def receiver() -> Receiver:
    return Receiver()


def mail(**changes: Any) -> dict[str, Any]:
    """A body as SendGrid's own library makes it."""
    body: dict[str, Any] = Mail("intake@lindenhof.example", "mira@mail.example", "Your visit", "Dear Mira").get()
    return {name: value for name, value in {**body, **changes}.items() if value is not None}


class TestSendGrid:
    @pytest.fixture
    def simulator(self, tmp_path: Path, receiver: Receiver) -> SendGridSimulator:
        here = SendGridSimulator(tmp_path)
        here._client = receiver.client()
        return here

    @pytest.fixture
    async def client(self, simulator: SendGridSimulator) -> AsyncIterator[httpx.AsyncClient]:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(simulator.app()), base_url="http://sendgrid.test") as client:
            yield client

    async def test_accepts_what_the_providers_library_makes_and_remembers_it(
        self, client: httpx.AsyncClient, simulator: SendGridSimulator, tmp_path: Path
    ) -> None:
        answer = await client.post("/v3/mail/send", json=mail(), headers=KEY)
        assert (answer.status_code, answer.content) == (202, b"")
        (line,) = (await client.get("/_control/accepted")).json()
        assert (line["message_id"], line["subject"]) == (answer.headers["x-message-id"], "Your visit")
        assert SendGridSimulator(tmp_path).record.lines == simulator.record.lines

    @pytest.mark.parametrize(
        ("changes", "field"),
        [
            ({"from": None}, "from.email"),
            ({"from": {"email": "intake"}}, "from.email"),
            ({"personalizations": None}, "personalizations"),
            ({"personalizations": []}, "personalizations"),
            ({"personalizations": [{}]}, "personalizations.0.to"),
            ({"personalizations": [{"to": [{"email": "mira"}]}]}, "personalizations.0.to.0.email"),
            ({"personalizations": [{"to": [{"email": "mira@mail.example"}] * 2}]}, "personalizations.0.to"),
            ({"subject": None}, "subject"),
            ({"subject": ""}, "subject"),
            ({"content": None}, "content"),
            ({"content": []}, "content"),
            ({"custom_args": {"number": 17}}, "custom_args"),
            ({"custom_args": {"long": "x" * 10_000}}, "custom_args"),
        ],
    )
    async def test_refuses_what_the_real_one_refuses(
        self, changes: dict[str, Any], field: str, client: httpx.AsyncClient, simulator: SendGridSimulator
    ) -> None:
        answer = await client.post("/v3/mail/send", json=mail(**changes), headers=KEY)
        assert (answer.status_code, simulator.record.lines) == (400, [])
        assert field in [error["field"] for error in answer.json()["errors"]]

    @pytest.mark.parametrize(
        ("headers", "content", "status"),
        [({}, b"{}", 401), ({"Authorization": "Bearer x"}, b"{}", 401), (KEY, b"{", 400), (KEY, b"[]", 400)],
    )
    async def test_refuses_strangers_and_what_is_no_json(
        self, headers: dict[str, str], content: bytes, status: int, client: httpx.AsyncClient
    ) -> None:
        sent = {**headers, "content-type": "application/json"}
        assert (await client.post("/v3/mail/send", content=content, headers=sent)).status_code == status
        assert (await client.post("/v3/mail/send", content=b"x", headers=KEY)).status_code == 415

    async def test_signs_its_reports_as_the_providers_library_expects(
        self, client: httpx.AsyncClient, simulator: SendGridSimulator, receiver: Receiver
    ) -> None:
        await client.post("/_control/webhook", json={"url": "http://vantage.test/hook"})
        arguments = {"vantage_effect": str(uuid4())}
        sent = await client.post("/v3/mail/send", json=mail(custom_args=arguments), headers=KEY)
        await probe.until_async(_length(receiver.requests), lambda number: number == 1, what="the report")
        raw, headers = receiver.requests[0]
        key = (await client.get("/_control/public_key")).json()["public_key"]
        signature, timestamp = (headers[f"x-twilio-email-event-webhook-{name}"] for name in ("signature", "timestamp"))
        assert EventWebhook(key).verify_signature(raw.decode(), signature, timestamp)
        events = json.loads(raw)
        assert [event["event"] for event in events] == ["processed", "delivered"]
        assert {event["vantage_effect"] for event in events} == {arguments["vantage_effect"]}
        assert all(event["sg_message_id"].startswith(sent.headers["x-message-id"]) for event in events)

    async def test_reports_what_it_is_told_and_says_when_nobody_listens(self, client: httpx.AsyncClient, receiver: Receiver) -> None:
        sent = await client.post("/v3/mail/send", json=mail(), headers=KEY)
        event = {"message_id": sent.headers["x-message-id"], "event": "bounce"}
        assert (await client.post("/_control/events", json=event)).json() == {"status": None}
        await client.post("/_control/webhook", json={"url": "http://vantage.test/hook"})
        assert (await client.post("/_control/events", json=event)).json() == {"status": 204}
        assert json.loads(receiver.requests[-1][0])[0]["event"] == "bounce"
        assert (await client.post("/_control/events", json={**event, "message_id": "nothing"})).status_code == 404

    async def test_finds_an_accepted_mail_by_its_unique_argument(self, client: httpx.AsyncClient) -> None:
        await client.post("/v3/mail/send", json=mail(custom_args={"vantage_effect": "one"}), headers=KEY)
        for value, found in (("one", 1), ("two", 0)):
            query = {"query": f'(unique_args["vantage_effect"]="{value}")'}
            assert len((await client.get("/v3/messages", params=query, headers=KEY)).json()["messages"]) == found
        assert (await client.get("/v3/messages", params={"query": "anything"}, headers=KEY)).status_code == 400
        assert (await client.get("/v3/messages")).status_code == 401

    async def test_fails_as_planned_and_as_often_and_refuses_a_plan_it_does_not_know(self, client: httpx.AsyncClient) -> None:
        await client.post("/_control/faults", json={"kind": "status", "status": 429, "times": 2})
        statuses = [(await client.post("/v3/mail/send", json=mail(), headers=KEY)).status_code for _ in range(3)]
        assert statuses == [429, 429, 202]
        for plan in ({"kind": "explode"}, {}, {"kind": "status", "status": "many"}):
            assert (await client.post("/_control/faults", json=plan)).status_code == 422
        await client.post("/_control/clear")
        assert (await client.get("/_control/accepted")).json() == []

    async def test_fails_every_so_often_for_the_requests_that_are_named(self, client: httpx.AsyncClient) -> None:
        plan = {"kind": "status", "status": 429, "retry_after": 7, "only": "POST /v3/mail", "every": 2, "times": 2}
        assert (await client.post("/_control/faults", json=plan)).json() == {"planned": 4}
        found = []
        for _ in range(5):
            assert (await client.get("/v3/messages")).status_code == 401
            found.append(await client.post("/v3/mail/send", json=mail(), headers=KEY))
        assert [answer.status_code for answer in found] == [202, 429, 202, 429, 202]
        assert found[1].headers["retry-after"] == "7"

    async def test_breaks_behind_what_it_was_asked_for_and_forgets_what_is_planned(self, client: httpx.AsyncClient) -> None:
        await client.post("/_control/faults", json={"kind": "late", "status": 502, "times": 3})
        assert (await client.post("/v3/mail/send", json=mail(), headers=KEY)).status_code == 502
        assert len((await client.get("/_control/accepted")).json()) == 1
        await client.delete("/_control/faults")
        assert (await client.post("/v3/mail/send", json=mail(), headers=KEY)).status_code == 202

    async def test_shows_mails_and_runs_nothing_of_them(self, client: httpx.AsyncClient) -> None:
        await client.post("/v3/mail/send", json=mail(subject="<script>alert(1)</script>"), headers=KEY)
        page = (await client.get("/")).text
        assert "&lt;script&gt;" in page
        assert "<script>" not in page


def _length(of: list[Any]) -> Any:
    async def look() -> int:
        return len(of)

    return look


ATTENDEE = {"name": "Mira Holm", "email": "mira@mail.example", "timeZone": "Europe/Berlin"}
BOOKING = {"start": NINE, "eventTypeId": 7, "attendee": ATTENDEE}


class TestCalcom:
    @pytest.fixture
    async def client(self, tmp_path: Path, receiver: Receiver) -> AsyncIterator[httpx.AsyncClient]:
        here = CalcomSimulator(tmp_path)
        here._client = receiver.client()
        async with httpx.AsyncClient(transport=httpx.ASGITransport(here.app()), base_url="http://cal.test") as client:
            await client.post("/_control/webhook", json={"url": "http://vantage.test/hook", "secret": SECRET})
            yield client

    def told(self, receiver: Receiver) -> dict[str, Any]:
        """The last webhook, its signature checked as the documentation says."""
        raw, headers = receiver.requests[-1]
        assert headers["x-cal-signature-256"] == hmac.new(SECRET.encode(), raw, hashlib.sha256).hexdigest()
        found: dict[str, Any] = json.loads(raw)
        return found

    async def book(self, client: httpx.AsyncClient, **changes: Any) -> dict[str, Any]:
        answer = await client.post("/v2/bookings", json={**BOOKING, **changes}, headers=CAL)
        assert answer.status_code == 201, answer.text
        data: dict[str, Any] = answer.json()["data"]
        return data

    async def test_a_booking_has_the_same_ids_in_the_api_and_in_the_webhook(self, client: httpx.AsyncClient, receiver: Receiver) -> None:
        booking = await self.book(client)
        told = self.told(receiver)
        payload = told["payload"]
        assert (told["triggerEvent"], payload["uid"], payload["bookingId"], payload["iCalUID"]) == (
            "BOOKING_CREATED", booking["uid"], booking["id"], booking["icsUid"],
        )  # fmt: skip
        assert (payload["startTime"], booking["start"]) == ("2030-01-07T09:00:00Z", "2030-01-07T09:00:00.000Z")
        assert (payload["attendees"][0]["email"], payload["organizer"]["id"]) == ("mira@mail.example", booking["hosts"][0]["id"])
        assert (await client.get(f"/v2/bookings/{booking['uid']}", headers=CAL)).json()["data"] == booking

    async def test_a_moved_booking_is_a_new_one_that_names_the_old(self, client: httpx.AsyncClient, receiver: Receiver) -> None:
        old = await self.book(client)
        path = f"/v2/bookings/{old['uid']}/reschedule"
        new = (await client.post(path, json={"start": "2030-01-07T11:00:00Z"}, headers=CAL)).json()["data"]
        told = self.told(receiver)
        assert (told["triggerEvent"], told["payload"]["uid"], told["payload"]["rescheduleUid"]) == (
            "BOOKING_RESCHEDULED",
            new["uid"],
            old["uid"],
        )
        assert (new["rescheduledFromUid"], new["icsUid"], told["payload"]["iCalSequence"]) == (old["uid"], old["icsUid"], 1)
        assert (await client.post(path, json={"start": NINE}, headers=CAL)).status_code == 400

    async def test_a_guest_is_marked_as_no_show_and_no_more(self, client: httpx.AsyncClient, receiver: Receiver) -> None:
        booking = await self.book(client)
        for marked, word in ((True, "marked"), (False, "unmarked")):
            await client.post("/_control/no_show", json={"uid": booking["uid"], "no_show": marked})
            told = self.told(receiver)
            assert told["triggerEvent"] == "BOOKING_NO_SHOW_UPDATED"
            assert told["payload"] == {
                "message": f"mira@mail.example {word} as no-show", "attendees": [{"email": "mira@mail.example", "noShow": marked}],
                "bookingUid": booking["uid"], "bookingId": booking["id"],
            }  # fmt: skip
            shown = (await client.get(f"/v2/bookings/{booking['uid']}", headers=CAL)).json()["data"]
            assert shown["attendees"][0]["absent"] is marked

    async def test_a_cancelled_booking_says_why_and_frees_its_slot(self, client: httpx.AsyncClient, receiver: Receiver) -> None:
        booking = await self.book(client)
        path = f"/v2/bookings/{booking['uid']}/cancel"
        await client.post(path, json={"cancellationReason": "better"}, headers=CAL)
        told = self.told(receiver)
        assert (told["triggerEvent"], told["payload"]["cancellationReason"]) == ("BOOKING_CANCELLED", "better")
        assert (await client.post(path, json={}, headers=CAL)).status_code == 400
        await self.book(client)

    async def test_a_slot_is_booked_once(self, client: httpx.AsyncClient) -> None:
        await self.book(client)
        assert (await client.post("/v2/bookings", json=BOOKING, headers=CAL)).status_code == 400
        page = {"name": "Jo", "email": "jo@mail.example", "start": NINE}
        assert (await client.post("/_control/book", json=page)).status_code == 409
        assert (await client.post("/_control/book", json={**page, "host": 6})).json()["webhook_status"] == 204

    async def test_tells_whoever_heard_of_a_booking_of_its_cancellation(self, client: httpx.AsyncClient, receiver: Receiver) -> None:
        await client.post("/_control/webhook", json={"url": None})
        page = {"name": "Jo", "email": "jo@mail.example", "start": NINE, "url": "http://vantage.test/hook", "secret": SECRET}
        uid = (await client.post("/_control/book", json=page)).json()["uid"]
        assert (await client.post(f"/v2/bookings/{uid}/cancel", headers=CAL)).json()["webhook"] == 204
        assert (self.told(receiver)["triggerEvent"], self.told(receiver)["payload"]["uid"]) == ("BOOKING_CANCELLED", uid)

    async def test_a_webhook_is_delivered_again_byte_for_byte(self, client: httpx.AsyncClient, receiver: Receiver) -> None:
        booking = await self.book(client)
        receiver.status = 500
        again = await client.post("/_control/resend", json={"uid": booking["uid"], "times": 4})
        assert again.json() == {"statuses": [500] * 4}
        assert len({raw for raw, _ in receiver.requests}) == 1

    @pytest.mark.parametrize(
        "changes",
        [
            {"start": "tomorrow"}, {"start": "2030-01-07T09:00:00"}, {"start": "2030-01-07T09:00:00+01:00"}, {"start": None},
            {"start": "2020-01-07T09:00:00Z"}, {"eventTypeId": "x"}, {"attendee": {"name": "Mira"}},
            {"attendee": {**ATTENDEE, "email": "mira"}}, {"attendee": {**ATTENDEE, "timeZone": "Mars/Olympus"}}, {"lengthInMinutes": 45},
            {"metadata": []}, {"metadata": {"key": 7}}, {"metadata": {"k" * 41: ""}}, {"metadata": {"key": "v" * 501}},
            {"metadata": {str(n): "" for n in range(51)}},
        ],
    )  # fmt: skip
    async def test_refuses_what_the_real_one_refuses(self, changes: dict[str, Any], client: httpx.AsyncClient, receiver: Receiver) -> None:
        answer = await client.post("/v2/bookings", json={**BOOKING, **changes}, headers=CAL)
        assert (answer.status_code, answer.json()["status"], receiver.requests) == (400, "error", [])

    async def test_knows_no_event_type_that_is_gone(self, client: httpx.AsyncClient) -> None:
        await client.post("/_control/event_type", json={"id": 7, "gone": True})
        assert (await client.post("/v2/bookings", json=BOOKING, headers=CAL)).status_code == 404

    async def test_wants_a_key_and_the_version_of_its_api(self, client: httpx.AsyncClient) -> None:
        assert (await client.get("/v2/bookings")).status_code == 401
        assert (await client.get("/v2/bookings/nothing", headers=CAL)).status_code == 404
        booking = await self.book(client)
        unversioned = {"Authorization": CAL["Authorization"]}
        (older,) = (await client.get("/v2/bookings", headers=unversioned)).json()["data"]["bookings"]
        assert (older["startTime"], older["status"], older.get("start")) == ("2030-01-07T09:00:00Z", "ACCEPTED", None)
        assert (await client.post("/v2/bookings", json=BOOKING, headers=unversioned)).status_code == 400
        await client.post("/_control/revoke", json={"key": CAL["Authorization"].removeprefix("Bearer ")})
        assert (await client.get(f"/v2/bookings/{booking['uid']}", headers=CAL)).status_code == 401

    async def test_lists_the_bookings_of_an_account_alone(self, client: httpx.AsyncClient) -> None:
        await self.book(client)
        for key, found in (("cal_key", 1), ("cal_other", 0)):
            headers = {**CAL, "Authorization": f"Bearer {key}"}
            assert len((await client.get("/v2/bookings", headers=headers)).json()["data"]) == found

    async def test_lists_by_attendee_time_and_state_in_pages(self, client: httpx.AsyncClient) -> None:
        made = [await self.book(client, start=f"2030-01-07T{hour:02}:00:00Z") for hour in range(9, 14)]
        await client.post(f"/v2/bookings/{made[0]['uid']}/cancel", json={}, headers=CAL)

        async def listed(**asked: Any) -> Any:
            answer = await client.get("/v2/bookings", params=asked, headers=CAL)
            assert answer.status_code == 200, answer.text
            return answer.json()

        async def count(**asked: Any) -> int:
            return len((await listed(**asked))["data"])

        assert [await count(attendeeEmail=who) for who in ("MIRA@mail.example", "jo@mail.example")] == [5, 0]
        assert [await count(afterCreatedAt=when) for when in (made[0]["createdAt"], "2050-01-01T00:00:00Z")] == [5, 0]
        assert [await count(status=state) for state in ("upcoming", "cancelled", "upcoming,cancelled", "past")] == [4, 1, 5, 0]
        second = await listed(take=2, skip=2)
        assert [booking["uid"] for booking in second["data"]] == [booking["uid"] for booking in made[2:4]]
        pages = second["pagination"]
        assert (pages["totalItems"], pages["remainingItems"], pages["currentPage"], pages["hasNextPage"]) == (5, 1, 2, True)
        for wrong in ({"take": "0"}, {"take": "251"}, {"skip": "-1"}, {"take": "many"}):
            assert (await client.get("/v2/bookings", params=wrong, headers=CAL)).status_code == 400

    async def test_a_booking_may_wait_for_its_host(self, client: httpx.AsyncClient, receiver: Receiver) -> None:
        await client.post("/_control/event_type", json={"id": 8, "confirms": True, "host": 5})
        waiting = await self.book(client, eventTypeId=8)
        assert (waiting["status"], self.told(receiver)["triggerEvent"]) == ("pending", "BOOKING_REQUESTED")
        assert (await client.post("/v2/bookings", json=BOOKING, headers=CAL)).status_code == 400, "it holds its slot"
        await client.post("/_control/decide", json={"uid": waiting["uid"], "verb": "confirm"})
        assert self.told(receiver)["triggerEvent"] == "BOOKING_CREATED"
        await client.post("/_control/decide", json={"uid": waiting["uid"], "verb": "decline"})
        assert (await client.get(f"/v2/bookings/{waiting['uid']}", headers=CAL)).json()["data"]["status"] == "rejected"

    async def test_tells_each_account_where_it_wants_to_be_told(self, client: httpx.AsyncClient, receiver: Receiver) -> None:
        key = CAL["Authorization"].removeprefix("Bearer ")
        await client.post("/_control/webhook", json={"key": key, "url": None})
        await self.book(client)
        assert receiver.requests == []

    async def test_remembers_its_bookings_when_it_is_started_again(self, client: httpx.AsyncClient, tmp_path: Path) -> None:
        booking = await self.book(client)
        restarted = httpx.AsyncClient(transport=httpx.ASGITransport(CalcomSimulator(tmp_path).app()), base_url="http://cal.test")
        assert (await restarted.get("/v2/bookings", headers=CAL)).json()["data"] == [booking]


class TestProbe:
    def test_says_what_was_seen_instead(self) -> None:
        with pytest.raises(probe.NeverHappened, match="the mail did not happen within 0 s; last seen: 3"):
            probe.until(lambda: 3, lambda number: number == 4, within=0, what="the mail")

    async def test_gives_the_first_sample_that_is_so(self) -> None:
        samples = iter(range(10))

        async def look() -> int:
            return next(samples)

        assert await probe.until_async(look, lambda number: number == 3) == 3


RETELL = {"Authorization": "Bearer key_of_the_practice"}
ASKED = {"from_number": "+12025550100", "to_number": "+491701234567", "override_agent_id": "agent_a", "metadata": {"effect": "e"}}


class TestRetell:
    @pytest.fixture
    def simulator(self, tmp_path: Path, receiver: Receiver) -> RetellSimulator:
        here = RetellSimulator(tmp_path)
        here._client = receiver.client()
        return here

    @pytest.fixture
    async def client(self, simulator: RetellSimulator) -> AsyncIterator[httpx.AsyncClient]:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(simulator.app()), base_url="http://retell.test") as client:
            yield client

    async def listen(self, client: httpx.AsyncClient, *, automatic: bool = False) -> None:
        hook = {"url": "http://here.test/hook", "key": SECRET, "automatic": automatic}
        await client.post("/_control/webhook", json=hook)

    async def test_accepts_a_call_once_per_key_and_remembers_it(
        self, client: httpx.AsyncClient, simulator: RetellSimulator, tmp_path: Path
    ) -> None:
        answers = [await client.post("/v2/create-phone-call", json={**ASKED, "idempotency_key": "k"}, headers=RETELL) for _ in range(2)]
        assert [(a.status_code, a.json()["call_status"]) for a in answers] == [(201, "registered")] * 2
        (line,) = (await client.get("/_control/accepted")).json()
        assert {a.json()["call_id"] for a in answers} == {line["call_id"]}
        assert RetellSimulator(tmp_path).record.lines == simulator.record.lines

    @pytest.mark.parametrize(
        ("changes", "status"),
        [
            ({"from_number": None}, 400), ({"to_number": "0170"}, 400), ({"metadata": []}, 400),
            ({"retell_llm_dynamic_variables": {"age": 7}}, 400), ({"override_agent_id": None}, 422),
        ],
    )  # fmt: skip
    async def test_refuses_what_the_real_one_refuses(self, client: httpx.AsyncClient, changes: dict[str, Any], status: int) -> None:
        answer = await client.post("/v2/create-phone-call", json={**ASKED, **changes}, headers=RETELL)
        assert (answer.status_code, answer.json()["status"]) == (status, "error")
        assert (await client.get("/_control/accepted")).json() == []

    async def test_knows_a_call_by_its_key_for_an_hour(
        self, client: httpx.AsyncClient, simulator: RetellSimulator, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        asked = {**ASKED, "idempotency_key": "k"}
        first = (await client.post("/v2/create-phone-call", json=asked, headers=RETELL)).json()["call_id"]
        line = simulator.record.lines[0]
        monkeypatch.setitem(line, "asked_ms", line["asked_ms"] - 3_600_001)
        assert (await client.post("/v2/create-phone-call", json=asked, headers=RETELL)).json()["call_id"] != first

    async def test_calls_nobody_who_is_not_to_be_called(self, client: httpx.AsyncClient) -> None:
        await client.post("/_control/do_not_call", json={"number": ASKED["to_number"]})
        wanted = {**ASKED, "honor_internal_dnc": True}
        assert (await client.post("/v2/create-phone-call", json=wanted, headers=RETELL)).status_code == 400
        assert (await client.get("/_control/accepted")).json() == []

    async def test_asks_for_a_key_and_knows_no_404(self, client: httpx.AsyncClient) -> None:
        assert (await client.post("/v2/create-phone-call", json=ASKED)).status_code == 401
        assert (await client.get("/v2/get-call/none", headers=RETELL)).status_code == 422

    async def test_lists_by_metadata_without_transcripts(self, client: httpx.AsyncClient, receiver: Receiver) -> None:
        await self.listen(client)
        made = (await client.post("/v2/create-phone-call", json=ASKED, headers=RETELL)).json()
        await client.post("/_control/report", json={"call_id": made["call_id"], "event": "call_ended"})
        wanted = {"filter_criteria": {"metadata": [{"key": "effect", "type": "string", "op": "eq", "value": "e"}]}}
        (found,) = (await client.post("/v3/list-calls", json=wanted, headers=RETELL)).json()["items"]
        assert found["call_id"] == made["call_id"]
        assert "transcript" not in found
        assert "transcript" in (await client.get(f"/v2/get-call/{made['call_id']}", headers=RETELL)).json()
        wanted["filter_criteria"]["metadata"][0]["value"] = "another"
        assert (await client.post("/v3/list-calls", json=wanted, headers=RETELL)).json()["items"] == []

    async def test_signs_the_body_and_the_milliseconds_anew_each_time(self, client: httpx.AsyncClient, receiver: Receiver) -> None:
        await self.listen(client)
        made = (await client.post("/v2/create-phone-call", json=ASKED, headers=RETELL)).json()
        await client.post("/_control/report", json={"call_id": made["call_id"], "event": "call_ended", "signed_at": 1_700_000_000_000})
        ((raw, headers),) = receiver.requests
        digest = hmac.new(SECRET.encode(), raw + b"1700000000000", hashlib.sha256).hexdigest()
        assert headers["x-retell-signature"] == f"v=1700000000000,d={digest}"

    @pytest.mark.parametrize(
        ("reason", "events"),
        [("user_hangup", ["call_started", "call_ended", "call_analyzed"]), ("dial_no_answer", ["call_ended", "call_analyzed"])],
    )
    async def test_calls_go_their_way_by_themselves(
        self, client: httpx.AsyncClient, receiver: Receiver, reason: str, events: list[str]
    ) -> None:
        await self.listen(client, automatic=True)
        await client.post("/_control/answering", json={"reason": reason})
        await client.post("/v2/create-phone-call", json=ASKED, headers=RETELL)
        await probe.until_async(_length(receiver.requests), lambda number: number == len(events), what="all reports")
        told = [json.loads(raw) for raw, _ in receiver.requests]
        assert [body["event"] for body in told] == events
        assert ["call_analysis" in body["call"] for body in told] == [event == "call_analyzed" for event in events]
