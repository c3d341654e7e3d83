"""The main job: one booking from Cal.com's signed webhook to e-mails, delivery, timeline and a provable ledger."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from deploy.demo.journey import BOOKED, book, follow, set_up, verify_ledger
from libs.testing.stack import Stack
from tests.e2e.booking import ONE_MAIL, mails_to


class TestOneBooking:
    def test_reaches_the_patient_the_timeline_and_the_ledger(self, stack: Stack, tmp_path: Path) -> None:
        practice = set_up(stack.client, stack.state)
        since = datetime.now(UTC)
        book(stack.client, stack.state, practice)
        hops = list(follow(stack.client, practice, since))
        assert len(hops) == 6
        stack.drained()
        items = stack.client.call("GET", f"/v1/patients/{practice.patient_id}/timeline", practice.admin).json()["items"]
        kinds = [entry["kind"] for entry in items]
        for kind in ("patient-registered", "appointment-booked", "run-started", "email-accepted", "email-status-changed", "run-finished"):
            assert kind in kinds, kinds
        entry, receipt, verdict = verify_ledger(stack.client, practice, BOOKED, tmp_path)
        assert entry["entry"]["fields"] == ["attendee"], "personal data appears by name only"
        assert practice.patient_email not in str(entry)
        assert receipt.startswith("c2sp.org/tlog-proof@v1\n")
        assert verdict.startswith("genuine: ")

    def test_a_confirmed_appointment_gets_no_reminder(self, stack: Stack) -> None:
        practice = set_up(stack.client, stack.state)
        book(stack.client, stack.state, practice)
        found = stack.client.until("the appointment", lambda: stack.client.call("GET", "/v1/appointments", practice.admin).json()["items"])
        stack.client.call("POST", f"/v1/appointments/{found[0]['id']}/confirm", practice.admin)
        run = stack.client.until(
            "the run's end",
            lambda: [r for r in stack.client.call("GET", "/v1/runs", practice.admin).json()["items"] if r["status"] == "completed"],
        )[0]
        steps = stack.client.call("GET", f"/v1/runs/{run['id']}", practice.admin).json()["steps"]
        assert {step["step_id"]: step["status"] for step in steps} == {"intake": "succeeded", "two-hours": "succeeded", "remind": "skipped"}
        stack.drained()
        assert mails_to(stack, [practice.patient_email]).total() == 1


class TestTheSameWebhookFiveTimes:
    def test_makes_one_appointment_and_one_e_mail(self, stack: Stack) -> None:
        practice = set_up(stack.client, stack.state, workflow=ONE_MAIL)
        booked = book(stack.client, stack.state, practice)
        again = stack.client.simulator("calcom", "POST", "resend", {"uid": booked["uid"], "times": 4})
        assert again["statuses"] == [204] * 4
        stack.client.until("the e-mail", lambda: mails_to(stack, [practice.patient_email]).total() == 1)
        stack.drained()
        assert len(stack.client.call("GET", "/v1/appointments", practice.admin).json()["items"]) == 1
        assert len(stack.client.call("GET", "/v1/runs", practice.admin).json()["items"]) == 1
        assert mails_to(stack, [practice.patient_email]).total() == 1


class TestALostAnswer:
    def test_is_unknown_and_not_resent(self, stack: Stack) -> None:
        practice = set_up(stack.client, stack.state, workflow=ONE_MAIL, reports=False)
        stack.client.simulator("sendgrid", "POST", "faults", {"kind": "lose", "times": 1})
        book(stack.client, stack.state, practice)

        def message() -> dict[str, str]:
            items = stack.client.call("GET", "/v1/messages", practice.admin).json()["items"]
            return items[0] if items else {}

        stack.client.until("the unknown outcome", lambda: message().get("effect_state") == "unknown")
        assert mails_to(stack, [practice.patient_email]).total() == 1, "the provider has it, we do not know it"
        stack.client.until("the look-up", lambda: message().get("effect_state") == "confirmed")
        stack.drained()
        assert mails_to(stack, [practice.patient_email]).total() == 1
        assert stack.client.call("GET", "/v1/runs", practice.admin).json()["items"][0]["status"] == "completed"

    def test_a_refusal_fails_the_run_and_says_why(self, stack: Stack) -> None:
        practice = set_up(stack.client, stack.state, workflow=ONE_MAIL, reports=False)
        stack.client.simulator("sendgrid", "POST", "faults", {"kind": "status", "status": 403, "times": 1})
        book(stack.client, stack.state, practice)
        run = stack.client.until(
            "the failed run",
            lambda: [r for r in stack.client.call("GET", "/v1/runs", practice.admin).json()["items"] if r["status"] == "failed"],
        )[0]
        assert run["error_code"] == "provider_status_403"
        assert mails_to(stack, [practice.patient_email]).total() == 0

    def test_a_busy_provider_is_asked_again_and_gets_one(self, stack: Stack) -> None:
        practice = set_up(stack.client, stack.state, workflow=ONE_MAIL, reports=False)
        stack.client.simulator("sendgrid", "POST", "faults", {"kind": "status", "status": 429, "times": 2})
        book(stack.client, stack.state, practice)
        stack.client.until("the e-mail", lambda: mails_to(stack, [practice.patient_email]).total() == 1, within=20)
        stack.drained()
        assert mails_to(stack, [practice.patient_email]).total() == 1


class TestAnUnmatchedBooking:
    def test_finds_its_patient_later_and_the_workflow_runs_then(self, stack: Stack) -> None:
        practice = set_up(stack.client, stack.state, workflow=ONE_MAIL)
        stranger = replace(practice, patient_email="later@patients.example")
        book(stack.client, stack.state, stranger)
        first = stack.client.until("the appointment", lambda: stack.client.call("GET", "/v1/appointments", practice.admin).json()["items"])[
            0
        ]
        assert first["patient_id"] is None
        person = {"given_name": "La", "family_name": "Ter", "email": stranger.patient_email}
        patient = stack.client.call("POST", "/v1/patients", practice.admin, person).json()
        stack.client.until(
            "the match",
            lambda: stack.client.call("GET", f"/v1/appointments/{first['id']}", practice.admin).json()["patient_id"] == patient["id"],
        )
        stack.client.until("the e-mail", lambda: mails_to(stack, [stranger.patient_email]).total() == 1)
        stack.drained()
        assert mails_to(stack, [stranger.patient_email]).total() == 1
