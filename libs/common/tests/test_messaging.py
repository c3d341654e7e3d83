"""The Kafka door: each message once, in order per subject; what fails is put aside alone and comes back."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any
from uuid import UUID, uuid4

import asyncpg
import psycopg
import pytest

from libs.common.auth import Principal
from libs.common.errors import Conflict, Forbidden, NotFound, Refused, Stale, Trouble, Unavailable
from libs.common.messaging import Consumer, Incoming, Received, batches
from libs.common.messaging.batches import is_outage
from libs.common.messaging.redrive import SELF_REDRIVES, ParkedMessage
from libs.common.tests.conftest import OTHER, SERVICE, THING, Door, other, thing
from libs.common.work import Tx, Work
from libs.testing.fixtures import incoming

Handle = Callable[[Received[Any], Tx], Awaitable[None]]


_SAID = """
SELECT practice_id, correlation_id, causation_id, traceparent FROM outbox WHERE practice_id = ANY ($1::uuid[]) ORDER BY seq
"""


class NotThereYet(NotFound):
    """What this is about has not arrived."""


class RuleSaysNo(Refused):
    """A rule says no."""


class AlreadySo(Conflict):
    """It is already so."""


class SomebodyElse(Stale):
    """Somebody changed it meanwhile."""


class NotForYou(Forbidden):
    """You may not."""


class NotNow(Unavailable):
    """Not now."""


class Hall:
    """Handles things and remembers them; ``trouble`` says which views fail, and how."""

    def __init__(self, work: Work) -> None:
        self.seen: list[str] = []
        self.trouble: dict[str, Exception] = {}
        self.calls = 0
        self.door = Door(work, self._subscribe)

    def _subscribe(self, consumer: Consumer) -> None:
        @consumer.on(THING)
        async def handle(event: Received[Any], tx: Tx) -> None:
            self.calls += 1
            error = self.trouble.get(event.data.view)
            if error is not None:
                raise error
            tx.after_commit(lambda: self.seen.append(event.data.view))

    async def hear(self, *records: Incoming) -> None:
        await self.door.batches.handle(records)

    async def parked(self, practice: UUID) -> list[ParkedMessage]:
        return await self.door.redrive.listing([practice])

    async def redrive(self, practice: UUID, subject: UUID) -> int:
        return await self.door.redrive.subject(practice, f"patient/{subject}")


@pytest.fixture
def hall(work: Work) -> Hall:
    return Hall(work)


class TestOnce:
    async def test_a_message_is_handled_once_however_often_it_comes(self, hall: Hall, practice: UUID) -> None:
        record = incoming(thing(view="a"), practice)
        await hall.hear(record, record)
        await hall.hear(record)
        assert hall.seen == ["a"]

    async def test_a_batch_of_many_practices_is_one_transaction(self, hall: Hall) -> None:
        await hall.hear(*(incoming(thing(view=name), uuid4()) for name in "abc"))
        assert sorted(hall.seen) == ["a", "b", "c"]

    async def test_a_type_nobody_handles_is_skipped(self, hall: Hall, practice: UUID) -> None:
        unknown = incoming(thing(view="a"), practice, ce_type="vantage.patients.never-heard-of.v7")
        await hall.hear(unknown, incoming(other(uuid4()), practice), incoming(thing(view="b"), practice))
        assert (hall.seen, await hall.parked(practice)) == (["b"], [])


class TestSplit:
    async def test_only_the_message_that_fails_suffers(self, hall: Hall, practice: UUID) -> None:
        hall.trouble["e"] = RuleSaysNo()
        await hall.hear(*(incoming(thing(view=name), practice) for name in "abcdefgh"))
        assert sorted(hall.seen) == list("abcdfgh")
        assert [message.code for message in await hall.parked(practice)] == ["rule_says_no"]

    async def test_several_that_fail_suffer_alone(self, hall: Hall, practice: UUID) -> None:
        hall.trouble |= {"a": RuleSaysNo(), "d": ValueError("d"), "h": NotThereYet()}
        await hall.hear(*(incoming(thing(view=name), practice) for name in "abcdefgh"))
        assert sorted(hall.seen) == list("bcefg")
        assert [message.code for message in await hall.parked(practice)] == ["rule_says_no", "bug:ValueError", "not_there_yet"]


class TestVerdicts:
    @pytest.mark.parametrize(
        ("trouble", "code", "comes_back"),
        [
            (NotThereYet(), "not_there_yet", True),
            (NotNow(), "not_now", True),
            (RuleSaysNo(), "rule_says_no", False),
            (NotForYou(), "not_for_you", False),
            (ZeroDivisionError("secret"), "bug:ZeroDivisionError", False),
        ],
    )
    async def test_what_is_parked_comes_back_by_itself_only_when_waiting_helps(
        self, trouble: Exception, code: str, comes_back: bool, hall: Hall, practice: UUID
    ) -> None:
        hall.trouble["a"] = trouble
        await hall.hear(incoming(thing(view="a"), practice))
        (message,) = await hall.parked(practice)
        assert (message.code, message.retry_at is not None) == (code, comes_back)

    async def test_what_is_already_so_is_done(self, hall: Hall, practice: UUID) -> None:
        hall.trouble["a"] = AlreadySo()
        record = incoming(thing(view="a"), practice)
        await hall.hear(record)
        del hall.trouble["a"]
        await hall.hear(record)
        assert (hall.seen, await hall.parked(practice)) == ([], [])

    async def test_what_somebody_changed_meanwhile_is_tried_again_at_once(self, hall: Hall, practice: UUID) -> None:
        tries: list[int] = []

        def subscribe(consumer: Consumer) -> None:
            @consumer.on(THING)
            async def handle(event: Received[Any], tx: Tx) -> None:
                tries.append(1)
                if len(tries) < 3:
                    raise SomebodyElse

        await Door(hall.door.batches._work, subscribe).batches.handle([incoming(thing(), practice)])
        assert (len(tries), await hall.parked(practice)) == (3, [])

    async def test_what_stays_stale_is_parked(self, hall: Hall, practice: UUID) -> None:
        hall.trouble["a"] = SomebodyElse()
        await hall.hear(incoming(thing(view="a"), practice))
        assert [message.code for message in await hall.parked(practice)] == ["somebody_else"]

    @pytest.mark.parametrize("argument", [2**40, "not a number", None])
    async def test_data_the_database_cannot_take_is_parked_and_does_not_stop_the_partition(
        self, argument: object, work: Work, practice: UUID
    ) -> None:
        def subscribe(consumer: Consumer) -> None:
            @consumer.on(THING)
            async def handle(event: Received[Any], tx: Tx) -> None:
                arguments = [] if argument is None else [argument]
                await tx.value("SELECT $1::integer", *arguments)

        door = Door(work, subscribe)
        async with asyncio.timeout(10):
            await door.batches.handle([incoming(thing(), practice)])
        (message,) = await door.redrive.listing([practice])
        assert message.code.startswith("bug:")


class TestMalformed:
    @pytest.mark.parametrize(
        ("headers", "value", "code"),
        [
            ({}, b"{", "malformed_data: /: json_invalid"),
            ({}, b"{}", "malformed_data: /patient_id: missing"),
            ({}, b"", "malformed_data: /: json_invalid"),
            ({"ce_id": "17"}, None, "malformed_envelope: header ce_id is unreadable"),
            ({"ce_id": ""}, None, "malformed_envelope: header ce_id is missing"),
            ({"ce_specversion": "0.3"}, None, "malformed_envelope: header ce_specversion is not 1.0"),
            ({"ce_time": "yesterday"}, None, "malformed_envelope: header ce_time is unreadable"),
            ({"ce_subject": "patient/somebody-else"}, None, "malformed_envelope: header ce_subject does not name what the data names"),
        ],
    )
    async def test_a_record_that_is_no_message_is_put_aside_with_the_reason(
        self, headers: dict[str, str], value: bytes | None, code: str, hall: Hall, practice: UUID
    ) -> None:
        good = incoming(thing(view="a"), practice, **headers)
        record = Incoming(good.topic, good.partition, good.offset, good.headers, good.value if value is None else value)
        await hall.hear(incoming(thing(view="before"), practice), record, incoming(thing(view="after"), practice))
        assert hall.seen == ["before", "after"]
        assert [message.code for message in await hall.parked(practice)] == [code]

    async def test_a_record_without_a_practice_is_kept_for_the_platform(self, hall: Hall) -> None:
        record = Incoming("vantage.patients.events", 3, 4711, {"ce_type": "vantage.patients.patient-record-viewed.v1"}, b"\xff")
        await hall.hear(record)
        parked = await hall.parked(UUID(int=0))
        assert [(message.subject, message.offset) for message in parked] == [("record/vantage.patients.events/3/4711", 4711)]
        assert await hall.door.redrive.discard(UUID(int=0), parked[0].id, "noise")

    async def test_the_reason_never_repeats_the_content(self, hall: Hall, practice: UUID) -> None:
        good = incoming(thing(), practice)
        await hall.hear(Incoming(good.topic, 0, good.offset, good.headers, b'{"patient_id": "mira.holm@mail.example", "view": 1}'))
        assert "mira" not in (await hall.parked(practice))[0].code

    def test_headers_that_are_null_or_not_text_are_read_all_the_same(self) -> None:
        record = Incoming.of("t", 0, 1, [("ce_id", None), ("ce_type", b"\xff\xfe")], None)
        assert (record.headers["ce_id"], record.value) == ("", b"")


class TestBehind:
    async def test_later_messages_of_a_parked_subject_wait_and_come_in_order(self, hall: Hall, practice: UUID) -> None:
        subject = uuid4()
        hall.trouble["1"] = NotThereYet()
        await hall.hear(incoming(thing(subject, "1"), practice), incoming(thing(view="elsewhere"), practice))
        await hall.hear(incoming(thing(subject, "2"), practice), incoming(thing(subject, "3"), practice))
        assert hall.seen == ["elsewhere"]
        assert [message.code for message in await hall.parked(practice)] == ["not_there_yet", "behind", "behind"]
        hall.trouble.clear()
        assert await hall.redrive(practice, subject) == 3
        assert (hall.seen, await hall.parked(practice)) == (["elsewhere", "1", "2", "3"], [])

    async def test_the_same_subject_of_another_practice_does_not_wait(self, hall: Hall, practice: UUID) -> None:
        subject = uuid4()
        hall.trouble["1"] = NotThereYet()
        await hall.hear(incoming(thing(subject, "1"), practice))
        await hall.hear(incoming(thing(subject, "2"), uuid4()))
        assert hall.seen == ["2"]

    async def test_a_redelivery_of_what_is_parked_is_not_parked_twice(self, hall: Hall, practice: UUID) -> None:
        hall.trouble["1"] = RuleSaysNo()
        record = incoming(thing(view="1"), practice)
        await hall.hear(record)
        await hall.hear(record)
        assert len(await hall.parked(practice)) == 1

    async def test_nobody_is_left_behind_when_the_redrive_ends_while_a_message_is_put_behind(
        self, hall: Hall, work: Work, practice: UUID
    ) -> None:
        subject = uuid4()
        hall.trouble["1"] = RuleSaysNo()
        await hall.hear(incoming(thing(subject, "1"), practice))
        hall.trouble.clear()
        record = hall.door.batches._read(incoming(thing(subject, "2"), practice))
        async with work.batch([practice], Principal.system(SERVICE)) as tx:
            await hall.door.batches.parking.park_behind(record, tx)
            # Put behind and not committed yet: the redrive must not take the subject for done.
            await hall.redrive(practice, subject)
        await hall.redrive(practice, subject)
        assert (hall.seen, await hall.parked(practice)) == (["1", "2"], [])


class TestRedrive:
    async def test_comes_back_by_itself_when_what_was_missing_has_arrived(
        self, hall: Hall, practice: UUID, superuser: psycopg.Connection[tuple[Any, ...]]
    ) -> None:
        subject = uuid4()
        hall.trouble["1"] = NotThereYet()
        await hall.hear(incoming(thing(subject, "1"), practice))
        superuser.execute("UPDATE patients.parked_subject SET retry_at = NULL WHERE practice_id <> %s", [practice])  # what other tests left
        for attempt in range(3):
            superuser.execute("UPDATE patients.parked_subject SET retry_at = now() WHERE practice_id = %s", [practice])
            assert await hall.door.redrive.due() == 0
            (message,) = await hall.parked(practice)
            assert (message.attempts, message.retry_at is not None) == (attempt + 2, True)
        hall.trouble.clear()
        superuser.execute("UPDATE patients.parked_subject SET retry_at = now() WHERE practice_id = %s", [practice])
        await hall.door.redrive.due()
        assert (hall.seen, await hall.parked(practice)) == (["1"], [])

    async def test_waits_for_an_operator_after_many_tries(
        self, hall: Hall, practice: UUID, superuser: psycopg.Connection[tuple[Any, ...]]
    ) -> None:
        subject = uuid4()
        hall.trouble["1"] = NotThereYet()
        await hall.hear(incoming(thing(subject, "1"), practice))
        superuser.execute("UPDATE patients.parked_subject SET attempts = %s WHERE practice_id = %s", [SELF_REDRIVES, practice])
        await hall.redrive(practice, subject)
        (message,) = await hall.parked(practice)
        assert message.retry_at is None

    async def test_stops_at_the_first_that_fails(self, hall: Hall, practice: UUID) -> None:
        subject = uuid4()
        hall.trouble |= {"1": RuleSaysNo(), "3": RuleSaysNo()}
        await hall.hear(*(incoming(thing(subject, name), practice) for name in "1234"))
        del hall.trouble["1"]
        assert await hall.redrive(practice, subject) == 2
        assert hall.seen == ["1", "2"]
        assert len(await hall.parked(practice)) == 2

    async def test_goes_on_past_what_turned_out_to_be_done(self, hall: Hall, practice: UUID) -> None:
        subject = uuid4()
        hall.trouble["1"] = RuleSaysNo()
        await hall.hear(*(incoming(thing(subject, name), practice) for name in "123"))
        hall.trouble["1"] = AlreadySo()
        await hall.redrive(practice, subject)
        assert (hall.seen, await hall.parked(practice)) == (["2", "3"], [])

    async def test_two_at_once_handle_each_message_once(self, hall: Hall, practice: UUID) -> None:
        subject = uuid4()
        hall.trouble["1"] = RuleSaysNo()
        await hall.hear(*(incoming(thing(subject, name), practice) for name in "123"))
        hall.trouble.clear()
        await asyncio.gather(*(hall.redrive(practice, subject) for _ in range(4)))
        await hall.redrive(practice, subject)
        assert hall.seen == ["1", "2", "3"]

    async def test_a_corrected_message_is_handled_as_corrected(self, hall: Hall, practice: UUID) -> None:
        subject = uuid4()
        good = incoming(thing(subject, "right"), practice)
        await hall.hear(Incoming(good.topic, 0, good.offset, good.headers, b"{"))
        (message,) = await hall.parked(practice)
        assert await hall.door.redrive.correct(practice, message.id, good.value, "the sender cut it off")
        assert await hall.redrive(practice, subject) == 1
        assert hall.seen == ["right"]

    async def test_a_discarded_message_is_given_up_and_the_others_go_on(self, hall: Hall, practice: UUID) -> None:
        subject = uuid4()
        hall.trouble["1"] = RuleSaysNo()
        first = incoming(thing(subject, "1"), practice)
        await hall.hear(first, incoming(thing(subject, "2"), practice))
        (message, _) = await hall.parked(practice)
        assert await hall.door.redrive.discard(practice, message.id, "never existed")
        hall.trouble.clear()
        await hall.hear(first)
        assert hall.seen == ["2"]

    async def test_nobody_corrects_or_discards_what_is_not_parked_there(self, hall: Hall, practice: UUID) -> None:
        hall.trouble["1"] = RuleSaysNo()
        await hall.hear(incoming(thing(view="1"), practice))
        (message,) = await hall.parked(practice)
        stranger = uuid4()
        assert not await hall.door.redrive.discard(stranger, message.id, "x")
        assert not await hall.door.redrive.correct(stranger, message.id, b"{}", "x")
        assert not await hall.door.redrive.discard(practice, uuid4(), "x")


class TestOutage:
    @pytest.fixture(autouse=True)
    def _soon(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(batches, "BACKOFF_FIRST_SECONDS", 0.001)

    async def test_waits_while_the_database_is_away_and_loses_nothing(self, hall: Hall, practice: UUID) -> None:
        answers = iter(
            [ConnectionRefusedError(), asyncpg.CannotConnectNowError("starting"), asyncpg.InterfaceError("connection is closed")]
        )
        handle = hall.door.batches._handle

        async def flaky(records: Any) -> None:
            for error in answers:
                raise error
            await handle(records)

        hall.door.batches._handle = flaky  # type: ignore[method-assign]
        await hall.hear(incoming(thing(view="a"), practice))
        assert (hall.seen, await hall.parked(practice)) == (["a"], [])

    async def test_starts_again_when_its_connection_dies_in_the_middle(
        self, work: Work, practice: UUID, superuser: psycopg.Connection[tuple[Any, ...]]
    ) -> None:
        killed: list[int] = []
        done: list[str] = []

        def subscribe(consumer: Consumer) -> None:
            @consumer.on(THING)
            async def handle(event: Received[Any], tx: Tx) -> None:
                if not killed:
                    killed.append(await tx.value("SELECT pg_backend_pid()"))
                    superuser.execute("SELECT pg_terminate_backend(%s, 5000)", [killed[0]])
                await tx.value("SELECT 1")
                tx.after_commit(lambda: done.append(event.data.view))

        door = Door(work, subscribe)
        async with asyncio.timeout(20):
            await door.batches.handle([incoming(thing(view="a"), practice), incoming(thing(view="b"), practice)])
        assert (done, await door.redrive.listing([practice])) == (["a", "b"], [])

    @pytest.mark.parametrize(
        ("error", "outage"),
        [
            (ConnectionResetError(), True),
            (asyncpg.AdminShutdownError("x"), True),
            (asyncpg.TooManyConnectionsError("x"), True),
            (asyncpg.InterfaceError("connection is closed"), True),
            (asyncpg.InterfaceError("the server expects 1 argument for this query, 0 were passed"), False),
            (asyncpg.UniqueViolationError("x"), False),
            (asyncpg.DeadlockDetectedError("x"), False),
            (ValueError(), False),
            (Trouble(), False),
        ],
    )
    def test_knows_an_outage_from_a_bad_message(self, error: Exception, outage: bool) -> None:
        assert is_outage(error) is outage


class TestConsumer:
    async def _nothing(self, *_: Any) -> None: ...

    def test_refuses_a_second_handler_for_a_type(self) -> None:
        consumer = Consumer(SERVICE)
        consumer.on(THING)(self._nothing)
        with pytest.raises(ValueError, match="has a handler already"):
            consumer.on_batch(THING, OTHER)(self._nothing)

    def test_one_that_takes_everything_takes_nothing_else(self) -> None:
        consumer = Consumer(SERVICE)
        consumer.on_everything()(self._nothing)
        with pytest.raises(ValueError, match="has a handler already"):
            consumer.on(THING)(self._nothing)
        with pytest.raises(ValueError, match="no other handlers"):
            consumer.on_everything()(self._nothing)

    async def test_everything_comes_undecoded_and_unmarked(self, work: Work, practice: UUID) -> None:
        heard: list[Received[Any]] = []

        def subscribe(consumer: Consumer) -> None:
            @consumer.on_everything()
            async def everything(events: list[Received[Any]], tx: Tx) -> None:
                heard.extend(events)

        record = incoming(thing(), practice, ce_type="vantage.patients.never-heard-of.v7")
        await Door(work, subscribe).batches.handle([record, record])
        assert [(event.data, event.raw) for event in heard] == [(None, record.value)] * 2

    async def test_keeps_the_order_of_a_subject_across_handlers(self, work: Work, practice: UUID) -> None:
        order: list[str] = []

        def subscribe(consumer: Consumer) -> None:
            @consumer.on_batch(THING)
            async def things(events: list[Received[Any]], tx: Tx) -> None:
                order.extend(f"{event.data.view} of {event.subject[-1]}" for event in events)

            @consumer.on_batch(OTHER)
            async def others(events: list[Received[Any]], tx: Tx) -> None:
                order.extend(f"{event.data.version} of {event.subject[-1]}" for event in events)

        one, two = UUID(int=1), UUID(int=2)
        told = [thing(one, "a"), other(one, 1), thing(one, "b"), thing(two, "c"), other(two, 2)]
        await Door(work, subscribe).batches.handle([incoming(message, practice) for message in told])
        assert [entry for entry in order if entry.endswith("1")] == ["a of 1", "1 of 1", "b of 1"]
        assert [entry for entry in order if entry.endswith("2")] == ["c of 2", "2 of 2"]

    async def test_what_is_said_because_of_a_message_belongs_to_its_practice_and_its_cause(self, work: Work, practice: UUID) -> None:
        def subscribe(consumer: Consumer) -> None:
            @consumer.on(OTHER)
            async def handle(event: Received[Any], tx: Tx) -> None:
                tx.emit(thing(event.data.patient_id))

        stranger = uuid4()
        first, second = incoming(other(uuid4()), practice), incoming(other(uuid4()), stranger)
        await Door(work, subscribe).batches.handle([first, second])
        async with work.batch([practice, stranger], Principal.system("test")) as tx:
            rows = await tx.rows(_SAID, [practice, stranger])
        for record, row, where in zip((first, second), rows, (practice, stranger), strict=True):
            assert (row["practice_id"], row["correlation_id"]) == (where, record.headers["correlation_id"])
            assert row["causation_id"] == record.headers["ce_id"]
            assert row["traceparent"].split("-")[1] == record.headers["traceparent"].split("-")[1]
