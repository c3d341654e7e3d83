"""Everything that was ever said is heard again, by every service: nothing happens a second time."""

from __future__ import annotations

import asyncio

from aiokafka import AIOKafkaConsumer, TopicPartition

from deploy.demo.journey import Practice, set_up
from libs.contracts.topics import SERVICES, topics_read_by
from libs.testing.probe import until
from libs.testing.stack import Stack
from tests.e2e.booking import SUBJECTS, TWO_MAILS, book_until_taken, mails_to, patients, silent_runs, under_way, wrong_mails

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


def heard(stack: Stack) -> dict[str, int]:
    """How much was said, by whom; how much the provider accepted, and the ledger holds."""
    said = {service: stack.sql(f"SELECT count(*) FROM {service}.outbox")[0][0] for service in SERVICES}
    accepted = len(stack.client.simulator("sendgrid", "GET", "accepted"))
    return said | {"accepted": accepted, "entered": stack.sql("SELECT count(*) FROM audit.entry")[0][0]}


class TestHearingEverythingAgain:
    def test_says_nothing_and_sends_nothing(self, stack: Stack) -> None:
        practice, emails = self._booked(stack)
        self._all_mails(stack, emails)
        until(lambda: under_way(stack, [practice]), lambda count: count == 0, what="every run at its end")
        stack.drained()
        before = heard(stack)
        assert hear_everything_again(stack) > sum(before[service] for service in SERVICES), "most messages have several readers"
        until(lambda: behind(stack), lambda count: count == 0, within=120, what="everything heard again")
        stack.drained()
        assert heard(stack) == before

    def test_in_the_middle_of_runs_changes_nothing_for_them(self, stack: Stack) -> None:
        _, emails = self._booked(stack)
        hear_everything_again(stack)
        self._all_mails(stack, emails)
        assert silent_runs(stack) == []

    @staticmethod
    def _booked(stack: Stack) -> tuple[Practice, list[str]]:
        practice = set_up(stack.client, stack.state, workflow=TWO_MAILS)
        emails = patients(stack.client, practice, BOOKINGS)
        stack.drained()
        for email in emails:
            book_until_taken(stack, practice, email)
        return practice, emails

    @staticmethod
    def _all_mails(stack: Stack, emails: list[str]) -> None:
        expected = len(emails) * len(SUBJECTS)
        until(lambda: mails_to(stack, emails).total(), lambda count: count == expected, within=90, what=f"{expected} e-mails")
        stack.drained()
        assert wrong_mails(stack, emails) == {}
