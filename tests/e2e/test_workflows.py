"""Workflows through the gateway and the whole backbone: what a practice writes down is what its patients get."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from deploy.demo.journey import Practice, set_up
from deploy.demo.reminder import DAY_BEFORE, Visit, book_for_tomorrow, move, publish_reminder, reminders, waiting_run
from libs.testing.stack import Stack
from tests.e2e.booking import ONE_MAIL

FAR = timedelta(hours=3)


@pytest.fixture(scope="module")
def practice(stack: Stack) -> Practice:
    return set_up(stack.client, stack.state, workflow=ONE_MAIL, reports=False)


@pytest.fixture(scope="module")
def reminder(stack: Stack, practice: Practice) -> str:
    return publish_reminder(stack.client, practice)


def run_of(stack: Stack, practice: Practice, run_id: str) -> Any:
    return stack.client.call("GET", f"/v1/runs/{run_id}", practice.admin).json()


def ended(stack: Stack, practice: Practice, run_id: str) -> Any:
    return stack.client.until("the run's end", lambda: (run := run_of(stack, practice, run_id))["status"] != "running" and run)


class TestAnAnchoredReminder:
    def test_comes_once_at_the_new_time_of_an_appointment_that_moved(self, stack: Stack, practice: Practice, reminder: str) -> None:
        first = book_for_tomorrow(stack.client, practice, reminder, first_due=timedelta(minutes=2))
        second = move(stack.client, practice, reminder, first, by=-timedelta(seconds=118))
        assert second.run_id == first.run_id
        assert ended(stack, practice, second.run_id)["status"] == "completed"
        stack.drained()
        (mail,) = reminders(stack.client, practice)
        assert datetime.fromtimestamp(mail["at"], UTC) >= second.due_at

    def test_vanishes_with_a_cancelled_appointment(self, stack: Stack, practice: Practice, reminder: str) -> None:
        visit = book_for_tomorrow(stack.client, practice, reminder, first_due=FAR)
        stack.client.call("POST", f"/v1/appointments/{visit.appointment_id}/cancel", practice.admin, {"reason": "ill"})
        run = ended(stack, practice, visit.run_id)
        assert (run["status"], run["error_code"]) == ("cancelled", "appointment_cancelled")

    def test_of_an_appointment_booked_too_late_does_what_its_policy_says(self, stack: Stack, practice: Practice, reminder: str) -> None:
        before = len(reminders(stack.client, practice))
        soon = self._booked(stack, practice, reminder, timedelta(hours=5))
        at_once = self._booked(stack, practice, reminder, timedelta(hours=1))
        assert [step["status"] for step in ended(stack, practice, soon)["steps"]] == ["succeeded", "succeeded"]
        assert [step["status"] for step in ended(stack, practice, at_once)["steps"]] == ["skipped"]
        assert len(reminders(stack.client, practice)) == before + 1

    def test_follows_an_appointment_moved_into_the_past_of_its_time(self, stack: Stack, practice: Practice, reminder: str) -> None:
        before = len(reminders(stack.client, practice))
        visit = book_for_tomorrow(stack.client, practice, reminder, first_due=FAR)
        starts = visit.due_at + DAY_BEFORE - timedelta(hours=20)
        body = {"starts_at": starts.isoformat(), "ends_at": (starts + timedelta(minutes=30)).isoformat()}
        stack.client.call("POST", f"/v1/appointments/{visit.appointment_id}/reschedule", practice.admin, body)
        assert ended(stack, practice, visit.run_id)["status"] == "completed"
        assert len(reminders(stack.client, practice)) == before + 1

    @staticmethod
    def _booked(stack: Stack, practice: Practice, reminder: str, ahead: timedelta) -> str:
        starts = datetime.now(UTC) + ahead
        times = {"starts_at": starts.isoformat(), "ends_at": (starts + timedelta(minutes=10)).isoformat()}
        body = {**times, "resource": f"room-{ahead // timedelta(hours=1)}", "title": "Check-up", "patient_id": practice.patient_id}
        appointment = stack.client.call("POST", "/v1/appointments", practice.admin, body).json()

        def begun() -> str | None:
            runs = stack.client.call("GET", "/v1/runs", practice.admin, params={"workflow_id": reminder}).json()["items"]
            return next((run["id"] for run in runs if run["appointment_id"] == appointment["id"]), None)

        run_id: str = stack.client.until("the run", begun)
        return run_id


def test_a_waiting_run_shows_until_when(stack: Stack, practice: Practice, reminder: str) -> None:
    visit = book_for_tomorrow(stack.client, practice, reminder, first_due=FAR)
    seen = waiting_run(stack.client, practice, reminder, visit.appointment_id)
    assert isinstance(seen, Visit)
    assert seen.due_at > datetime.now(UTC) + timedelta(hours=2)
