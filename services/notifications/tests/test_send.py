"""An e-mail goes out once: planned, marked, called, recorded; whatever dies in between, and whatever the provider does."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from typing import Any
from uuid import UUID, uuid4

import psycopg
import pytest

from libs.common.access import follow_access
from libs.common.actions.dispatcher import Dispatcher
from libs.common.actions.outcomes import RETRY_LIMIT, Attempt
from libs.common.actions.performing import Performing
from libs.common.auth import Principal
from libs.common.messaging import Consumer, Incoming
from libs.common.messaging.batches import Batches
from libs.common.messaging.redrive import Redrive
from libs.common.secrets import SecretBox
from libs.common.work import Work
from libs.contracts.access import PracticeAccessChanged
from libs.contracts.actions import Outcome
from libs.contracts.envelope import Message
from libs.contracts.notifications import ActionFinished, EmailAccepted, PerformAction
from libs.contracts.patients import PatientDetails, PatientRegistered, PatientUpdated
from libs.testing.fixtures import SECRETS_KEYS, incoming
from libs.testing.postgres import TestDatabase
from services.notifications import consumers
from services.notifications.actions import SEND_EMAIL
from services.notifications.commands.settings import ConfigureEmail, configure_email
from services.notifications.rules.mail import ProviderAnswer
from services.notifications.tests.provider import SETTINGS, ToldMailer
from services.notifications.tests.test_adapters import KEY
from services.notifications.tests.test_rules import spki

Outbox = Callable[[UUID], Awaitable[list[Message]]]
Superuser = psycopg.Connection[tuple[Any, ...]]
LOOKUP_AFTER = 900.0
BOX = SecretBox.local(SECRETS_KEYS)


@dataclass
class House:
    """The service's parts that send, around a mailer that answers what it is told."""

    work: Work
    mailer: ToldMailer
    performing: Performing
    batches: Batches
    redrive: Redrive
    superuser: Superuser

    async def hear(self, *records: Incoming) -> None:
        await self.batches.handle(records)

    async def quiet(self) -> None:
        """Until nothing is planned, sent or recorded in this process."""
        async with asyncio.timeout(10):
            while not await self.dispatcher.idle():  # noqa: ASYNC110 - the dispatcher has no signal for "nothing left"
                await asyncio.sleep(0)

    @property
    def dispatcher(self) -> Dispatcher:
        return self.performing.dispatcher

    async def recover(self) -> None:
        await self.performing.recover()

    def due(self, practice: UUID) -> None:
        """The time of everything that waits has come."""
        self.superuser.execute("UPDATE notifications.effect_due SET due_at = now() WHERE practice_id = %s", [practice])

    def effect(self, practice: UUID) -> tuple[str, int, str | None]:
        row = self.superuser.execute(
            "SELECT state, attempts, error_code FROM notifications.effect WHERE practice_id = %s", [practice]
        ).fetchone()
        assert row is not None
        return row[0], row[1], row[2]

    def waiting(self, practice: UUID) -> bool:
        row = self.superuser.execute("SELECT count(*) FROM notifications.effect_due WHERE practice_id = %s", [practice]).fetchone()
        return row != (0,)


@pytest.fixture
async def house(work: Work, database: TestDatabase) -> AsyncIterator[House]:
    mailer = ToldMailer()
    performing = at_work(work, mailer)
    consumer = Consumer("notifications")
    consumers.subscribe(consumer, performing)
    follow_access(consumer)
    batches = Batches(consumer, work)
    await performing.dispatcher.start()
    with psycopg.connect(database.url("postgres"), autocommit=True) as superuser:
        yield House(work, mailer, performing, batches, Redrive(consumer, work, batches), superuser)
        await performing.dispatcher.stop()


def at_work(work: Work, mailer: ToldMailer) -> Performing:
    tools = {"mailer": mailer, "box": BOX}
    return Performing(work, [SEND_EMAIL], (PerformAction, ActionFinished), tools, concurrency=3, lookup_after_seconds=LOOKUP_AFTER)


@pytest.fixture
async def patient(house: House, practice: UUID) -> UUID:
    """A patient of a practice that has configured e-mail."""
    async with house.work(Principal.system("test", practice)) as tx:
        await configure_email(ConfigureEmail(**SETTINGS, webhook_key=spki(KEY)), BOX, tx)
    event = registered()
    await house.hear(incoming(event, practice))
    return event.patient_id


def registered(email: str | None = "mira.holm@mail.example") -> PatientRegistered:
    return PatientRegistered(patient_id=uuid4(), version=1, details=PatientDetails(given_name="Mira", family_name="Holm", email=email))


def send(patient: UUID | None, **parameters: Any) -> PerformAction:
    return PerformAction(
        effect_key=uuid4(), action="send_email", run_id=uuid4(), step_id="intake", patient_id=patient,
        parameters={"subject": "Your visit", "text": "Dear Mira", **parameters},
    )  # fmt: skip


