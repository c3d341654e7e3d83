"""The second engine in the whole system: killed in the middle, moved to and from, judged by the provider's own record."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from deploy.demo.journey import Practice, set_up
from deploy.native import state
from deploy.native.__main__ import DEFAULT
from deploy.native.system import System
from libs.testing.probe import until
from libs.testing.stack import Stack, running
from tests.e2e.booking import SUBJECTS, TWO_MAILS, book_until_taken, mails_to, patients, silent_runs, wrong_mails

BOOKINGS = 200
KILLED = ("temporal", "workflows", "notifications", "temporal")


@pytest.fixture(scope="module")
def durable() -> Iterator[Stack]:
    """The whole system with Temporal."""
    with running(traces=False, engine="temporal") as stack:
        yield stack


def runs_on(stack: Stack, engine: str, practice: Practice, status: str = "running") -> int:
    sql = "SELECT count(*) FROM workflows.run WHERE engine = %s AND practice_id = %s AND status = %s"
    found: int = stack.sql(sql, engine, practice.id, status)[0][0]
    return found


def kill(stack: Stack, name: str) -> None:
    """As soon as it runs."""
    until(lambda: stack.system.supervisor.pid(name), what=f"{name} running")
    stack.kill(name)


def set_up_patients(stack: Stack, count: int) -> tuple[Practice, list[str]]:
    practice = set_up(stack.client, stack.state, workflow=TWO_MAILS)
    emails = patients(stack.client, practice, count)
    stack.drained()
    return practice, emails


def all_mails(stack: Stack, emails: list[str]) -> None:
    expected = len(emails) * len(SUBJECTS)
    until(lambda: mails_to(stack, emails).total(), lambda count: count >= expected, within=300, what=f"{expected} e-mails")
    stack.drained()
    assert wrong_mails(stack, emails) == {}
    until(lambda: silent_runs(stack), lambda runs: runs == [], within=30, what="no run silent")


@pytest.mark.timeout(480)
class TestKilling:
    def test_server_service_and_sender_in_the_middle_loses_and_repeats_nothing(self, durable: Stack) -> None:
        practice, emails = set_up_patients(durable, BOOKINGS)
        for number, email in enumerate(emails):
            book_until_taken(durable, practice, email)
            if number % 50 == 25:
                kill(durable, KILLED[number // 50])
        for name in KILLED:
            kill(durable, name)
        all_mails(durable, emails)
        until(lambda: runs_on(durable, "temporal", practice, "completed"), lambda count: count == BOOKINGS, what="all runs completed")
        assert runs_on(durable, "builtin", practice) == 0


class TestMoving:
    def test_runs_in_flight_finish_where_they_began_and_new_ones_begin_elsewhere(self, durable: Stack) -> None:
        practice, emails = set_up_patients(durable, 6)
        begun = {"temporal": emails[:2], "builtin": emails[2:4]}
        self._book(durable, practice, begun["temporal"])
        for engine, more in (("builtin", begun["builtin"]), ("temporal", emails[4:])):
            moved = System(state.load(durable.state.directory, engine), DEFAULT)
            durable.system.down()
            moved.up()
            self._book(durable, practice, more)
        all_mails(durable, emails)
        for engine, count in (("temporal", 4), ("builtin", 2)):
            done = until(lambda engine=engine: runs_on(durable, engine, practice, "completed"), count.__le__, what=f"{engine}'s runs")  # type: ignore[misc]
            assert done == count

    @staticmethod
    def _book(stack: Stack, practice: Practice, emails: list[str]) -> None:
        before = sum(runs_on(stack, engine, practice, status) for engine in state.ENGINES for status in ("running", "completed"))
        for email in emails:
            book_until_taken(stack, practice, email)
        until(
            lambda: sum(runs_on(stack, engine, practice, status) for engine in state.ENGINES for status in ("running", "completed")),
            lambda count: count == before + len(emails),
            what="their runs",
        )
