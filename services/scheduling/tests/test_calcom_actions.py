"""Workflows book and cancel at Cal.com once, whatever gets lost, and whichever comes first: its answer, its webhook or neither."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import httpx
import psycopg
import pytest

from libs.common.actions.performing import Performing
from libs.common.auth import Principal
from libs.common.messaging import Consumer, Incoming
from libs.common.messaging.batches import Batches
from libs.common.messaging.redrive import Redrive
from libs.common.secrets import SecretBox
from libs.common.work import Work
from libs.contracts.actions import Outcome
from libs.contracts.envelope import Message
from libs.contracts.patients import PatientDetails, PatientRegistered
from libs.contracts.scheduling import ActionFinished, AppointmentBooked, AppointmentCancelled, AppointmentMatched, PerformAction
from libs.testing.fixtures import SECRETS_KEYS, incoming
from libs.testing.postgres import TestDatabase
from libs.testing.simulators.calcom import CalcomSimulator
from services.scheduling import consumers
from services.scheduling.actions import BOOK_APPOINTMENT, CANCEL_APPOINTMENT
from services.scheduling.adapters.calcom_api import API_VERSION, Calcom
from services.scheduling.tests.cal import SECRET
from services.scheduling.tests.calcom import EVENT_TYPE, KEY, SETTINGS, running

Outbox = Callable[[UUID], Awaitable[list[Message]]]
BOX = SecretBox.local(SECRETS_KEYS)
NINE, NINE_THIRTY = "2030-01-07T09:00:00Z", "2030-01-07T09:30:00Z"
ORDERS = ["the webhook first", "the answer first", "no webhook"]


@dataclass
class House:
    """The service's parts that perform and its door, around Cal.com's simulator."""

    work: Work
    calcom: CalcomSimulator
    url: str
    provider: Calcom
    performing: Performing
    batches: Batches
    redrive: Redrive
    superuser: psycopg.Connection[tuple[Any, ...]]
    practice: UUID
    said_in: Outbox
    door: httpx.AsyncClient
    admin: dict[str, str]
    late: list[tuple[str, dict[str, Any]]] = field(default_factory=list)

    async def configure(self, **settings: Any) -> None:
        answer = await self.door.put("/v1/calcom-settings", json=settings, headers=self.admin)
        assert answer.status_code == 200, answer.text

    async def hear(self, *messages: Message) -> None:
        await self.hear_records(*(incoming(message, self.practice) for message in messages))

    async def hear_records(self, *records: Incoming) -> None:
        await self.batches.handle(records)
        await self.quiet()

    async def quiet(self) -> None:
        """Until nothing is planned, called or recorded in this process."""
        async with asyncio.timeout(20):
            while not await self.performing.dispatcher.idle():  # noqa: ASYNC110 - the dispatcher has no signal for "nothing left"
                await asyncio.sleep(0)

    async def recover(self) -> None:
        """The time of everything that waits has come."""
        self.superuser.execute("UPDATE scheduling.effect_due SET due_at = now() WHERE practice_id = %s", [self.practice])
        await self.performing.recover()
        await self.quiet()

    def webhooks(self, *, arrive: bool) -> None:
        """Whether Cal.com's notices reach our door."""
        where = {"url": f"http://vantage.test/webhooks/calcom/{self.practice}" if arrive else None, "secret": SECRET}
        self.calcom._set("webhooks", "*", where)

    async def notice(self, trigger: str, booking: dict[str, Any]) -> int | None:
        """Cal.com tells us about a booking now."""
        self.webhooks(arrive=True)
        return await self.calcom._tell(trigger, booking)

    async def said(self, kind: type[Message] | None = None) -> list[Any]:
        return [message for message in await self.said_in(self.practice) if kind is None or isinstance(message, kind)]

    async def outcomes(self) -> list[tuple[Outcome, str | None]]:
        return [(message.outcome, message.error.code if message.error else None) for message in await self.said(ActionFinished)]

    async def result(self) -> dict[str, Any]:
        """Of what was said last about an action."""
        found: dict[str, Any] = (await self.said(ActionFinished))[-1].result
        return found

    async def rows(self, query: str) -> list[dict[str, Any]]:
        async with self.work(Principal.system("test", self.practice)) as tx:
            return [dict(row) for row in await tx.rows(query, self.practice)]

    async def appointments(self) -> list[dict[str, Any]]:
        return await self.rows("SELECT * FROM appointment WHERE practice_id = $1 ORDER BY created_at")

    @property
    def accepted(self) -> list[dict[str, Any]]:
        return self.calcom.record.lines


