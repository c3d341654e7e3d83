"""The second engine in the whole system: every process killed in the middle, everything heard twice, moved to and from.

The provider's own record is the judge.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import httpx
import pytest

from deploy.demo.journey import Practice, set_up
from deploy.native import state
from deploy.native.__main__ import DEFAULT
from deploy.native.system import System
from libs.contracts.scheduling import AppointmentConfirmed
from libs.contracts.topics import SERVICES
from libs.testing.probe import until
from libs.testing.stack import Stack, running
from tests.e2e.booking import SUBJECTS, TWO_MAILS, book_until_taken, mails_to, patients, silent_runs, wrong_mails
from tests.e2e.deeds import DEEDS, Party, Person, party, people_of, whims
from tests.e2e.judge import assert_done, come_to_their_ends
from tests.e2e.outside import outside_of
from tests.e2e.test_storms import behind, hear_everything_again

BOOKINGS = 200
ANY_STATUS = ("running", "completed", "failed", "cancelled")
EVERY_PROCESS = (*SERVICES, "gateway", "connect", "kafka", "postgres", "temporal")
ON_THE_WAY_IN = ("workflows", "temporal")
"""What a beginning run is handed between; the others are killed while all go on."""

UNTIL_CONFIRMED: tuple[dict[str, Any], ...] = (
    {"kind": "wait_for", "id": "reply", "events": [{"event": AppointmentConfirmed.type}], "about": "appointment", "timeout": "P1D"},
    {"kind": "wait", "id": "pause", "duration": "PT2S"},
)
"""Runs stay in flight until somebody confirms the appointment: an action, an event, a timer, actions."""


@pytest.fixture(scope="module")
def durable() -> Iterator[Stack]:
    """The whole system with Temporal."""
    with running(traces=False, engine="temporal") as stack:
        yield stack


def runs_on(stack: Stack, engine: str, practices: list[Practice], *statuses: str) -> int:
    sql = "SELECT count(*) FROM workflows.run WHERE engine = %s AND practice_id = ANY(%s::uuid[]) AND status = ANY(%s)"
    found: int = stack.sql(sql, engine, [practice.id for practice in practices], list(statuses))[0][0]
    return found


def kill(stack: Stack, name: str) -> None:
    """As soon as it runs."""
    until(lambda: stack.system.supervisor.pid(name), what=f"{name} running")
    stack.kill(name)


def all_mails(stack: Stack, emails: list[str]) -> None:
    expected = len(emails) * len(SUBJECTS)
    until(lambda: mails_to(stack, emails).total(), lambda found: found >= expected, within=240, what=f"{expected} e-mails")
    stack.drained(within=120)
    assert wrong_mails(stack, emails) == {}
    until(lambda: silent_runs(stack), lambda runs: runs == [], within=60, what="no run silent")


def confirm_until_taken(stack: Stack, practice: Practice, appointment_id: str) -> None:
    """A lost answer is asked for again, and may then say that it was done."""

    def taken() -> bool:
        try:
            answer = stack.client.ask("POST", f"/v1/appointments/{appointment_id}/confirm", practice.admin)
            return answer.status_code == 200 or answer.json()["code"] == "already_confirmed"
        except (httpx.HTTPError, ValueError):
            return False

    stack.client.until("the confirmation", taken, within=90)


def do_while_killing(stack: Stack, work: Sequence[Callable[[], object]], victims: tuple[str, ...]) -> None:
    """All of it, eight at a time; each of the victims is killed when its share of the work is done."""
    with ThreadPoolExecutor(8) as pool:
        doing = [pool.submit(one) for one in work]
        for number, victim in enumerate(victims):
            share = number * len(work) // len(victims)
            until(lambda: sum(one.done() for one in doing), share.__le__, within=120, what=f"time to kill {victim}")
            kill(stack, victim)
        for one in doing:
            one.result()


@pytest.mark.timeout(720)
class TestKilling:
    """Some while 200 runs begin, each while all of them, in flight together, go on; in between everything is heard again.

    Every provider is in a bad mood, and its own record is the judge.
    """

    def test_every_process_and_hearing_everything_again_loses_and_repeats_nothing(self, durable: Stack) -> None:
        with outside_of(durable) as outside:
            parties = [party(durable, outside, deed, gate=UNTIL_CONFIRMED) for deed in DEEDS]
            people = people_of(durable, parties, BOOKINGS // len(parties))
            durable.drained()
            with whims(durable):
                self._begun_while_killing(durable, people)
                practices = [one.practice for one in parties]
                self._all_in_flight(durable, practices)
                hear_everything_again(durable)
                until(lambda: behind(durable), lambda count: count == 0, within=120, what="everything heard again")
                self._all_in_flight(durable, practices)
            with whims(durable):
                do_while_killing(durable, self._confirmations(durable, practices), EVERY_PROCESS)
                shown = come_to_their_ends(durable, outside, people, within=240)
            assert_done(durable, outside, people, shown)
            assert runs_on(durable, "temporal", practices, "completed") == BOOKINGS
            assert runs_on(durable, "builtin", practices, *ANY_STATUS) + runs_on(durable, "temporal", practices, *ANY_STATUS) == BOOKINGS
            until(
                lambda: durable.reconcile().stdout,
                lambda told: told.endswith(" 0 different\n"),
                within=60,
                what="outboxes and ledger equal",
            )

    @staticmethod
    def _begun_while_killing(stack: Stack, people: list[tuple[Party, Person]]) -> None:
        mixed = sorted(people, key=lambda one: one[1].email)
        bookings = [partial(book_until_taken, stack, whose.practice, person.email) for whose, person in mixed]
        do_while_killing(stack, bookings, ON_THE_WAY_IN)

    @staticmethod
    def _all_in_flight(stack: Stack, practices: list[Practice]) -> None:
        """Each has sent its first e-mail and waits for the event."""
        stack.drained(within=120)
        sql = "SELECT count(*) FROM workflows.event_wait WHERE step_id = 'reply' AND practice_id = ANY(%s::uuid[])"
        ids = [practice.id for practice in practices]
        until(lambda: stack.sql(sql, ids)[0][0], lambda count: count == BOOKINGS, within=120, what="all runs in flight")

    @staticmethod
    def _confirmations(stack: Stack, practices: list[Practice]) -> list[Callable[[], object]]:
        by_id = {practice.id: practice for practice in practices}
        booked = stack.sql("SELECT practice_id::text, id::text FROM scheduling.appointment WHERE practice_id = ANY(%s::uuid[])", [*by_id])
        assert len(booked) == BOOKINGS
        return [partial(confirm_until_taken, stack, by_id[practice_id], found) for practice_id, found in booked]


class TestMoving:
    def test_runs_in_flight_finish_where_they_began_and_new_ones_begin_elsewhere(self, durable: Stack) -> None:
        practice = set_up(durable.client, durable.state, workflow=TWO_MAILS)
        emails = patients(durable.client, practice, 6)
        durable.drained()
        begun = {"temporal": emails[:2], "builtin": emails[2:4]}
        self._book(durable, practice, begun["temporal"])
        for engine, more in (("builtin", begun["builtin"]), ("temporal", emails[4:])):
            moved = System(state.load(durable.state.directory, engine), DEFAULT)
            durable.system.down()
            moved.up()
            self._book(durable, practice, more)
        all_mails(durable, emails)
        for engine, expected in (("temporal", 4), ("builtin", 2)):
            until(
                lambda engine=engine: runs_on(durable, engine, [practice], "completed"),  # type: ignore[misc]
                expected.__eq__,
                what=f"{engine}'s runs completed",
            )

    @classmethod
    def _book(cls, stack: Stack, practice: Practice, emails: list[str]) -> None:
        before = cls._begun(stack, practice)
        for email in emails:
            book_until_taken(stack, practice, email)
        until(lambda: cls._begun(stack, practice), lambda found: found == before + len(emails), what="their runs")

    @staticmethod
    def _begun(stack: Stack, practice: Practice) -> int:
        return sum(runs_on(stack, engine, [practice], "running", "completed") for engine in state.ENGINES)
