"""Outbound webhooks from event to receiver: signed, repeated until taken, logged, given up out loud."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import httpx
import orjson
import pytest
from aiohttp import web
from standardwebhooks import Webhook

from libs.common.auth import Principal, Role
from libs.common.messaging import Incoming
from libs.common.secrets import SecretBox
from libs.common.service import Service
from libs.common.work import Work
from libs.contracts.access import PracticeAccessChanged
from libs.contracts.envelope import Message
from libs.contracts.scheduling import AppointmentBooked, AppointmentConfirmed, Attendee, WebhookDeliveryExhausted
from libs.testing.fixtures import SECRETS_KEYS, Join, incoming
from services.scheduling.adapters.webhooks import WebhookSender
from services.scheduling.app import build
from services.scheduling.commands.dispatch import PER_PRACTICE, Dispatcher
from services.scheduling.rules.retries import TRIES, Answer
from services.scheduling.settings import Settings
from services.scheduling.tests.receiver import Behaviour, Receiver, answers

Headers = dict[str, str]
Outbox = Callable[[UUID], Awaitable[list[Message]]]
Endpoint = Callable[..., Awaitable[tuple[Receiver, str]]]
NOW = datetime.now(UTC)


@pytest.fixture(scope="module")
def service(settings_for: Callable[..., Any]) -> Service:
    """As in development: receivers on loopback."""
    return build(settings_for(Settings, webhooks_allow_private=True))


@pytest.fixture
async def dispatcher(work: Work) -> AsyncIterator[Dispatcher]:
    sender = WebhookSender(development=True, total_seconds=5)
    yield Dispatcher(work, sender, SecretBox.local(SECRETS_KEYS), slots=32, first_pause_seconds=5, wake=lambda: None)
    await sender.close()


@pytest.fixture
async def endpoint(client: httpx.AsyncClient, as_admin: Headers) -> AsyncIterator[Endpoint]:
    """A receiver that is the practice's endpoint; answers with it and the secret."""
    started: list[Receiver] = []

    async def make(behave: Behaviour, *types: str, headers: Headers | None = None) -> tuple[Receiver, str]:
        receiver = Receiver(behave)
        await receiver.start()
        started.append(receiver)
        told = {"url": receiver.url, "event_types": list(types) or ["appointment.booked"]}
        answer = await client.put("/v1/webhook-endpoint", json=told, headers=headers or as_admin)
        assert answer.status_code == 200, answer.text
        return receiver, answer.json()["secret"]

    yield make
    for receiver in started:
        await receiver.stop()


def booked() -> AppointmentBooked:
    return AppointmentBooked(
        appointment_id=uuid4(), version=1, status="booked", source="local", resource="r", starts_at=NOW, ends_at=NOW + timedelta(minutes=30),
        time_zone="UTC", attendee=Attendee(name="Jo Berg", email="jo@berg.example"),
    )  # fmt: skip


async def tell(service: Service, practice: UUID, *messages: Message) -> list[Incoming]:
    records = [incoming(message, practice) for message in messages or (booked(),)]
    await service.batches.handle(records)
    return records


async def due(work: Work, practice: UUID) -> list[datetime]:
    async with work(Principal.system("test", practice)) as tx:
        return [row[0] for row in await tx.rows("SELECT due_at FROM webhook_due WHERE practice_id = $1 ORDER BY due_at", practice)]


async def hasten(work: Work, practice: UUID) -> None:
    """Let the pauses of a practice's deliveries be over."""
    async with work(Principal.system("test", practice)) as tx:
        await tx.execute("UPDATE webhook_due SET due_at = $2 WHERE practice_id = $1", practice, tx.now)


async def drain(dispatcher: Dispatcher, work: Work, practice: UUID) -> None:
    """Attempt until nothing of the practice is due; other tests' deliveries may take a turn too."""
    while any(at <= datetime.now(UTC) for at in await due(work, practice)):
        await dispatcher.run()
        await dispatcher.drained()


async def log(client: httpx.AsyncClient, headers: Headers, **query: str) -> list[dict[str, Any]]:
    answer = await client.get("/v1/webhook-endpoint/deliveries", params=query, headers=headers)
    items: list[dict[str, Any]] = answer.json()["items"]
    return items


