"""Offsets follow the commit, lazily, and only for what is finished; nothing about a record can make it vanish."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any, cast

import pytest
from aiokafka import TopicPartition
from aiokafka.errors import CommitFailedError

from libs.common.messaging import Incoming, kafka
from libs.common.messaging.batches import Batches
from libs.common.messaging.kafka import OFFSET_INTERVAL_SECONDS, KafkaDoor, _without_null_headers

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
    """Takes the place of the batches: remembers, or fails."""

    def __init__(self) -> None:
        self.records: list[Incoming] = []
        self.error: Exception | None = None

    async def handle(self, records: Sequence[Incoming]) -> None:
        if self.error:
            raise self.error
        self.records += records


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
def door(heard: Heard, clock: list[float]) -> KafkaDoor:
    return KafkaDoor("127.0.0.1:1", "test", (TOPIC,), cast("Batches", heard))


async def batch(door: KafkaDoor, group: Group, *records: Record) -> None:
    raw = await _without_null_headers(tuple(records), _as_it_is)
    await door._on_batch(None, cast("Any", SimpleNamespace(raw_message=raw, consumer=group)))


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

    async def test_never_run_ahead_of_what_is_finished(self, door: KafkaDoor, group: Group, heard: Heard) -> None:
        heard.error = ZeroDivisionError()
        with pytest.raises(ZeroDivisionError):
            await batch(door, group, Record(7))
        assert (group.committed, door._finished) == ([], {})

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


class TestRecords:
    async def test_with_headers_that_are_null_or_no_text_arrive_whole(self, door: KafkaDoor, group: Group, heard: Heard) -> None:
        await batch(door, group, Record(7, headers=[("ce_id", None), ("ce_type", b"\xff")]), Record(8, value=None))
        first, second = heard.records
        assert (first.headers["ce_id"], first.value, second.value) == ("", b"{}", b"")

    def test_before_the_group_has_met_nothing_is_assigned(self, door: KafkaDoor) -> None:
        assert door.assigned is False