async def outcomes(outbox: Outbox, practice: UUID) -> list[tuple[Outcome, str | None]]:
    finished = [message for message in await outbox(practice) if isinstance(message, ActionFinished)]
    return [(message.outcome, message.error.code if message.error else None) for message in finished]


class TestSends:
    async def test_one_mail_for_one_request_and_says_both(self, house: House, patient: UUID, practice: UUID, outbox: Outbox) -> None:
        request = send(patient)
        await house.hear(incoming(request, practice))
        await house.quiet()
        (mail,) = house.mailer.given
        assert (mail.to_email, mail.to_name, mail.subject, mail.text) == ("mira.holm@mail.example", "Mira Holm", "Your visit", "Dear Mira")
        assert (mail.effect_key, mail.api_key, mail.sender_email) == (request.effect_key, SETTINGS["api_key"], SETTINGS["sender_email"])
        accepted, finished = await outbox(practice)
        assert isinstance(accepted, EmailAccepted)
        assert isinstance(finished, ActionFinished)
        assert (accepted.effect_key, accepted.patient_id, finished.outcome) == (request.effect_key, patient, Outcome.SUCCEEDED)
        assert finished.result["provider_message_id"] == f"sg-{request.effect_key}"
        assert (house.effect(practice)[0], house.waiting(practice)) == ("confirmed", False)

    async def test_one_mail_however_often_the_request_comes(self, house: House, patient: UUID, practice: UUID, outbox: Outbox) -> None:
        request = send(patient)
        record = incoming(request, practice)
        await house.hear(record, record, incoming(request, practice))
        await house.hear(record, incoming(request, practice))
        await house.quiet()
        assert len(house.mailer.given) == 1
        assert await outcomes(outbox, practice) == [(Outcome.SUCCEEDED, None)]

    async def test_no_more_at_once_than_allowed(self, house: House, patient: UUID, practice: UUID) -> None:
        house.mailer.gate = asyncio.Event()
        await house.hear(*(incoming(send(patient), practice) for _ in range(10)))
        await house.mailer.reached.wait()
        house.mailer.gate.set()
        await house.quiet()
        assert (len(house.mailer.given), house.mailer.most_at_once) == (10, 3)

    async def test_goes_to_the_newest_address_whatever_order_news_come_in(self, house: House, patient: UUID, practice: UUID) -> None:
        def changed(version: int, email: str) -> PatientUpdated:
            details = PatientDetails(given_name="Mira", family_name="Lund", email=email)
            return PatientUpdated(patient_id=patient, version=version, changed=["email"], details=details)

        await house.hear(incoming(changed(3, "new@mail.example"), practice), incoming(changed(2, "old@mail.example"), practice))
        await house.hear(incoming(changed(2, "old@mail.example"), practice), incoming(send(patient), practice))
        await house.quiet()
        assert [(mail.to_email, mail.to_name) for mail in house.mailer.given] == [("new@mail.example", "Mira Lund")]


class TestRefusesAtOnce:
    @pytest.mark.parametrize(
        ("request_", "code"),
        [
            (lambda patient: send(patient, subject=""), "parameters_invalid"),
            (lambda patient: send(patient, subject="two\nlines"), "parameters_invalid"),
            (lambda patient: send(patient, text="x" * 20_001), "parameters_invalid"),
            (lambda patient: send(patient, bcc="eve@mail.example"), "parameters_invalid"),
            (lambda _: send(None), "patient_missing"),
            (lambda patient: send(patient).model_copy(update={"action": "send_fax"}), "action_unknown"),
        ],
        ids=["no subject", "a header in the subject", "too long", "a hidden recipient", "nobody", "another action"],
    )
    async def test_what_cannot_be_sent_and_says_why(
        self, request_: Callable[[UUID], PerformAction], code: str, house: House, patient: UUID, practice: UUID, outbox: Outbox
    ) -> None:
        await house.hear(incoming(request_(patient), practice), incoming(send(patient), practice))
        await house.quiet()
        assert sorted(await outcomes(outbox, practice)) == [(Outcome.FAILED, code), (Outcome.SUCCEEDED, None)]

    async def test_a_patient_without_an_address(self, house: House, patient: UUID, practice: UUID, outbox: Outbox) -> None:
        nobody = registered(email=None)
        await house.hear(incoming(nobody, practice))
        await house.hear(incoming(send(nobody.patient_id), practice))
        assert await outcomes(outbox, practice) == [(Outcome.FAILED, "patient_has_no_email")]

    async def test_a_practice_that_has_not_configured_email(self, house: House, outbox: Outbox) -> None:
        practice, event = uuid4(), registered()
        await house.hear(incoming(event, practice))
        await house.hear(incoming(send(event.patient_id), practice))
        await house.quiet()
        assert (await outcomes(outbox, practice), house.mailer.given) == ([(Outcome.FAILED, "email_not_configured")], [])

    async def test_a_key_that_cannot_be_opened(self, house: House, patient: UUID, practice: UUID, outbox: Outbox) -> None:
        house.superuser.execute("UPDATE notifications.email_settings SET api_key = 'x' WHERE practice_id = %s", [practice])
        await house.hear(incoming(send(patient), practice))
        await house.quiet()
        assert (await outcomes(outbox, practice), house.mailer.given) == ([(Outcome.FAILED, "email_key_unreadable")], [])

    async def test_never_writes_to_a_patient_of_another_practice(self, house: House, patient: UUID) -> None:
        stranger = uuid4()
        await house.hear(incoming(send(patient), stranger))
        await house.quiet()
        assert house.mailer.given == []
        assert [message.code for message in await house.redrive.listing([stranger])] == ["patient_unknown"]


