"""Everything that was ever said is heard again, by every service: nothing happens a second time."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest
from aiokafka import AIOKafkaConsumer, TopicPartition

from libs.contracts.topics import SERVICES, topics_read_by
from libs.testing.probe import until
from libs.testing.stack import Stack
from tests.e2e.booking import book_until_taken
from tests.e2e.deeds import DEEDS, Party, Person, party, people_of, whims
from tests.e2e.judge import assert_done, come_to_their_ends
from tests.e2e.outside import Outside, outside_of

READERS = tuple(service for service in SERVICES if topics_read_by(service))
BOOKINGS = 20


async def _offsets(bootstrap: str, service: str, *, rewind: bool) -> int:
    """How far a reader's committed offsets are behind the newest message, after going back to the oldest if so wanted."""
    places = [TopicPartition(topic.name, number) for topic in topics_read_by(service) for number in range(topic.partitions)]
    consumer = AIOKafkaConsumer(bootstrap_servers=bootstrap, group_id=service, enable_auto_commit=False)
    await consumer.start()
    try:
        consumer.assign(places)
        if rewind:
            await consumer.commit(await consumer.beginning_offsets(places))
        end = await consumer.end_offsets(places)
        return sum([end[place] - (await consumer.committed(place) or 0) for place in places])
    finally:
        await consumer.stop()


def behind(stack: Stack, *, rewind: bool = False) -> int:
    """How many messages readers have still to finish with, all together."""

    async def everybody() -> int:
        bootstrap = f"127.0.0.1:{stack.state.ports['kafka']}"
        return sum([await _offsets(bootstrap, service, rewind=rewind) for service in READERS])

    return asyncio.run(everybody())


def hear_everything_again(stack: Stack) -> int:
    """Every reader starts from the oldest message there is; returns how many messages that are."""
    stack.system.supervisor.stop(*READERS)
    try:
        return behind(stack, rewind=True)
    finally:
        stack.system.supervisor.start(*READERS)


def heard(stack: Stack, outside: Outside) -> dict[str, Any]:
    """How much was said, by whom; how much the other sides did, and how often; how much the ledger holds."""
    said: dict[str, Any] = {service: stack.sql(f"SELECT count(*) FROM {service}.outbox")[0][0] for service in SERVICES}
    accepted = {provider: stack.client.simulator(provider, "GET", "accepted") for provider in ("sendgrid", "retell", "calcom")}
    done = {provider: len(lines) for provider, lines in accepted.items()} | {"requests": dict(outside.taken)}
    cancelled = sum(booking["status"] == "cancelled" for booking in accepted["calcom"])
    return said | done | {"cancelled": cancelled, "entered": stack.sql("SELECT count(*) FROM audit.entry")[0][0]}


@pytest.fixture(scope="module")
def outside(stack: Stack) -> Iterator[Outside]:
    with outside_of(stack) as outside:
        yield outside


@pytest.fixture(scope="module")
def everything(stack: Stack, outside: Outside) -> Party:
    """Each of its runs does every deed."""
    return party(stack, outside, *DEEDS)


class TestHearingEverythingAgain:
    def test_says_nothing_and_does_nothing(self, stack: Stack, outside: Outside, everything: Party) -> None:
        people = self._booked(stack, everything)
        assert_done(stack, outside, people, come_to_their_ends(stack, outside, people))
        self._reported(stack, people)
        stack.drained()
        before = heard(stack, outside)
        assert hear_everything_again(stack) > sum(before[service] for service in SERVICES), "most messages have several readers"
        until(lambda: behind(stack), lambda count: count == 0, within=120, what="everything heard again")
        stack.drained()
        assert heard(stack, outside) == before

    def test_in_the_middle_of_runs_changes_nothing_for_them(self, stack: Stack, outside: Outside, everything: Party) -> None:
        with whims(stack):
            people = self._booked(stack, everything)
            hear_everything_again(stack)
            shown = come_to_their_ends(stack, outside, people)
        until(lambda: behind(stack), lambda count: count == 0, within=120, what="everything heard again")
        assert_done(stack, outside, people, shown)

    @staticmethod
    def _reported(stack: Stack, people: list[tuple[Party, Person]]) -> None:
        """Of each call everything there is to report has been."""
        open_calls = (
            "SELECT count(*) FROM scheduling.call c JOIN scheduling.call_due d ON d.call_id = c.id WHERE c.patient_id = ANY(%s::uuid[])"
        )
        until(lambda: stack.sql(open_calls, [person.id for _, person in people])[0][0], lambda count: count == 0, what="the calls' reports")

    @staticmethod
    def _booked(stack: Stack, everything: Party) -> list[tuple[Party, Person]]:
        people = people_of(stack, [everything], BOOKINGS)
        stack.drained()
        for _, person in people:
            book_until_taken(stack, everything.practice, person.email)
        return people
