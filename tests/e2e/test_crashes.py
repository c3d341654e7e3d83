"""Any process killed with 200 runs in flight: afterwards each has sent each of its e-mails once, none is silent, the ledger is whole."""

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
from tests.e2e.booking import SUBJECTS, TWO_MAILS, book_until_taken, mails_to, patients, silent_runs, under_way, wrong_mails

BOOKINGS = 200
PRACTICES = 4


@pytest.fixture(scope="module")
def practices(stack: Stack) -> list[Practice]:
    return [set_up(stack.client, stack.state, workflow=TWO_MAILS) for _ in range(PRACTICES)]


@pytest.mark.timeout(240)
@pytest.mark.parametrize("victim", [*SERVICES, "connect", "kafka", "postgres"])
class TestKillNine:
    def test_every_run_still_sends_each_e_mail_exactly_once(
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
        all_of_them = BOOKINGS * len(SUBJECTS)
        until(lambda: mails_to(stack, emails).total(), lambda count: count == all_of_them, within=120, what=f"{all_of_them} e-mails")
        stack.drained(within=120)
        assert wrong_mails(stack, emails) == {}
        until(lambda: silent_runs(stack), lambda runs: runs == [], within=30, what="no run silent")
        until(lambda: under_way(stack, practices), lambda count: count == 0, within=30, what="every run at its end")
        # Delivery reports go on arriving: what was said in the last moment may not have reached the ledger yet.
        until(lambda: stack.reconcile().stdout, lambda told: told.endswith(" 0 different\n"), within=60, what="outboxes and ledger equal")
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