@pytest.fixture
async def house(
    work: Work, database: TestDatabase, practice: UUID, outbox: Outbox, client: httpx.AsyncClient, as_admin: dict[str, str], tmp_path: Path
) -> AsyncIterator[House]:
    async with running(tmp_path) as (simulator, url):
        simulator._client = client
        calcom = Calcom(url)
        await calcom.open()
        plugins = [BOOK_APPOINTMENT, CANCEL_APPOINTMENT]
        performing = Performing(
            work, plugins, (PerformAction, ActionFinished), {"calendar": calcom, "box": BOX}, lookup_after_seconds=900.0
        )
        consumer = Consumer("scheduling")
        consumers.subscribe(consumer, wake=lambda: None, performing=performing)
        batches = Batches(consumer, work)
        redrive = Redrive(consumer, work, batches)
        await performing.dispatcher.start()
        with psycopg.connect(database.url("postgres"), autocommit=True) as superuser:
            # What other tests left open is of other practices, and would be brought on here, too.
            superuser.execute("DELETE FROM scheduling.effect_due")
            here = House(
                work, simulator, url, calcom, performing, batches, redrive, superuser, practice, outbox, client, as_admin
            )  # fmt: skip
            await here.configure(**SETTINGS)
            here.webhooks(arrive=True)
            yield here
            await performing.dispatcher.stop()
        await calcom.close()


def registered(email: str | None = "jonas@berg.example", **details: Any) -> PatientRegistered:
    person = {"given_name": "Jonas", "family_name": "Bärg", "email": email, **details}
    return PatientRegistered(patient_id=uuid4(), version=1, details=PatientDetails(**person))


@pytest.fixture
async def patient(house: House) -> UUID:
    event = registered(time_zone="Europe/Lisbon")
    await house.hear(event)
    return event.patient_id


def ask(action: str, patient: UUID | None, **parameters: Any) -> PerformAction:
    return PerformAction(effect_key=uuid4(), action=action, run_id=uuid4(), step_id="step", patient_id=patient, parameters=parameters)


def book(patient: UUID | None, **parameters: Any) -> PerformAction:
    return ask("book_appointment", patient, **{"title": "Recall", "starts_at": NINE, **parameters})


async def booked(house: House, patient: UUID, **parameters: Any) -> dict[str, Any]:
    """The appointment of a booking made for the patient."""
    await house.hear(book(patient, **parameters))
    (row,) = await house.appointments()
    return row


