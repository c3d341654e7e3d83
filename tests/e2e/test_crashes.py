"""Any process killed with 200 runs in flight, every provider in a bad mood: afterwards each run has done each of its deeds once or shows
that nobody knows, by the record of whoever it was asked of; none is silent, the ledger is whole.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest

from deploy.demo.client import DemoFailed
from deploy.demo.journey import BOOKED, Practice, verify_ledger
from libs.contracts.topics import SERVICES
from libs.testing.probe import until
from libs.testing.stack import Stack
from tests.e2e.booking import book_until_taken
from tests.e2e.deeds import DEEDS, Party, Person, party, people_of, whims
from tests.e2e.judge import assert_done, come_to_their_ends
from tests.e2e.outside import Outside, outside_of

BOOKINGS = 200


@pytest.fixture(scope="module")
def outside(stack: Stack) -> Iterator[Outside]:
    with outside_of(stack) as outside:
        yield outside


@pytest.fixture(scope="module")
def parties(stack: Stack, outside: Outside) -> list[Party]:
    return [party(stack, outside, deed) for deed in DEEDS]


@pytest.mark.timeout(400)
@pytest.mark.parametrize("victim", [*SERVICES, "gateway", "connect", "kafka", "postgres"])
class TestKillNine:
    def test_every_run_still_does_each_of_its_deeds_once_or_shows_that_nobody_knows(
        self, stack: Stack, outside: Outside, parties: list[Party], victim: str, tmp_path: Path
    ) -> None:
        until(lambda: _doors_open(stack, parties[0].practice), within=60, what="every door is open again")
        people = people_of(stack, parties, BOOKINGS // len(parties))
        stack.drained()
        with whims(stack):
            self._booked_while_killing(stack, people, victim)
            shown = come_to_their_ends(stack, outside, people)
        assert_done(stack, outside, people, shown)
        # Delivery reports go on arriving: what was said in the last moment may not have reached the ledger yet.
        until(lambda: stack.reconcile().stdout, lambda told: told.endswith(" 0 different\n"), within=60, what="outboxes and ledger equal")
        for one in parties:
            assert verify_ledger(stack.client, one.practice, BOOKED, tmp_path)[2].startswith("genuine: ")

    @staticmethod
    def _booked_while_killing(stack: Stack, people: list[tuple[Party, Person]], victim: str) -> None:
        third = threading.Event()
        done = 0

        def book_one(whose: Party, person: Person) -> None:
            nonlocal done
            book_until_taken(stack, whose.practice, person.email)
            done += 1
            if done >= len(people) // 3:
                third.set()

        with ThreadPoolExecutor(8) as pool:
            bookings = [pool.submit(book_one, *one) for one in sorted(people, key=lambda one: one[1].email)]
            assert third.wait(60)
            stack.kill(victim)
            for booking in bookings:
                booking.result()


DOORS = ("/v1/users", "/v1/patients", "/v1/appointments", "/v1/runs", "/v1/messages", "/v1/ledger/entries")


def _doors_open(stack: Stack, practice: Practice) -> bool:
    """Whether every service answers through the gateway; the last one killed may still be on its way up."""
    try:
        for path in DOORS:
            stack.client.call("GET", path, practice.admin)
    except (DemoFailed, httpx.HTTPError):
        return False
    return True