class TestWaitsForNews:
    async def test_of_a_patient_who_is_on_the_way(self, house: House, patient: UUID, practice: UUID, outbox: Outbox) -> None:
        late = registered()
        request = send(late.patient_id)
        await house.hear(incoming(request, practice), incoming(send(patient), practice))
        await house.quiet()
        assert await outcomes(outbox, practice) == [(Outcome.SUCCEEDED, None)]
        await house.hear(incoming(late, practice))
        assert await house.redrive.subject(practice, request.subject) == 1
        await house.quiet()
        assert await outcomes(outbox, practice) == [(Outcome.SUCCEEDED, None)] * 2


class TestProviderSaysNotNow:
    async def test_is_asked_again_after_a_pause(self, house: House, patient: UUID, practice: UUID, outbox: Outbox) -> None:
        house.mailer.answers = [ProviderAnswer(Attempt.NOT_SENT, code="provider_status_429", retry_after_seconds=60.0)]
        await house.hear(incoming(send(patient), practice))
        await house.quiet()
        assert (house.effect(practice), await outcomes(outbox, practice)) == (("planned", 1, "provider_status_429"), [])
        await house.recover()
        await house.quiet()
        assert len(house.mailer.given) == 1
        house.due(practice)
        await house.recover()
        await house.quiet()
        assert (house.effect(practice)[:2], await outcomes(outbox, practice)) == (("confirmed", 2), [(Outcome.SUCCEEDED, None)])

    async def test_and_is_given_up_in_the_end(self, house: House, patient: UUID, practice: UUID, outbox: Outbox) -> None:
        house.mailer.answers = [ProviderAnswer(Attempt.NOT_SENT, code="provider_unreachable")] * RETRY_LIMIT
        await house.hear(incoming(send(patient), practice))
        for _ in range(RETRY_LIMIT + 2):
            await house.quiet()
            house.due(practice)
            await house.recover()
        await house.quiet()
        assert len(house.mailer.given) == RETRY_LIMIT
        assert await outcomes(outbox, practice) == [(Outcome.FAILED, "provider_unreachable")]

    async def test_a_refusal_is_final(self, house: House, patient: UUID, practice: UUID, outbox: Outbox) -> None:
        house.mailer.answers = [ProviderAnswer(Attempt.REFUSED, code="provider_status_400")]
        await house.hear(incoming(send(patient), practice))
        await house.quiet()
        assert (await outcomes(outbox, practice), house.waiting(practice)) == ([(Outcome.FAILED, "provider_status_400")], False)


