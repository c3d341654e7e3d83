"""Offsets follow the commit, lazily, and only for what is finished; nothing about a record can make it vanish."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any, cast

import pytest
from aiokafka import TopicPartition
from aiokafka.errors import CommitFailedError

from libs.common.messaging import Incoming, kafka
from libs.common.messaging.backlog import SHARE
from libs.common.messaging.batches import Batches
from libs.common.messaging.kafka import MAX_RECORDS, OFFSET_INTERVAL_SECONDS, TOGETHER, TURN_SECONDS, KafkaDoor, _without_null_headers

TOPIC = "vantage.patients.events"


@dataclass
class Record:
    offset: int
    topic: str = TOPIC
    partition: int = 0
    headers: Sequence[tuple[str, bytes | None]] = ()
    value: bytes | None = b"{}"


@dataclass
class Group:
    """The consumer as the door sees it: what is assigned, and what was committed."""

    assigned: set[TopicPartition] = field(default_factory=lambda: {TopicPartition(TOPIC, 0), TopicPartition(TOPIC, 1)})
    committed: list[dict[TopicPartition, int]] = field(default_factory=list)
    broken: bool = False

    def assignment(self) -> set[TopicPartition]:
        return self.assigned

    async def commit(self, offsets: dict[TopicPartition, int]) -> None:
        if self.broken:
            raise CommitFailedError
        self.committed.append(offsets)


class Heard:
    """Takes the place of the batches: remembers, fails, or takes its time."""

    def __init__(self) -> None:
        self.records: list[Incoming] = []
        self.batches: list[int] = []
        self.error: Exception | None = None
        self.begun = asyncio.Event()
        self.may_end = asyncio.Event()
        self.may_end.set()
        self.takes: Callable[[int], None] = lambda _: None

    async def handle(self, records: Sequence[Incoming]) -> None:
        self.begun.set()
        await self.may_end.wait()
        if self.error:
            raise self.error
        self.takes(len(records))
        self.records += records
        self.batches.append(len(records))


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    now = [1000.0]
    monkeypatch.setattr(kafka, "monotonic", lambda: now[0])
    return now


@pytest.fixture
def group() -> Group:
    return Group()


@pytest.fixture
def heard() -> Heard:
    return Heard()


@pytest.fixture
async def door(heard: Heard, clock: list[float]) -> AsyncIterator[KafkaDoor]:
    door = KafkaDoor("127.0.0.1:1", "test", (TOPIC,), cast("Batches", heard))
    yield door
    await door.stop()


async def read(door: KafkaDoor, group: Group, *records: Record) -> asyncio.Task[None]:
    """As FastStream calls it. The task ends when the door wants more."""
    raw = await _without_null_headers(tuple(records), _as_it_is)
    message = SimpleNamespace(raw_message=raw, consumer=group)
    reading = asyncio.create_task(door._on_batch(None, cast("Any", message)))
    await asyncio.wait({reading}, timeout=0.001)
    return reading


async def batch(door: KafkaDoor, group: Group, *records: Record) -> None:
    await read(door, group, *records)
    await door._handle_some()


def by(practice: str, *offsets: int, partition: int = 0) -> list[Record]:
    return [Record(offset, partition=partition, headers=[("ce_partitionkey", practice.encode())]) for offset in offsets]


async def _as_it_is(records: Any) -> Any:
    return records


class TestOffsets:
    async def test_are_committed_lazily_and_for_each_partition(self, door: KafkaDoor, group: Group, clock: list[float]) -> None:
        await batch(door, group, Record(7))
        await batch(door, group, Record(8), Record(3, partition=1))
        await batch(door, group, Record(9))
        assert group.committed == [{TopicPartition(TOPIC, 0): 8}]
        clock[0] += OFFSET_INTERVAL_SECONDS
        await batch(door, group, Record(10))
        assert group.committed[1:] == [{TopicPartition(TOPIC, 0): 11, TopicPartition(TOPIC, 1): 4}]

    async def test_stay_before_the_first_unfinished_record_whatever_overtook_it(
        self, door: KafkaDoor, group: Group, heard: Heard, clock: list[float]
    ) -> None:
        loud = range(3 * SHARE)
        await read(door, group, *by("loud", *loud), *by("quiet", 3 * SHARE))
        await door._handle_some()
        assert (heard.batches, heard.records[-1].offset) == ([SHARE + 1], 3 * SHARE)
        assert group.committed == [{TopicPartition(TOPIC, 0): SHARE}]
        clock[0] += OFFSET_INTERVAL_SECONDS
        await door._handle_some()
        assert (len(door._backlog), group.committed[1:]) == (0, [{TopicPartition(TOPIC, 0): 3 * SHARE + 1}])

    async def test_wait_for_a_batch_our_own_fault_broke_which_comes_again_in_order(
        self, door: KafkaDoor, group: Group, heard: Heard, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(kafka, "FAULT_RETRY_SECONDS", 0)
        heard.error = ZeroDivisionError()
        await batch(door, group, Record(7), Record(8))
        assert (group.committed, heard.records) == ([], [])
        heard.error = None
        await batch(door, group, Record(9))
        assert ([r.offset for r in heard.records], group.committed) == ([7, 8, 9], [{TopicPartition(TOPIC, 0): 10}])

    async def test_of_a_partition_somebody_else_has_now_are_left_to_them(self, door: KafkaDoor, group: Group) -> None:
        group.assigned = {TopicPartition(TOPIC, 1)}
        await batch(door, group, Record(7), Record(3, partition=1))
        assert group.committed == [{TopicPartition(TOPIC, 1): 4}]

    async def test_that_cannot_be_committed_stop_nothing(self, door: KafkaDoor, group: Group, heard: Heard, clock: list[float]) -> None:
        group.broken = True
        await batch(door, group, Record(7))
        group.broken = False
        clock[0] += OFFSET_INTERVAL_SECONDS
        await batch(door, group, Record(8))
        assert (group.committed, len(heard.records)) == ([{TopicPartition(TOPIC, 0): 9}], 2)

    async def test_are_committed_when_the_door_closes(self, door: KafkaDoor, group: Group, clock: list[float]) -> None:
        await batch(door, group, Record(7))
        await batch(door, group, Record(8))
        await door.stop()
        assert group.committed[-1] == {TopicPartition(TOPIC, 0): 9}


class TestReadingAhead:
    async def test_waits_until_all_is_handled_while_little_waits(self, door: KafkaDoor, group: Group, heard: Heard) -> None:
        heard.may_end.clear()
        loop = asyncio.create_task(door._handle_loop())
        reading = await read(door, group, *by("a", 1, 2))
        await heard.begun.wait()
        assert not reading.done()
        heard.may_end.set()
        await reading
        assert len(heard.records) == 2
        loop.cancel()

    async def test_goes_on_while_somebody_may_stand_behind_a_flood_and_ends_when_too_much_waits(
        self, door: KafkaDoor, group: Group, heard: Heard, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(kafka, "READ_AHEAD", 2 * MAX_RECORDS + 1)
        heard.may_end.clear()
        loop = asyncio.create_task(door._handle_loop())
        assert (await read(door, group, *by("loud", *range(2 * MAX_RECORDS)))).done()
        more = await read(door, group, *by("loud", *range(2 * MAX_RECORDS, 3 * MAX_RECORDS)), *by("quiet", 3 * MAX_RECORDS))
        assert not more.done()
        heard.may_end.set()
        await more
        assert heard.records[TOGETHER.stop + SHARE].offset == 3 * MAX_RECORDS
        loop.cancel()

    async def test_one_practice_alone_is_handled_by_as_many_as_one_batch_holds(self, door: KafkaDoor, group: Group, heard: Heard) -> None:
        await batch(door, group, *by("a", *range(2 * TOGETHER.stop)))
        assert heard.batches == [TOGETHER.stop]

    async def test_batches_are_as_large_as_fit_into_a_turn_going_by_what_messages_took_lately(
        self, door: KafkaDoor, group: Group, heard: Heard, clock: list[float]
    ) -> None:
        heard.takes = lambda count: clock.__setitem__(0, clock[0] + count * TURN_SECONDS / 50)
        await read(door, group, *by("a", *range(5000)))
        for _ in range(30):
            await door._handle_some()
        assert heard.batches[0] == TOGETHER.stop
        assert heard.batches[-1] in {49, 50, 51}
        heard.takes = lambda count: clock.__setitem__(0, clock[0] + count * TURN_SECONDS)
        for _ in range(10):
            await door._handle_some()
        assert heard.batches[-1] == TOGETHER.start


class TestGivingUp:
    async def test_finishes_what_is_in_hand_and_forgets_what_waits_of_those_partitions(
        self, door: KafkaDoor, group: Group, heard: Heard
    ) -> None:
        heard.may_end.clear()
        await read(door, group, *by("loud", *range(2 * SHARE)), *by("quiet", 0, 1, partition=1))
        in_hand = asyncio.create_task(door._handle_some())
        await heard.begun.wait()
        giving_up = asyncio.create_task(door.give_up({(TOPIC, 0)}))
        heard.may_end.set()
        await asyncio.gather(in_hand, giving_up)
        assert group.committed == [{TopicPartition(TOPIC, 0): SHARE, TopicPartition(TOPIC, 1): 2}]
        assert len(door._backlog) == 0

    async def test_of_all_that_waits_leaves_the_handler_at_work(self, door: KafkaDoor, group: Group, heard: Heard) -> None:
        await read(door, group, *by("a", 1))
        async with door._in_hand:
            turn = asyncio.create_task(door._handle_some())
            await asyncio.wait({turn}, timeout=0.001)
            door._backlog.give_up({(TOPIC, 0)})
        await turn
        await batch(door, group, *by("a", 1))
        assert [record.offset for record in heard.records] == [1]

    async def test_does_not_wait_for_ever_and_what_is_finished_later_is_not_committed(
        self, door: KafkaDoor, group: Group, heard: Heard, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(kafka, "HAND_OVER_SECONDS", 0.01)
        heard.may_end.clear()
        await read(door, group, Record(7))
        in_hand = asyncio.create_task(door._handle_some())
        await heard.begun.wait()
        await door.give_up({(TOPIC, 0)})
        heard.may_end.set()
        await in_hand
        assert (len(heard.records), group.committed) == (1, [])


class TestRecords:
    async def test_with_headers_that_are_null_or_no_text_arrive_whole(self, door: KafkaDoor, group: Group, heard: Heard) -> None:
        await batch(door, group, Record(7, headers=[("ce_id", None), ("ce_type", b"\xff")]), Record(8, value=None))
        first, second = heard.records
        assert (first.headers["ce_id"], first.value, second.value) == ("", b"{}", b"")

    def test_before_the_group_has_met_nothing_is_assigned(self, door: KafkaDoor) -> None:
        assert door.assigned is False
