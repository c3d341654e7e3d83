"""Any process killed in the middle of 200 bookings: afterwards each has exactly one e-mail and the ledger is whole."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest

from deploy.demo.client import DemoFailed
from deploy.demo.journey import BOOKED, Practice, set_up, verify_ledger
from libs.contracts.topics import SERVICES
from libs.testing.probe import until
from libs.testing.stack import Stack
from tests.e2e.booking import ONE_MAIL, book_until_taken, mails_to, patients

BOOKINGS = 200
PRACTICES = 4


@pytest.fixture(scope="module")
def practices(stack: Stack) -> list[Practice]:
    return [set_up(stack.client, stack.state, workflow=ONE_MAIL) for _ in range(PRACTICES)]


@pytest.mark.timeout(240)
@pytest.mark.parametrize("victim", [*SERVICES, "connect", "kafka", "postgres"])
class TestKillNine:
    def test_every_booking_still_gets_exactly_one_e_mail(
        self, stack: Stack, practices: list[Practice], victim: str, tmp_path: Path
    ) -> None:
        until(lambda: _doors_open(stack, practices[0]), within=60, what="every door is open again")
        people = [(practice, email) for practice in practices for email in patients(stack.client, practice, BOOKINGS // PRACTICES)]
        stack.drained()
        half = threading.Event()
        done = 0

        def book_one(person: tuple[Practice, str]) -> None:
            nonlocal done
            book_until_taken(stack, *person)
            done += 1
            if done >= BOOKINGS // 3:
                half.set()

        with ThreadPoolExecutor(8) as pool:
            bookings = [pool.submit(book_one, person) for person in people]
            assert half.wait(60)
            stack.kill(victim)
            for booking in bookings:
                booking.result()
        emails = [email for _, email in people]
        until(lambda: len(mails_to(stack, emails)), lambda count: count == BOOKINGS, within=120, what=f"{BOOKINGS} e-mails")
        stack.drained(within=120)
        counts = mails_to(stack, emails)
        assert {email: count for email, count in counts.items() if count != 1} == {}
        compared = stack.reconcile()
        assert compared.returncode == 0, compared.stdout + compared.stderr
        for practice in practices:
            assert verify_ledger(stack.client, practice, BOOKED, tmp_path)[2].startswith("genuine: ")


DOORS = ("/v1/users", "/v1/patients", "/v1/appointments", "/v1/runs", "/v1/messages", "/v1/ledger/entries")


def _doors_open(stack: Stack, practice: Practice) -> bool:
    """Whether every service answers through the gateway; the last one killed may still be on its way up."""
    try:
        for path in DOORS:
            stack.client.call("GET", path, practice.admin)
    except (DemoFailed, httpx.HTTPError):
        return False
    return True