class TestBook:
    @pytest.mark.parametrize("order", ORDERS)
    async def test_books_there_and_keeps_the_appointment_once(self, house: House, patient: UUID, order: str) -> None:
        house.webhooks(arrive=order == "the webhook first")
        request = incoming(book(patient), house.practice)
        await house.hear_records(request)
        if order == "the answer first":
            assert [await house.notice("BOOKING_CREATED", house.accepted[0]) for _ in range(2)] == [204, 204]
        (taken,) = house.accepted
        (row,) = await house.appointments()
        assert (row["external_id"], row["source"], row["status"], row["resource"]) == (taken["uid"], "calcom", "booked", "calcom/host/5")
        assert (row["patient_id"], row["title"], row["attendee_email"]) == (patient, "Recall", "jonas@berg.example")
        assert await house.outcomes() == [(Outcome.SUCCEEDED, None)]
        assert await house.result() == {"appointment_id": str(row["id"]), "starts_at": NINE, "ends_at": NINE_THIRTY}
        (said,) = await house.said(AppointmentBooked)
        assert (said.appointment_id, said.patient_id) == (row["id"], patient)
        (caused,) = await house.rows(
            "SELECT causation_id, correlation_id FROM outbox WHERE practice_id = $1 AND type = 'vantage.scheduling.appointment-booked.v1'"
        )
        assert (caused["causation_id"], caused["correlation_id"]) == (request.headers["ce_id"], request.headers["correlation_id"])

    async def test_books_for_the_patient_as_they_spell_their_name_and_in_their_zone(self, house: House, patient: UUID) -> None:
        request = book(patient)
        await house.hear(request)
        (taken,) = house.accepted
        assert taken["attendee"] == {"name": "Jonas Bärg", "email": "jonas@berg.example", "timeZone": "Europe/Lisbon"}
        assert taken["metadata"] == {"vantage_effect": str(request.effect_key)}
        assert (taken["eventTypeId"], taken["start"]) == (EVENT_TYPE, NINE)

    async def test_books_for_somebody_whose_own_spelling_is_not_known_yet(self, house: House, patient: UUID) -> None:
        house.superuser.execute("UPDATE scheduling.contact SET shown_name = NULL, time_zone = NULL WHERE patient_id = %s", [patient])
        await house.hear(book(patient, time_zone="Europe/Berlin", starts_at="2030-01-07T10:00:00"))
        (taken,) = house.accepted
        assert (taken["attendee"]["name"], taken["attendee"]["timeZone"], taken["start"]) == ("Jonas Barg", "Europe/Berlin", NINE)

    async def test_books_the_event_type_that_the_step_names(self, house: House, patient: UUID) -> None:
        house.calcom._set("event_types", "8", {"lengths": [30, 45]})
        row = await booked(house, patient, event_type_id=8, duration_minutes=45)
        assert (house.accepted[0]["eventTypeId"], row["resource"]) == (8, "calcom/host/8")
        assert (await house.result())["ends_at"] == "2030-01-07T09:45:00Z"

    async def test_books_once_however_often_it_is_asked(self, house: House, patient: UUID) -> None:
        request = book(patient)
        await house.hear_records(*(incoming(request, house.practice) for _ in range(3)))
        await house.hear(request)
        assert (len(house.accepted), len(await house.appointments())) == (1, 1)
        assert await house.outcomes() == [(Outcome.SUCCEEDED, None)]

    @pytest.mark.parametrize("order", ORDERS)
    async def test_is_for_the_patient_it_was_asked_for_even_where_several_share_an_address(
        self, house: House, patient: UUID, order: str
    ) -> None:
        await house.hear(registered(), registered(given_name="Ole"))  # father and son have one name, too
        house.webhooks(arrive=order == "the webhook first")
        row = await booked(house, patient)
        if order == "the answer first":
            await house.notice("BOOKING_CREATED", house.accepted[0])
        assert row["patient_id"] == patient
        assert await house.said(AppointmentMatched) == []

    async def test_is_linked_to_its_patient_though_a_notice_without_our_mark_came_first(
        self, house: House, patient: UUID, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        await house.hear(registered(given_name="Mira"))
        payload = CalcomSimulator._tell

        async def unmarked(self: CalcomSimulator, trigger: str, booking: dict[str, Any]) -> int | None:
            return await payload(self, trigger, {**booking, "metadata": {}, "attendee": {**booking["attendee"], "name": "J."}})

        monkeypatch.setattr(CalcomSimulator, "_tell", unmarked)
        row = await booked(house, patient)
        assert row["patient_id"] == patient
        assert (await house.result())["appointment_id"] == str(row["id"])
        (matched,) = await house.said(AppointmentMatched)
        assert matched.patient_id == patient

    async def test_of_a_cancellation_that_came_first_nobody_hears_as_of_a_booking(self, house: House, patient: UUID) -> None:
        house.webhooks(arrive=False)
        house.calcom.faults.plan({"kind": "lose"})
        await house.hear(book(patient))
        (taken,) = house.accepted
        stranger = {**taken, "status": "cancelled", "metadata": {}, "attendee": {**taken["attendee"], "email": "jo@else.example"}}
        assert await house.notice("BOOKING_CANCELLED", stranger) == 204
        assert await house.notice("BOOKING_CREATED", taken) == 204
        (row,) = await house.appointments()
        assert (row["status"], row["patient_id"]) == ("cancelled", patient)
        assert [type(message) for message in await house.said() if not isinstance(message, ActionFinished)] == [AppointmentCancelled]
        assert (await house.outcomes())[-1] == (Outcome.SUCCEEDED, None)

    async def test_believes_no_mark_that_somebody_else_wrote(self, house: House, patient: UUID) -> None:
        house.calcom.faults.plan({"kind": "status", "status": 500})
        request = book(patient)
        await house.hear(request)
        forged = {"name": "Eve", "email": "eve@else.example", "start": NINE}
        async with httpx.AsyncClient(base_url=house.url) as cal:
            house.webhooks(arrive=False)
            await cal.post("/_control/book", json=forged)
        await house.notice("BOOKING_CREATED", {**house.accepted[0], "metadata": {"vantage_effect": str(request.effect_key)}})
        assert await house.outcomes() == [(Outcome.UNKNOWN, "provider_status_500")]
        assert (await house.appointments())[0]["patient_id"] is None

    async def test_a_taken_time_fails_the_step(self, house: House, patient: UUID) -> None:
        await house.hear(book(patient))
        await house.hear(book(patient))
        assert await house.outcomes() == [(Outcome.SUCCEEDED, None), (Outcome.FAILED, "slot_taken")]
        assert (len(house.accepted), len(await house.appointments())) == (1, 1)

    @pytest.mark.parametrize(
        ("parameters", "code"),
        [
            ({"starts_at": "2020-01-07T09:00:00Z"}, "start_is_past"),
            ({"starts_at": "tomorrow"}, "start_unreadable"),
            ({"time_zone": "Mars/Olympus"}, "time_zone_unknown"),
            ({"event_type_id": 0}, "parameters_invalid"),
            ({"event_type_id": 2**31}, "parameters_invalid"),
            ({"event_type_id": 7, "resource": "Dr Kim"}, "parameters_invalid"),
            ({"duration_minutes": 4}, "parameters_invalid"),
            ({"duration_minutes": 45}, "provider_status_400"),
            ({"event_type_id": 404}, "provider_status_404"),
        ],
    )
    async def test_refuses_what_makes_no_booking(self, house: House, patient: UUID, parameters: dict[str, Any], code: str) -> None:
        house.calcom._set("event_types", "404", {"gone": True})
        await house.hear(book(patient, **parameters))
        assert await house.outcomes() == [(Outcome.FAILED, code)]
        assert (house.accepted, await house.appointments()) == ([], [])

    async def test_refuses_nobody_and_a_patient_without_an_address(self, house: House, patient: UUID) -> None:
        silent = registered(email=None)
        await house.hear(silent)
        await house.hear(book(None), book(silent.patient_id))
        assert await house.outcomes() == [(Outcome.FAILED, "patient_missing"), (Outcome.FAILED, "patient_has_no_email")]
        assert house.accepted == []

    async def test_refuses_a_practice_without_a_key_or_without_an_event_type(self, house: House, patient: UUID) -> None:
        await house.configure(event_type_id=None)
        await house.hear(book(patient))
        await house.configure(api_key=None)
        await house.hear(book(patient, event_type_id=7))
        assert await house.outcomes() == [(Outcome.FAILED, "event_type_missing"), (Outcome.FAILED, "calcom_not_configured")]

    async def test_waits_for_news_of_the_patient(self, house: House) -> None:
        late = registered()
        request = book(late.patient_id)
        await house.hear(request)
        assert await house.outcomes() == []
        await house.hear(late)
        assert await house.redrive.subject(house.practice, request.subject) == 1
        await house.quiet()
        assert await house.outcomes() == [(Outcome.SUCCEEDED, None)]

    @pytest.mark.parametrize("status", [429, 503])
    async def test_a_busy_provider_is_asked_again(self, house: House, patient: UUID, status: int) -> None:
        house.calcom.faults.plan({"kind": "status", "status": status})
        await house.hear(book(patient))
        assert await house.outcomes() == []
        await house.recover()
        assert await house.outcomes() == [(Outcome.SUCCEEDED, None)]
        assert len(house.accepted) == 1

    async def test_a_key_that_was_taken_back_is_a_refusal(self, house: House, patient: UUID) -> None:
        house.calcom._set("revoked", KEY, {})
        await house.hear(book(patient))
        assert await house.outcomes() == [(Outcome.FAILED, "provider_status_401")]

    async def test_takes_the_key_that_is_there_when_it_asks(self, house: House, patient: UUID) -> None:
        house.calcom.faults.plan({"kind": "status", "status": 503})
        await house.hear(book(patient))
        await house.configure(api_key=None)
        await house.recover()
        assert await house.outcomes() == [(Outcome.FAILED, "calcom_not_configured")]


class TestUnknown:
    async def test_is_said_and_then_found_by_our_mark(self, house: House, patient: UUID) -> None:
        house.webhooks(arrive=False)
        house.calcom.faults.plan({"kind": "lose"})
        await house.hear(book(patient))
        assert await house.outcomes() == [(Outcome.UNKNOWN, "provider_answer_lost")]
        assert await house.appointments() == []
        await house.recover()
        assert await house.outcomes() == [(Outcome.UNKNOWN, "provider_answer_lost"), (Outcome.SUCCEEDED, None)]
        (row,) = await house.appointments()
        assert (row["patient_id"], len(house.accepted), row["external_id"]) == (patient, 1, house.accepted[0]["uid"])

    async def test_is_found_though_the_patient_has_another_address_by_now(self, house: House, patient: UUID) -> None:
        house.webhooks(arrive=False)
        house.calcom.faults.plan({"kind": "lose"})
        await house.hear(book(patient))
        house.superuser.execute("UPDATE scheduling.contact SET email = 'new@berg.example' WHERE patient_id = %s", [patient])
        await house.recover()
        assert (await house.outcomes())[-1] == (Outcome.SUCCEEDED, None)
        assert len(house.accepted) == 1

    async def test_is_booked_again_only_when_cal_com_knows_nothing(self, house: House, patient: UUID) -> None:
        house.calcom.faults.plan({"kind": "status", "status": 500, "times": 2})
        await house.hear(book(patient))
        await house.recover()  # the provider cannot say
        assert (house.accepted, await house.outcomes()) == ([], [(Outcome.UNKNOWN, "provider_status_500")])
        await house.recover()
        assert len(house.accepted) == 1
        assert (await house.outcomes())[-1] == (Outcome.SUCCEEDED, None)

    async def test_ends_with_the_webhook(self, house: House, patient: UUID) -> None:
        house.webhooks(arrive=False)
        house.calcom.faults.plan({"kind": "lose"})
        await house.hear(book(patient))
        assert await house.notice("BOOKING_CREATED", house.accepted[0]) == 204
        (row,) = await house.appointments()
        assert (await house.outcomes())[-1] == (Outcome.SUCCEEDED, None)
        assert await house.result() == {"appointment_id": str(row["id"]), "starts_at": NINE, "ends_at": NINE_THIRTY}
        await house.recover()
        assert (len(house.accepted), len(await house.outcomes())) == (1, 2)

    async def test_is_not_said_at_all_when_the_webhook_was_quicker(self, house: House, patient: UUID) -> None:
        house.calcom.faults.plan({"kind": "lose"})
        await house.hear(book(patient))
        assert await house.outcomes() == [(Outcome.SUCCEEDED, None)]

    async def test_a_time_we_have_taken_ourselves_is_not_taken(self, house: House, patient: UUID, monkeypatch: pytest.MonkeyPatch) -> None:
        """A list that lags says nothing is there; the second try then meets the first."""
        house.webhooks(arrive=False)
        house.calcom.faults.plan({"kind": "lose"})
        await house.hear(book(patient))
        find = Calcom.find

        async def lags(self: Calcom, booking: Any) -> None:
            monkeypatch.setattr(Calcom, "find", find)

        monkeypatch.setattr(Calcom, "find", lags)
        await house.recover()
        await house.recover()
        assert (await house.outcomes())[-1] == (Outcome.SUCCEEDED, None)
        assert (len(house.accepted), len(await house.appointments())) == (1, 1)

    async def test_of_a_booking_cancelled_meanwhile_ends_with_both(self, house: House, patient: UUID) -> None:
        house.webhooks(arrive=False)
        house.calcom.faults.plan({"kind": "lose"})
        await house.hear(book(patient))
        await cancel_there(house, house.accepted[0]["uid"])
        await house.recover()
        assert (await house.outcomes())[-1] == (Outcome.SUCCEEDED, None)
        assert [type(message) for message in await house.said() if not isinstance(message, ActionFinished)] == [
            AppointmentBooked,
            AppointmentCancelled,
        ]


class TestConfirmation:
    @pytest.fixture
    async def waiting(self, house: House, patient: UUID) -> dict[str, Any]:
        house.calcom._set("event_types", str(EVENT_TYPE), {"confirms": True})
        await house.hear(book(patient))
        assert await house.outcomes() == [(Outcome.UNKNOWN, "awaits_confirmation")]
        assert await house.appointments() == []
        return house.accepted[0]

    async def test_is_waited_for_and_ends_the_doubt(self, house: House, patient: UUID, waiting: dict[str, Any]) -> None:
        await house.recover()
        assert len(await house.outcomes()) == 1
        waiting["status"] = "accepted"
        assert await house.notice("BOOKING_CREATED", waiting) == 204
        assert (await house.outcomes())[-1] == (Outcome.SUCCEEDED, None)
        assert [row["patient_id"] for row in await house.appointments()] == [patient]

    async def test_that_is_declined_fails_the_step(self, house: House, waiting: dict[str, Any]) -> None:
        waiting["status"] = "rejected"
        await house.recover()
        await house.recover()
        assert (await house.outcomes())[1:] == [(Outcome.FAILED, "declined_by_host")]
        assert (len(house.accepted), await house.appointments()) == (1, [])

    async def test_that_never_came_fails_the_step_when_its_time_has_come(self, house: House, waiting: dict[str, Any]) -> None:
        waiting.update(start="2026-01-07T09:00:00Z", end="2026-01-07T09:30:00Z")
        await house.recover()
        assert (await house.outcomes())[1:] == [(Outcome.FAILED, "never_confirmed")]


async def cancel_there(house: House, uid: str) -> None:
    """The patient cancels at Cal.com."""
    headers = {"authorization": f"Bearer {KEY}", "cal-api-version": API_VERSION}
    async with httpx.AsyncClient(base_url=house.url, headers=headers) as cal:
        assert (await cal.post(f"/v2/bookings/{uid}/cancel", json={"cancellationReason": "ill"})).status_code == 200


async def move_there(house: House, uid: str) -> None:
    headers = {"authorization": f"Bearer {KEY}", "cal-api-version": API_VERSION}
    async with httpx.AsyncClient(base_url=house.url, headers=headers) as cal:
        assert (await cal.post(f"/v2/bookings/{uid}/reschedule", json={"start": "2030-01-08T09:00:00Z"})).status_code == 201


def cancel(patient: UUID | None, appointment: dict[str, Any], **parameters: Any) -> PerformAction:
    return ask("cancel_appointment", patient, appointment_id=str(appointment["id"]), reason="moved away", **parameters)


class TestCancel:
    @pytest.mark.parametrize("order", ORDERS)
    async def test_cancels_there_and_here_once(self, house: House, patient: UUID, order: str) -> None:
        row = await booked(house, patient)
        house.webhooks(arrive=order == "the webhook first")
        request = incoming(cancel(patient, row), house.practice)
        await house.hear_records(request, request)
        if order == "the answer first":
            assert await house.notice("BOOKING_CANCELLED", house.accepted[0]) == 204
        (line,) = house.accepted
        assert (line["status"], line["reason"]) == ("cancelled", "moved away")
        assert [row["status"] for row in await house.appointments()] == ["cancelled"]
        assert await house.result() == {"appointment_id": str(row["id"]), "was_cancelled_already": False}
        (said,) = await house.said(AppointmentCancelled)
        assert (said.appointment_id, said.reason) == (row["id"], "moved away")

    async def test_of_one_that_was_cancelled_here_or_there_changes_nothing(self, house: House, patient: UUID) -> None:
        row = await booked(house, patient)
        house.webhooks(arrive=False)
        await cancel_there(house, row["external_id"])
        for _ in range(2):
            await house.hear(cancel(patient, row))
            assert await house.result() == {"appointment_id": str(row["id"]), "was_cancelled_already": True}
        assert len(await house.said(AppointmentCancelled)) == 1

    async def test_cancels_the_booking_that_the_appointment_has_become(self, house: House, patient: UUID) -> None:
        row = await booked(house, patient)
        await move_there(house, row["external_id"])
        await house.hear(cancel(patient, row))
        assert [line["status"] for line in house.accepted] == ["cancelled", "cancelled"]
        assert [row["status"] for row in await house.appointments()] == ["cancelled"]

    async def test_does_not_take_a_booking_that_was_moved_for_a_cancelled_one(self, house: House, patient: UUID) -> None:
        row = await booked(house, patient)
        house.webhooks(arrive=False)
        await move_there(house, row["external_id"])
        await house.hear(cancel(patient, row))
        assert (await house.outcomes())[-1] == (Outcome.FAILED, "provider_status_400")
        assert [row["status"] for row in await house.appointments()] == ["booked"]

    async def test_whose_answer_was_lost_is_looked_up(self, house: House, patient: UUID) -> None:
        row = await booked(house, patient)
        house.webhooks(arrive=False)
        house.calcom.faults.plan({"kind": "lose"})
        await house.hear(cancel(patient, row))
        assert (await house.outcomes())[-1] == (Outcome.UNKNOWN, "provider_answer_lost")
        await house.recover()
        assert (await house.outcomes())[-1] == (Outcome.SUCCEEDED, None)
        assert await house.result() == {"appointment_id": str(row["id"]), "was_cancelled_already": False}
        assert len(await house.said(AppointmentCancelled)) == 1

    async def test_is_asked_for_again_when_it_provably_did_not_happen(self, house: House, patient: UUID) -> None:
        row = await booked(house, patient)
        house.calcom.faults.plan({"kind": "status", "status": 500})
        await house.hear(cancel(patient, row))
        assert house.accepted[0]["status"] == "accepted"
        await house.recover()
        assert house.accepted[0]["status"] == "cancelled"
        assert (await house.outcomes())[-1] == (Outcome.SUCCEEDED, None)

    async def test_a_busy_provider_is_asked_again(self, house: House, patient: UUID) -> None:
        row = await booked(house, patient)
        house.calcom.faults.plan({"kind": "status", "status": 429})
        await house.hear(cancel(patient, row))
        assert len(await house.outcomes()) == 1
        await house.recover()
        assert (await house.outcomes())[-1] == (Outcome.SUCCEEDED, None)

    async def test_refuses_a_seat_another_patients_and_one_without_a_key(self, house: House, patient: UUID) -> None:
        house.calcom._set("event_types", "8", {"seats": 5})
        row = await booked(house, patient, event_type_id=8)
        other = registered(email="mira@holm.example")
        await house.hear(other)
        await house.hear(cancel(patient, row), cancel(other.patient_id, row))
        house.superuser.execute("UPDATE scheduling.appointment SET external_key = external_id WHERE id = %s", [row["id"]])
        await house.configure(api_key=None)
        await house.hear(cancel(patient, row))
        codes = [code for _, code in (await house.outcomes())[1:]]
        assert codes == ["seat_kept_by_calcom", "appointment_of_another_patient", "calcom_not_configured"]
        assert house.accepted[0]["status"] == "accepted"
