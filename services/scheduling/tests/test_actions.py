"""What workflows ask of scheduling is done once: our own appointments in the transaction, calls out of the house against Retell's simulator."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import orjson
import psycopg
import pytest

from libs.common.access import follow_access
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
from libs.contracts.scheduling import ActionFinished, AppointmentBooked, AppointmentCancelled, CallStarted, PerformAction
from libs.testing.fixtures import SECRETS_KEYS, incoming
from libs.testing.postgres import TestDatabase
from libs.testing.simulators.retell import RetellSimulator
from services.scheduling import consumers
from services.scheduling.actions import BOOK_APPOINTMENT, CANCEL_APPOINTMENT, START_CALL
from services.scheduling.adapters.calcom_api import Calcom
from services.scheduling.adapters.retell import Retell
from services.scheduling.adapters.retell_notices import read_report
from services.scheduling.commands.attendance import complete_appointment, mark_no_show
from services.scheduling.commands.call_followups import ask_about_calls
from services.scheduling.commands.calls import take_report
from services.scheduling.commands.retell_settings import ConfigureRetell, configure_retell
from services.scheduling.rules.calling import CallAnswer, OutboundCall
from services.scheduling.rules.calls import CallReport
from services.scheduling.tests.retell import NUMBER, PATIENT_NUMBER, SETTINGS, analyzed, ended, running, started

Outbox = Callable[[UUID], Awaitable[list[Message]]]
Superuser = psycopg.Connection[tuple[Any, ...]]
BOX = SecretBox.local(SECRETS_KEYS)
NINE = "2030-01-07T09:00:00Z"
NOWHERE = "http://127.0.0.1:1"


@dataclass
class House:
    """The service's parts that perform, around Retell's simulator."""

    work: Work
    retell: RetellSimulator
    provider: Retell
    performing: Performing
    batches: Batches
    redrive: Redrive
    superuser: Superuser
    practice: UUID
    said: Outbox

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

    async def report(self, body: Callable[..., dict[str, Any]]) -> None:
        """Retell reports about the one call it took."""
        (accepted,) = self.retell.record.lines
        report = read_report(orjson.dumps(body(accepted["call_id"], metadata=accepted["metadata"])))
        assert isinstance(report, CallReport)
        async with self.work(Principal.system("retell", self.practice)) as tx:
            await take_report(report, BOX, self.performing.record_in, tx)

    async def outcomes(self) -> list[tuple[Outcome, str | None]]:
        finished = [message for message in await self.said(self.practice) if isinstance(message, ActionFinished)]
        return [(message.outcome, message.error.code if message.error else None) for message in finished]

    async def results(self) -> list[dict[str, Any]]:
        return [message.result for message in await self.said(self.practice) if isinstance(message, ActionFinished)]

    async def rows(self, query: str) -> list[dict[str, Any]]:
        async with self.work(Principal.system("test", self.practice)) as tx:
            return [dict(row) for row in await tx.rows(query, self.practice)]

    async def calls(self) -> list[dict[str, Any]]:
        return await self.rows("SELECT * FROM call WHERE practice_id = $1 ORDER BY created_at")

    async def appointments(self) -> list[dict[str, Any]]:
        return await self.rows("SELECT * FROM appointment WHERE practice_id = $1 ORDER BY starts_at")


@pytest.fixture
async def house(work: Work, database: TestDatabase, practice: UUID, outbox: Outbox, tmp_path: Path) -> AsyncIterator[House]:
    async with running(tmp_path) as (simulator, url):
        retell = Retell(url)
        await retell.open()
        plugins = [BOOK_APPOINTMENT, CANCEL_APPOINTMENT, START_CALL]
        performing = Performing(
            work,
            plugins,
            (PerformAction, ActionFinished),
            {"dialler": retell, "calendar": Calcom(NOWHERE), "box": BOX},
            lookup_after_seconds=900.0,
        )
        consumer = Consumer("scheduling")
        consumers.subscribe(consumer, wake=lambda: None, performing=performing)
        follow_access(consumer)
        batches = Batches(consumer, work)
        await performing.dispatcher.start()
        with psycopg.connect(database.url("postgres"), autocommit=True) as superuser:
            # What other tests left open is of other practices, and would be brought on here, too.
            superuser.execute("DELETE FROM scheduling.effect_due")
            superuser.execute("DELETE FROM scheduling.call_due")
            yield House(work, simulator, retell, performing, batches, Redrive(consumer, work, batches), superuser, practice, outbox)
            await performing.dispatcher.stop()
        await retell.close()


def registered(phone: str | None = PATIENT_NUMBER) -> PatientRegistered:
    return PatientRegistered(patient_id=uuid4(), version=1, details=PatientDetails(given_name="Jonas", family_name="Berg", phone=phone))


@pytest.fixture
async def patient(house: House) -> UUID:
    """A patient of a practice that has an account at Retell."""
    async with house.work(Principal.system("test", house.practice)) as tx:
        await configure_retell(ConfigureRetell(**SETTINGS), BOX, tx)
    event = registered()
    await house.hear(event)
    return event.patient_id


def ask(action: str, patient: UUID | None, **parameters: Any) -> PerformAction:
    return PerformAction(effect_key=uuid4(), action=action, run_id=uuid4(), step_id="step", patient_id=patient, parameters=parameters)


def book(patient: UUID | None, **parameters: Any) -> PerformAction:
    return ask("book_appointment", patient, **{"resource": "Dr Kim", "title": "Recall", "starts_at": NINE, **parameters})


class TestBook:
    async def test_books_for_the_patient_and_says_both(self, house: House, patient: UUID) -> None:
        await house.hear(book(patient, duration_minutes=45))
        [row] = await house.appointments()
        assert (row["patient_id"], row["resource"], row["status"]) == (patient, "Dr Kim", "booked")
        assert (row["ends_at"] - row["starts_at"]).total_seconds() == 45 * 60
        booked, finished = await house.said(house.practice)
        assert isinstance(booked, AppointmentBooked)
        assert isinstance(finished, ActionFinished)
        assert finished.result == {"appointment_id": str(row["id"]), "starts_at": "2030-01-07T09:00:00Z", "ends_at": "2030-01-07T09:45:00Z"}

    async def test_books_once_however_often_it_is_asked(self, house: House, patient: UUID) -> None:
        request = book(patient)
        record = incoming(request, house.practice)
        await house.hear_records(record, record, incoming(request, house.practice))
        await house.hear_records(incoming(request, house.practice))
        assert len(await house.appointments()) == 1
        assert await house.outcomes() == [(Outcome.SUCCEEDED, None)]

    async def test_a_taken_time_fails_that_step_and_no_other_of_the_batch(self, house: House, patient: UUID) -> None:
        later = "2030-01-07T11:00:00Z"
        await house.hear(book(patient), book(patient), book(patient, starts_at=later), book(patient, starts_at=later, resource="Room 2"))
        assert sorted(await house.outcomes()) == [(Outcome.FAILED, "slot_taken"), *[(Outcome.SUCCEEDED, None)] * 3]
        assert len(await house.appointments()) == 3

    @pytest.mark.parametrize(
        ("starts_at", "zone", "utc"),
        [
            ("2030-01-07T09:00:00+01:00", "UTC", (2030, 1, 7, 8, 0)),
            ("2030-01-07T09:00", "Europe/Berlin", (2030, 1, 7, 8, 0)),
            ("2030-07-07 09:00", "Europe/Berlin", (2030, 7, 7, 7, 0)),
            ("2030-10-27T02:30", "Europe/Berlin", (2030, 10, 27, 0, 30)),
        ],
        ids=["with an offset", "in winter", "in summer", "twice on the clock"],
    )
    async def test_reads_a_start_in_its_zone(
        self, house: House, patient: UUID, starts_at: str, zone: str, utc: tuple[int, int, int, int, int]
    ) -> None:
        await house.hear(book(patient, starts_at=starts_at, time_zone=zone))
        [row] = await house.appointments()
        assert (row["starts_at"], row["time_zone"]) == (datetime(*utc, tzinfo=UTC), zone)

    @pytest.mark.parametrize(
        ("parameters", "code"),
        [
            ({"starts_at": "tomorrow"}, "start_unreadable"),
            ({"starts_at": ""}, "parameters_invalid"),
            ({"starts_at": "2030-01-07"}, "start_unreadable"),
            ({"starts_at": "0001-01-01T00:00:00+14:00"}, "start_unreadable"),
            ({"time_zone": "Mars/Olympus"}, "time_zone_unknown"),
            ({"duration_minutes": 0}, "parameters_invalid"),
            ({"duration_minutes": 100_000}, "parameters_invalid"),
            ({"resource": "calcom/host/5"}, "parameters_invalid"),
            ({"title": "a\nb"}, "parameters_invalid"),
            ({"free": True}, "parameters_invalid"),
        ],
    )
    async def test_refuses_what_makes_no_appointment(self, house: House, patient: UUID, parameters: dict[str, Any], code: str) -> None:
        await house.hear(book(patient, **parameters))
        assert await house.outcomes() == [(Outcome.FAILED, code)]
        assert await house.appointments() == []

    async def test_is_for_somebody(self, house: House, patient: UUID) -> None:
        await house.hear(book(None))
        assert await house.outcomes() == [(Outcome.FAILED, "patient_missing")]

    async def test_waits_for_news_of_the_patient(self, house: House) -> None:
        late = registered()
        request = book(late.patient_id)
        await house.hear(request)
        assert await house.outcomes() == []
        await house.hear(late)
        assert await house.redrive.subject(house.practice, request.subject) == 1
        assert await house.outcomes() == [(Outcome.SUCCEEDED, None)]


class TestCancel:
    async def test_cancels_and_says_why(self, house: House, patient: UUID) -> None:
        await house.hear(book(patient))
        [row] = await house.appointments()
        await house.hear(ask("cancel_appointment", patient, appointment_id=str(row["id"]), reason="No answer to three reminders"))
        [row] = await house.appointments()
        assert row["status"] == "cancelled"
        [cancelled] = [message for message in await house.said(house.practice) if isinstance(message, AppointmentCancelled)]
        assert cancelled.reason == "No answer to three reminders"
        assert (await house.results())[-1] == {"appointment_id": str(row["id"]), "was_cancelled_already": False}

    async def test_of_a_cancelled_one_succeeds_and_changes_nothing(self, house: House, patient: UUID) -> None:
        await house.hear(book(patient))
        [row] = await house.appointments()
        for _ in range(2):
            await house.hear(ask("cancel_appointment", patient, appointment_id=str(row["id"])))
        assert (await house.results())[-1]["was_cancelled_already"] is True
        assert (await house.appointments())[0]["version"] == 2

    async def test_refuses_one_that_is_over(self, house: House, patient: UUID) -> None:
        await house.hear(book(patient, starts_at="2025-03-04T09:00:00Z"), book(patient, starts_at="2025-03-05T09:00:00Z"))
        ours, theirs = await house.appointments()
        house.superuser.execute("UPDATE scheduling.appointment SET source = 'calcom' WHERE id = %s", [theirs["id"]])
        async with house.work(Principal.system("test", house.practice)) as tx:
            await complete_appointment(ours["id"], tx)
            await mark_no_show(theirs["id"], tx)
        for row in (ours, theirs):
            await house.hear(ask("cancel_appointment", patient, appointment_id=str(row["id"])))
        assert [code for _, code in (await house.outcomes())[2:]] == ["appointment_is_over"] * 2

    async def test_refuses_one_of_another_patient_one_out_of_reach_and_one_nobody_knows(self, house: House, patient: UUID) -> None:
        other = registered()
        await house.hear(other)
        await house.hear(book(other.patient_id), book(patient, starts_at="2030-01-08T09:00:00Z"))
        theirs, ours = await house.appointments()
        house.superuser.execute("UPDATE scheduling.appointment SET source = 'calcom' WHERE id = %s", [ours["id"]])
        for appointment_id in (theirs["id"], ours["id"], uuid4(), "nothing"):
            await house.hear(ask("cancel_appointment", patient, appointment_id=str(appointment_id)))
        codes = [code for _, code in (await house.outcomes())[2:]]
        assert codes == ["appointment_of_another_patient", "calcom_not_configured", "appointment_not_found", "parameters_invalid"]
        assert {row["status"] for row in await house.appointments()} == {"booked"}


class TestCall:
    async def test_calls_the_patient_once_however_often_it_is_asked(self, house: House, patient: UUID) -> None:
        request = ask("start_call", patient, variables={"first_name": "Jonas"})
        await house.hear_records(*(incoming(request, house.practice) for _ in range(3)))
        await house.hear(request)
        (accepted,) = house.retell.record.lines
        assert (accepted["to_number"], accepted["from_number"], accepted["agent_id"]) == (PATIENT_NUMBER, NUMBER, SETTINGS["agent_id"])
        assert accepted["retell_llm_dynamic_variables"] == {"first_name": "Jonas"}
        [call] = await house.calls()
        assert (call["status"], call["external_id"], call["patient_id"]) == ("registered", accepted["call_id"], patient)
        assert accepted["metadata"] == {"vantage_effect": str(request.effect_key), "vantage_call": str(call["id"])}
        assert await house.outcomes() == [(Outcome.SUCCEEDED, None)]
        assert await house.results() == [{"call_id": str(call["id"]), "external_id": accepted["call_id"]}]

    async def test_waits_for_news_of_the_patient(self, house: House, patient: UUID) -> None:
        late = registered()
        request = ask("start_call", late.patient_id)
        await house.hear(request)
        await house.hear(late)
        assert await house.redrive.subject(house.practice, request.subject) == 1
        await house.quiet()
        assert len(house.retell.record.lines) == 1

    async def test_has_the_agent_speak_that_the_step_names(self, house: House, patient: UUID) -> None:
        await house.hear(ask("start_call", patient, agent_id="agent_of_the_step"))
        assert house.retell.record.lines[0]["agent_id"] == "agent_of_the_step"

    @pytest.mark.parametrize(
        "parameters",
        [
            {"variables": {"age": 7}},
            {"variables": {"a b": "c"}},
            {"variables": {f"v{n}": "x" for n in range(31)}},
            {"agent_id": "../x"},
            {"to": "+1"},
        ],
    )
    async def test_refuses_what_the_provider_would_not_take(self, house: House, patient: UUID, parameters: dict[str, Any]) -> None:
        await house.hear(ask("start_call", patient, **parameters))
        assert await house.outcomes() == [(Outcome.FAILED, "parameters_invalid")]

    async def test_refuses_nobody_and_a_patient_without_a_number(self, house: House, patient: UUID) -> None:
        silent = registered(phone=None)
        await house.hear(silent)
        await house.hear(ask("start_call", None), ask("start_call", silent.patient_id))
        assert await house.outcomes() == [(Outcome.FAILED, "patient_missing"), (Outcome.FAILED, "patient_has_no_phone")]

    async def test_refuses_a_practice_without_an_account(self, house: House) -> None:
        someone = registered()
        await house.hear(someone)
        await house.hear(ask("start_call", someone.patient_id))
        assert await house.outcomes() == [(Outcome.FAILED, "calls_not_configured")]

    async def test_a_refusal_is_final_and_the_call_failed(self, house: House, patient: UUID) -> None:
        house.retell.faults.plan({"kind": "status", "status": 402})
        await house.hear(ask("start_call", patient))
        assert await house.outcomes() == [(Outcome.FAILED, "provider_status_402")]
        assert (await house.calls())[0]["status"] == "failed"
        assert house.retell.record.lines == []

    @pytest.mark.parametrize("status", [429, 503])
    async def test_a_busy_provider_is_asked_again(self, house: House, patient: UUID, status: int) -> None:
        house.retell.faults.plan({"kind": "status", "status": status})
        await house.hear(ask("start_call", patient))
        assert await house.outcomes() == []
        await house.recover()
        assert await house.outcomes() == [(Outcome.SUCCEEDED, None)]
        assert len(house.retell.record.lines) == 1


class TestUnknown:
    async def test_is_said_and_then_found_by_our_key(self, house: House, patient: UUID) -> None:
        house.retell.faults.plan({"kind": "lose"})
        await house.hear(ask("start_call", patient))
        assert await house.outcomes() == [(Outcome.UNKNOWN, "provider_answer_lost")]
        assert (await house.calls())[0]["status"] == "requested"
        await house.recover()
        assert await house.outcomes() == [(Outcome.UNKNOWN, "provider_answer_lost"), (Outcome.SUCCEEDED, None)]
        assert len(house.retell.record.lines) == 1
        assert (await house.calls())[0]["external_id"] == house.retell.record.lines[0]["call_id"]

    async def test_is_dialled_again_only_when_the_provider_knows_nothing(self, house: House, patient: UUID) -> None:
        house.retell.faults.plan({"kind": "status", "status": 500})
        await house.hear(ask("start_call", patient))
        house.retell.faults.plan({"kind": "status", "status": 500})
        await house.recover()  # the provider cannot say
        assert house.retell.record.lines == []
        assert await house.outcomes() == [(Outcome.UNKNOWN, "provider_status_500")]
        await house.recover()
        assert len(house.retell.record.lines) == 1
        assert (await house.outcomes())[-1] == (Outcome.SUCCEEDED, None)

    async def test_ends_with_a_report_about_the_call(self, house: House, patient: UUID) -> None:
        house.retell.faults.plan({"kind": "lose"})
        request = ask("start_call", patient)
        await house.hear(request)
        await house.report(started)
        assert (await house.outcomes())[-1] == (Outcome.SUCCEEDED, None)
        [call] = await house.calls()
        (accepted,) = house.retell.record.lines
        assert (call["status"], call["external_id"]) == ("ongoing", accepted["call_id"])
        assert (await house.results())[-1] == {"call_id": str(call["id"]), "external_id": accepted["call_id"]}
        [began] = [message for message in await house.said(house.practice) if isinstance(message, CallStarted)]
        assert (began.effect_key, began.patient_id) == (request.effect_key, patient)

    async def test_a_report_quicker_than_the_answer_is_not_taken_back(
        self, house: House, patient: UUID, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        dial = Retell.dial

        async def answered_late(self: Retell, call: OutboundCall) -> CallAnswer:
            answer = await dial(self, call)
            await house.report(started)
            return answer

        monkeypatch.setattr(Retell, "dial", answered_late)
        await house.hear(ask("start_call", patient))
        assert (await house.calls())[0]["status"] == "ongoing"
        assert await house.outcomes() == [(Outcome.SUCCEEDED, None)]


class TestCause:
    async def test_of_a_call_we_asked_for_is_the_request_so_that_loops_are_seen(self, house: House, patient: UUID) -> None:
        asked = incoming(ask("start_call", patient), house.practice)
        await house.hear_records(asked)
        await house.report(started)
        [row] = await house.rows(
            "SELECT causation_id, correlation_id FROM outbox WHERE practice_id = $1 AND type = 'vantage.scheduling.call-started.v1'"
        )
        assert (row["causation_id"], row["correlation_id"]) == (asked.headers["ce_id"], asked.headers["correlation_id"])


class TestFollows:
    """What nobody reports about is asked for: a report too long, or one that found our door shut."""

    async def due(self, house: House) -> int:
        house.superuser.execute("UPDATE scheduling.call_due SET due_at = now() WHERE practice_id = %s", [house.practice])
        await ask_about_calls(house.work, house.provider, BOX, house.performing.record_in)
        row = house.superuser.execute("SELECT count(*) FROM scheduling.call_due WHERE practice_id = %s", [house.practice]).fetchone()
        assert row is not None
        return int(row[0])

    async def goes_on(self, house: House, event: str) -> None:
        """The call goes its way, and nobody is told."""
        (accepted,) = house.retell.record.lines
        await house.retell._tell(accepted, event)

    def kinds(self, said: list[Message]) -> list[str]:
        return [message.type.split(".")[2] for message in said if message.type.startswith("vantage.scheduling.call-")]

    async def test_a_call_until_it_is_over_and_analysed(self, house: House, patient: UUID) -> None:
        await house.hear(ask("start_call", patient))
        assert await self.due(house) == 1
        await self.goes_on(house, "call_started")
        assert (await self.due(house), self.kinds(await house.said(house.practice))) == (1, [])
        await self.goes_on(house, "call_ended")
        assert (await self.due(house), self.kinds(await house.said(house.practice))) == (1, ["call-started", "call-ended"])
        await self.goes_on(house, "call_analyzed")
        assert await self.due(house) == 0
        assert self.kinds(await house.said(house.practice)) == ["call-started", "call-ended", "call-analyzed"]
        [call] = await house.calls()
        assert (call["status"], call["successful"]) == ("ended", True)

    async def test_and_says_nothing_twice_when_the_reports_come_after_all(self, house: House, patient: UUID) -> None:
        await house.hear(ask("start_call", patient))
        await self.goes_on(house, "call_analyzed")
        await self.due(house)
        for body in (started, ended, analyzed):
            await house.report(body)
        assert self.kinds(await house.said(house.practice)) == ["call-started", "call-ended", "call-analyzed"]

    async def test_while_the_provider_is_away(self, house: House, patient: UUID) -> None:
        await house.hear(ask("start_call", patient))
        await self.goes_on(house, "call_analyzed")
        house.retell.faults.plan({"kind": "status", "status": 500})
        assert await self.due(house) == 1
        assert await self.due(house) == 0

    async def test_nothing_for_ever(self, house: House, patient: UUID) -> None:
        await house.hear(ask("start_call", patient))
        house.superuser.execute(
            "UPDATE scheduling.call SET created_at = now() - interval '5 hours' WHERE practice_id = %s", [house.practice]
        )
        assert await self.due(house) == 0

    async def test_no_call_that_was_refused(self, house: House, patient: UUID) -> None:
        house.retell.faults.plan({"kind": "status", "status": 402})
        await house.hear(ask("start_call", patient))
        assert await self.due(house) == 0