class TestEndpoint:
    URL = "https://hooks.clinic.example/in"

    async def configure(self, client: httpx.AsyncClient, headers: Headers, **fields: Any) -> httpx.Response:
        told = {"url": self.URL, "event_types": ["appointment.booked", "appointment.cancelled"], **fields}
        return await client.put("/v1/webhook-endpoint", json=told, headers=headers)

    async def test_shows_its_secret_once(self, client: httpx.AsyncClient, as_admin: Headers) -> None:
        made = await self.configure(client, as_admin)
        assert made.json()["secret"].startswith("whsec_")
        assert made.headers["cache-control"] == "no-store"
        changed = await self.configure(client, as_admin, event_types=["appointment.booked"])
        shown = await client.get("/v1/webhook-endpoint", headers=as_admin)
        assert changed.json() == shown.json()
        assert (shown.json()["secret"], shown.json()["event_types"], shown.json()["state"]) == (None, ["appointment.booked"], "active")

    async def test_shows_a_new_secret_when_it_is_rotated(self, client: httpx.AsyncClient, as_admin: Headers) -> None:
        first = (await self.configure(client, as_admin)).json()["secret"]
        second = (await self.configure(client, as_admin, rotate_secret=True)).json()["secret"]
        assert second is not None
        assert second != first

    async def test_keeps_its_secret_sealed_and_out_of_kept_answers(
        self, client: httpx.AsyncClient, as_admin: Headers, work: Work, practice: UUID
    ) -> None:
        secret = (await self.configure(client, {**as_admin, "Idempotency-Key": "k"})).json()["secret"]
        async with work(Principal.system("test", practice)) as tx:
            sealed = await tx.value("SELECT secret FROM webhook_endpoint WHERE practice_id = $1", practice)
            kept = await tx.value("SELECT count(*) FROM idempotency WHERE practice_id = $1", practice)
        assert secret.encode() not in sealed
        assert kept == 0

    @pytest.mark.parametrize(
        ("fields", "pointer"),
        [
            ({"url": "ftp://hooks.clinic.example/"}, "/url"),
            ({"url": "https://u:p@hooks.clinic.example/"}, "/url"),
            ({"event_types": []}, "/event_types"),
            ({"event_types": ["appointment.exploded"]}, "/event_types"),
            ({"surprise": 1}, "/surprise"),
        ],
    )
    async def test_refuses_bad_input_and_names_the_field(
        self, client: httpx.AsyncClient, as_admin: Headers, fields: dict[str, Any], pointer: str
    ) -> None:
        answer = await self.configure(client, as_admin, **fields)
        assert (answer.status_code, answer.json()["errors"][0]["pointer"]) == (422, pointer)

    async def test_refuses_http_and_addresses_outside_development(
        self, settings_for: Callable[..., Any], service: Service, token: Any, practice: UUID, as_admin: Headers, client: httpx.AsyncClient
    ) -> None:
        strict = build(settings_for(Settings))
        strict.app.state.verifier = service.app.state.verifier
        async with httpx.AsyncClient(transport=httpx.ASGITransport(strict.app), base_url="http://strict.test") as other:
            for url in ("http://hooks.clinic.example/", "https://127.0.0.1/"):
                answer = await self.configure(other, as_admin, url=url)
                assert (answer.status_code, answer.json()["code"]) == (422, "webhook_url_refused")
        await strict.engine.dispose()

    async def test_is_changed_by_admins_only(self, client: httpx.AsyncClient, as_user: Headers) -> None:
        answers_ = [
            await self.configure(client, as_user),
            await client.get("/v1/webhook-endpoint", headers=as_user),
            await client.delete("/v1/webhook-endpoint", headers=as_user),
            await client.get("/v1/webhook-endpoint/deliveries", headers=as_user),
            await client.post(f"/v1/webhook-endpoint/deliveries/{uuid4()}/resend", headers=as_user),
        ]
        assert {answer.status_code for answer in answers_} == {403}

    async def test_is_not_there_before_it_is_made_after_it_is_removed_and_for_others(
        self, client: httpx.AsyncClient, as_admin: Headers, as_stranger: Headers
    ) -> None:
        assert (await client.get("/v1/webhook-endpoint", headers=as_admin)).json()["code"] == "endpoint_not_found"
        await self.configure(client, as_admin)
        assert (await client.get("/v1/webhook-endpoint", headers=as_stranger)).status_code == 404
        assert (await client.delete("/v1/webhook-endpoint", headers=as_stranger)).status_code == 404
        assert (await client.delete("/v1/webhook-endpoint", headers=as_admin)).status_code == 204
        assert (await client.delete("/v1/webhook-endpoint", headers=as_admin)).status_code == 404