class TestAnswerLost:
    @pytest.fixture
    async def lost(self, house: House, patient: UUID, practice: UUID) -> PerformAction:
        """A request whose answer was lost."""
        house.mailer.answers = [ProviderAnswer(Attempt.LOST, code="provider_answer_lost")]
        request = send(patient)
        await house.hear(incoming(request, practice))
        await house.quiet()
        return request

    async def test_is_unknown_and_not_sent_again(self, house: House, lost: PerformAction, practice: UUID, outbox: Outbox) -> None:
        for _ in range(3):
            await house.recover()
            await house.quiet()
        assert (len(house.mailer.given), house.effect(practice)[0]) == (1, "unknown")
        assert await outcomes(outbox, practice) == [(Outcome.UNKNOWN, "provider_answer_lost")]

    async def test_is_confirmed_when_the_provider_has_it(self, house: House, lost: PerformAction, practice: UUID, outbox: Outbox) -> None:
        house.mailer.known[lost.effect_key] = "sg-found"
        house.due(practice)
        await house.recover()
        await house.quiet()
        assert len(house.mailer.given) == 1
        assert await outcomes(outbox, practice) == [(Outcome.UNKNOWN, "provider_answer_lost"), (Outcome.SUCCEEDED, None)]

    async def test_is_sent_again_only_when_the_provider_provably_has_it_not(
        self, house: House, lost: PerformAction, practice: UUID, outbox: Outbox
    ) -> None:
        house.due(practice)
        await house.recover()
        await house.quiet()
        assert len(house.mailer.given) == 2
        assert (await outcomes(outbox, practice))[-1] == (Outcome.SUCCEEDED, None)

    async def test_stays_unknown_while_the_provider_cannot_say(self, house: House, lost: PerformAction, practice: UUID) -> None:
        house.mailer.find_error = ConnectionError("away")
        for _ in range(3):
            house.due(practice)
            await house.recover()
            await house.quiet()
        assert (len(house.mailer.given), house.effect(practice)[0], house.waiting(practice)) == (1, "unknown", True)

    async def test_stays_unknown_when_the_settings_are_gone(self, house: House, lost: PerformAction, practice: UUID) -> None:
        house.superuser.execute("DELETE FROM notifications.email_settings WHERE practice_id = %s", [practice])
        house.due(practice)
        await house.recover()
        assert (house.effect(practice)[0], house.waiting(practice)) == ("unknown", True)

    async def test_an_adapter_that_fails_counts_as_lost(self, house: House, patient: UUID, practice: UUID) -> None:
        house.mailer.answers = [ZeroDivisionError()]
        await house.hear(incoming(send(patient), practice))
        await house.quiet()
        assert (house.effect(practice), len(house.mailer.given)) == (("unknown", 1, "handler_failed"), 1)


class TestSuspended:
    async def test_sends_nothing_until_the_practice_works_again_and_then_each_once(
        self, house: House, patient: UUID, practice: UUID
    ) -> None:
        await house.hear(incoming(status_of(practice, suspended=True, version=1), practice))
        await house.hear(incoming(send(patient), practice), incoming(send(patient), practice))
        await house.quiet()
        house.due(practice)
        await house.recover()
        await house.quiet()
        assert house.mailer.given == []
        await house.hear(incoming(status_of(practice, suspended=False, version=2), practice))
        house.due(practice)
        await house.recover()
        await house.quiet()
        assert len(house.mailer.given) == 2


def status_of(practice: UUID, *, suspended: bool, version: int) -> PracticeAccessChanged:
    return PracticeAccessChanged(changed_practice_id=practice, suspended=suspended, origins=[], version=version)


class TestProcessDies:
    async def test_before_anything_was_marked(self, house: House, patient: UUID, practice: UUID, outbox: Outbox) -> None:
        await house.dispatcher.stop()
        await house.hear(incoming(send(patient), practice))
        survivor = at_work(house.work, house.mailer)
        await survivor.dispatcher.start()
        house.due(practice)
        await survivor.recover()
        while not await survivor.dispatcher.idle():  # noqa: ASYNC110 - as above
            await asyncio.sleep(0)
        await survivor.dispatcher.stop()
        assert await outcomes(outbox, practice) == [(Outcome.SUCCEEDED, None)]

    async def test_after_the_mark_nobody_knows_and_nobody_sends_again(
        self, house: House, patient: UUID, practice: UUID, outbox: Outbox
    ) -> None:
        await house.dispatcher.stop()
        await house.hear(incoming(send(patient), practice))
        house.superuser.execute("UPDATE notifications.effect SET state = 'dispatched', attempts = 1 WHERE practice_id = %s", [practice])
        house.due(practice)
        await house.recover()
        assert (house.effect(practice)[0], house.mailer.given) == ("unknown", [])
        assert await outcomes(outbox, practice) == [(Outcome.UNKNOWN, "process_died")]

    async def test_two_recoveries_at_once_take_each_effect_once(self, house: House, patient: UUID, practice: UUID) -> None:
        await house.dispatcher.stop()
        await house.hear(*(incoming(send(patient), practice) for _ in range(6)))
        house.due(practice)
        others = [at_work(house.work, house.mailer) for _ in range(3)]
        await asyncio.gather(*(other.recover() for other in others))
        ours = [
            planned
            for other in others
            for lane in other.dispatcher._planned.values()
            for planned in lane
            if planned.practice_id == practice
        ]
        assert (len(ours), len(set(ours))) == (6, 6)

    async def test_stopping_waits_for_calls_in_progress_and_records_them(
        self, house: House, patient: UUID, practice: UUID, outbox: Outbox
    ) -> None:
        house.mailer.gate = asyncio.Event()
        await house.hear(incoming(send(patient), practice))
        await house.mailer.reached.wait()
        stopping = asyncio.create_task(house.dispatcher.stop())
        await asyncio.sleep(0)
        house.mailer.gate.set()
        await stopping
        await house.dispatcher.stop()
        assert await outcomes(outbox, practice) == [(Outcome.SUCCEEDED, None)]