class TestDeliver:
    async def test_brings_a_signed_event(
        self,
        endpoint: Endpoint,
        service: Service,
        dispatcher: Dispatcher,
        work: Work,
        practice: UUID,
        client: httpx.AsyncClient,
        as_admin: Headers,
    ) -> None:
        receiver, secret = await endpoint(answers(200, "ok"))
        event = booked()
        await tell(service, practice, event)
        await drain(dispatcher, work, practice)
        (got,) = receiver.got
        body = Webhook(secret).verify(got.body, got.headers)
        assert (body["type"], body["data"]["appointment_id"]) == ("appointment.booked", str(event.appointment_id))
        (delivery,) = await log(client, as_admin)
        assert (delivery["state"], delivery["last_status"], delivery["webhook_id"]) == ("delivered", 200, got.headers["webhook-id"])
        assert [(entry["number"], entry["status"], entry["answer"]) for entry in delivery["log"]] == [(1, 200, "ok")]
        assert await due(work, practice) == []

    async def test_tells_no_personal_data(
        self, endpoint: Endpoint, service: Service, dispatcher: Dispatcher, work: Work, practice: UUID
    ) -> None:
        receiver, _ = await endpoint(answers(200))
        await tell(service, practice)
        await drain(dispatcher, work, practice)
        assert b"Berg" not in receiver.got[0].body
        assert b"berg.example" not in receiver.got[0].body

    async def test_sends_only_what_the_endpoint_wants(
        self, endpoint: Endpoint, service: Service, dispatcher: Dispatcher, work: Work, practice: UUID
    ) -> None:
        receiver, _ = await endpoint(answers(200), "appointment.confirmed")
        confirmed = AppointmentConfirmed.model_validate(booked().model_dump(exclude={"attendee", "double_booked"}))
        await tell(service, practice, booked(), confirmed)
        await tell(service, uuid4(), confirmed)
        await drain(dispatcher, work, practice)
        assert [orjson.loads(got.body)["type"] for got in receiver.got] == ["appointment.confirmed"]

    async def test_makes_one_delivery_of_an_event_told_twice(
        self, endpoint: Endpoint, service: Service, dispatcher: Dispatcher, work: Work, practice: UUID
    ) -> None:
        receiver, _ = await endpoint(answers(200))
        records = await tell(service, practice)
        await service.batches.handle(records * 2)
        await drain(dispatcher, work, practice)
        assert len(receiver.got) == 1

    async def test_signs_with_both_secrets_after_a_rotation(
        self,
        endpoint: Endpoint,
        service: Service,
        dispatcher: Dispatcher,
        work: Work,
        practice: UUID,
        client: httpx.AsyncClient,
        as_admin: Headers,
    ) -> None:
        receiver, old = await endpoint(answers(200))
        told = {"url": receiver.url, "event_types": ["appointment.booked"], "rotate_secret": True}
        new = (await client.put("/v1/webhook-endpoint", json=told, headers=as_admin)).json()["secret"]
        await tell(service, practice)
        await drain(dispatcher, work, practice)
        for secret in (old, new):
            assert Webhook(secret).verify(receiver.got[0].body, receiver.got[0].headers)

    async def test_wakes_the_dispatcher_after_the_commit(
        self, endpoint: Endpoint, service: Service, practice: UUID, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        woken: list[str] = []
        monkeypatch.setattr(service, "_duties", {"webhooks": type("Duty", (), {"wake": lambda _: woken.append("webhooks")})()})
        await tell(service, practice)
        assert woken == []
        await endpoint(answers(200))
        await tell(service, practice)
        assert woken == ["webhooks"]


class TestRetry:
    async def test_repeats_the_same_id_and_bytes_with_a_new_signature(
        self,
        endpoint: Endpoint,
        service: Service,
        dispatcher: Dispatcher,
        work: Work,
        practice: UUID,
        client: httpx.AsyncClient,
        as_admin: Headers,
    ) -> None:
        statuses = iter([500, 429, 200])

        async def moody(_: web.Request) -> web.StreamResponse:
            return web.Response(status=next(statuses))

        receiver, secret = await endpoint(moody)
        await tell(service, practice)
        for _ in range(3):
            await hasten(work, practice)
            await drain(dispatcher, work, practice)
        assert len({got.headers["webhook-id"] for got in receiver.got}) == 1
        assert len({got.body for got in receiver.got}) == 1
        for got in receiver.got:
            assert Webhook(secret).verify(got.body, got.headers)
        (delivery,) = await log(client, as_admin)
        assert (delivery["state"], delivery["attempts"]) == ("delivered", 3)
        assert [entry["status"] for entry in delivery["log"]] == [500, 429, 200]

    async def test_waits_as_planned(self, endpoint: Endpoint, service: Service, dispatcher: Dispatcher, work: Work, practice: UUID) -> None:
        await endpoint(answers(503))
        await tell(service, practice)
        await drain(dispatcher, work, practice)
        (at,) = await due(work, practice)
        assert 3 < (at - datetime.now(UTC)).total_seconds() < 7

    async def test_gives_up_out_loud_after_the_last_try(
        self,
        endpoint: Endpoint,
        service: Service,
        dispatcher: Dispatcher,
        work: Work,
        practice: UUID,
        outbox: Outbox,
        client: httpx.AsyncClient,
        as_admin: Headers,
    ) -> None:
        receiver, _ = await endpoint(answers(500))
        await tell(service, practice)
        for _ in range(TRIES + 1):
            await hasten(work, practice)
            await drain(dispatcher, work, practice)
        assert len(receiver.got) == TRIES
        (event,) = await outbox(practice)
        assert isinstance(event, WebhookDeliveryExhausted)
        assert (event.event_type, event.attempts, event.last_status) == ("appointment.booked", TRIES, 500)
        assert [delivery["state"] for delivery in await log(client, as_admin)] == ["exhausted"]

    async def test_stops_for_good_when_the_receiver_is_gone(
        self,
        endpoint: Endpoint,
        service: Service,
        dispatcher: Dispatcher,
        work: Work,
        practice: UUID,
        client: httpx.AsyncClient,
        as_admin: Headers,
    ) -> None:
        receiver, _ = await endpoint(answers(410))
        await tell(service, practice)
        await drain(dispatcher, work, practice)
        await tell(service, practice)
        await drain(dispatcher, work, practice)
        assert len(receiver.got) == 1
        assert (await client.get("/v1/webhook-endpoint", headers=as_admin)).json()["state"] == "gone"
        assert [delivery["state"] for delivery in await log(client, as_admin)] == ["abandoned"]
        told = {"url": receiver.url, "event_types": ["appointment.booked"]}
        assert (await client.put("/v1/webhook-endpoint", json=told, headers=as_admin)).json()["state"] == "active"

    async def test_sends_nothing_after_the_endpoint_was_removed(
        self,
        endpoint: Endpoint,
        service: Service,
        dispatcher: Dispatcher,
        work: Work,
        practice: UUID,
        client: httpx.AsyncClient,
        as_admin: Headers,
    ) -> None:
        receiver, _ = await endpoint(answers(200))
        await tell(service, practice)
        await client.delete("/v1/webhook-endpoint", headers=as_admin)
        assert await due(work, practice) == []
        assert [delivery["state"] for delivery in await log(client, as_admin)] == ["abandoned"]
        assert receiver.got == []


class TestResend:
    async def test_sends_a_delivery_again_under_its_id(
        self,
        endpoint: Endpoint,
        service: Service,
        dispatcher: Dispatcher,
        work: Work,
        practice: UUID,
        client: httpx.AsyncClient,
        as_admin: Headers,
    ) -> None:
        receiver, _ = await endpoint(answers(200))
        await tell(service, practice)
        await drain(dispatcher, work, practice)
        (delivery,) = await log(client, as_admin)
        again = await client.post(f"/v1/webhook-endpoint/deliveries/{delivery['id']}/resend", headers=as_admin)
        assert again.status_code == 202
        await drain(dispatcher, work, practice)
        assert [got.headers["webhook-id"] for got in receiver.got] == [delivery["webhook_id"]] * 2
        assert [entry["number"] for entry in (await log(client, as_admin))[0]["log"]] == [1, 2]

    async def test_starts_the_tries_anew(
        self,
        endpoint: Endpoint,
        service: Service,
        dispatcher: Dispatcher,
        work: Work,
        practice: UUID,
        client: httpx.AsyncClient,
        as_admin: Headers,
    ) -> None:
        await endpoint(answers(500))
        await tell(service, practice)
        for _ in range(TRIES):
            await hasten(work, practice)
            await drain(dispatcher, work, practice)
        (delivery,) = await log(client, as_admin)
        await client.post(f"/v1/webhook-endpoint/deliveries/{delivery['id']}/resend", headers=as_admin)
        await drain(dispatcher, work, practice)
        (delivery,) = await log(client, as_admin)
        assert (delivery["state"], delivery["attempts"]) == ("pending", TRIES + 1)

    async def test_knows_no_delivery_of_another_practice(
        self, endpoint: Endpoint, service: Service, practice: UUID, client: httpx.AsyncClient, as_admin: Headers, as_stranger: Headers
    ) -> None:
        await endpoint(answers(200))
        await endpoint(answers(200), headers=as_stranger)
        await tell(service, practice)
        (delivery,) = await log(client, as_admin)
        for delivery_id in (delivery["id"], uuid4()):
            answer = await client.post(f"/v1/webhook-endpoint/deliveries/{delivery_id}/resend", headers=as_stranger)
            assert (answer.status_code, answer.json()["code"]) == (404, "delivery_not_found")
        assert await log(client, as_stranger) == []

    async def test_needs_an_endpoint(self, client: httpx.AsyncClient, as_admin: Headers) -> None:
        answer = await client.post(f"/v1/webhook-endpoint/deliveries/{uuid4()}/resend", headers=as_admin)
        assert (answer.status_code, answer.json()["code"]) == (404, "endpoint_not_found")


class TestLog:
    async def test_lists_the_newest_first_page_by_page(
        self, endpoint: Endpoint, service: Service, practice: UUID, client: httpx.AsyncClient, as_admin: Headers
    ) -> None:
        await endpoint(answers(200))
        for _ in range(3):
            await tell(service, practice)
        everything = await log(client, as_admin)
        assert [entry["created_at"] for entry in everything] == sorted((entry["created_at"] for entry in everything), reverse=True)
        first = (await client.get("/v1/webhook-endpoint/deliveries", params={"limit": 2}, headers=as_admin)).json()
        rest = await log(client, as_admin, cursor=first["next_cursor"])
        assert [entry["id"] for entry in first["items"] + rest] == [entry["id"] for entry in everything]


class Slow:
    """A sender that holds the attempts at one address until released."""

    def __init__(self, slow_url: str) -> None:
        self.slow_url = slow_url
        self.release = asyncio.Event()
        self.sent: list[tuple[str, str]] = []

    async def send(self, url: str, headers: dict[str, str], body: bytes) -> Answer:
        self.sent.append((url, headers["webhook-id"]))
        if url == self.slow_url:
            await self.release.wait()
        return Answer(200, None, 1)


class TestDispatch:
    async def test_lets_a_slow_receiver_hold_up_nobody_else(
        self, endpoint: Endpoint, service: Service, work: Work, practice: UUID, join: Join
    ) -> None:
        slow_receiver, _ = await endpoint(answers(200))
        other = uuid4()
        other_receiver, _ = await endpoint(answers(200), headers=await join(Role.PRACTICE_ADMIN, other))
        await tell(service, practice, *(booked() for _ in range(PER_PRACTICE + 4)))
        sender = Slow(slow_receiver.url)
        dispatcher = Dispatcher(work, sender, SecretBox.local(SECRETS_KEYS), slots=64, first_pause_seconds=5, wake=lambda: None)
        await dispatcher.run()
        await tell(service, other)
        while other_receiver.url not in {url for url, _ in sender.sent}:
            await dispatcher.run()
            await due(work, other)
        held = [url for url, _ in sender.sent if url == slow_receiver.url]
        assert 0 < len(held) <= 2 * PER_PRACTICE
        sender.release.set()
        await dispatcher.drained()
        await drain(dispatcher, work, practice)
        assert len({message for url, message in sender.sent if url == slow_receiver.url}) == PER_PRACTICE + 4

    async def test_holds_what_a_suspended_practice_has_to_tell(
        self, endpoint: Endpoint, service: Service, work: Work, practice: UUID
    ) -> None:
        receiver, _ = await endpoint(answers(200))
        await tell(service, practice)
        await tell(service, practice, PracticeAccessChanged(changed_practice_id=practice, suspended=True, origins=[], version=1))
        sender = Slow("")
        dispatcher = Dispatcher(work, sender, SecretBox.local(SECRETS_KEYS), slots=32, first_pause_seconds=5, wake=lambda: None)
        await dispatcher.run()
        assert receiver.url not in {url for url, _ in sender.sent}
        await tell(service, practice, PracticeAccessChanged(changed_practice_id=practice, suspended=False, origins=[], version=2))
        await dispatcher.run()
        await dispatcher.drained()
        assert [url for url, _ in sender.sent if url == receiver.url] == [receiver.url]

    async def test_leaves_alone_what_another_process_is_claiming(
        self, endpoint: Endpoint, service: Service, work: Work, practice: UUID
    ) -> None:
        receiver, _ = await endpoint(answers(200))
        await tell(service, practice, *(booked() for _ in range(PER_PRACTICE)))
        sender = Slow("")
        dispatcher = Dispatcher(work, sender, SecretBox.local(SECRETS_KEYS), slots=32, first_pause_seconds=5, wake=lambda: None)
        async with work.batch([], Principal.system("another process")) as tx:
            await tx.execute("SELECT 1 FROM webhook_due WHERE practice_id = $1 FOR UPDATE", practice)
            await dispatcher.run()
            await dispatcher.drained()
            assert receiver.url not in {url for url, _ in sender.sent}
        await drain(dispatcher, work, practice)
        assert len([url for url, _ in sender.sent if url == receiver.url]) == PER_PRACTICE

    async def test_brings_a_claim_back_when_the_attempt_dies(
        self, endpoint: Endpoint, service: Service, work: Work, practice: UUID
    ) -> None:
        class Broken:
            async def send(self, url: str, headers: dict[str, str], body: bytes) -> Answer:
                raise RuntimeError

        await endpoint(answers(200))
        await tell(service, practice)
        dispatcher = Dispatcher(work, Broken(), SecretBox.local(SECRETS_KEYS), slots=32, first_pause_seconds=5, wake=lambda: None)
        await drain(dispatcher, work, practice)
        (at,) = await due(work, practice)
        assert 50 < (at - datetime.now(UTC)).total_seconds() <= 60

    async def test_sends_by_itself_what_was_told(self, endpoint: Endpoint, settings_for: Callable[..., Any], practice: UUID) -> None:
        receiver, _ = await endpoint(answers(200))
        running = build(settings_for(Settings, webhooks_allow_private=True))
        duty = running._duties["webhooks"]
        turning = asyncio.create_task(duty.forever())
        await tell(running, practice)
        async with asyncio.timeout(10):
            await receiver.arrived.wait()
        duty.stop()
        await turning
        await running._close()
        await running.engine.dispose()

    async def test_finishes_and_records_what_it_began_before_the_service_leaves(
        self, endpoint: Endpoint, settings_for: Callable[..., Any], work: Work, practice: UUID, client: httpx.AsyncClient, as_admin: Headers
    ) -> None:
        release = asyncio.Event()

        async def wait(_: web.Request) -> web.StreamResponse:
            await release.wait()
            return web.Response()

        receiver, _ = await endpoint(wait)
        leaving = build(settings_for(Settings, webhooks_allow_private=True))
        await tell(leaving, practice)
        while not receiver.arrived.is_set():
            await leaving._duties["webhooks"]._run()
        closing = asyncio.create_task(leaving._close())
        left, _ = await asyncio.wait({closing}, timeout=0.3)
        assert left == set()
        release.set()
        await closing
        await leaving.engine.dispose()
        assert [delivery["state"] for delivery in await log(client, as_admin)] == ["delivered"]

    async def test_tells_when_it_wants_to_run_again(
        self, endpoint: Endpoint, service: Service, dispatcher: Dispatcher, work: Work, practice: UUID
    ) -> None:
        await endpoint(answers(503))
        await tell(service, practice)
        await drain(dispatcher, work, practice)
        pause = await dispatcher.run()
        await dispatcher.drained()
        assert pause is not None
        assert 0 <= pause < 7
