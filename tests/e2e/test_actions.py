"""Each built-in action through the gateway and the whole backbone: what a step asks for is there where it belongs, once."""

from __future__ import annotations

import secrets
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from deploy.demo.journey import Practice
from libs.contracts import notifications, patients, scheduling
from libs.testing.receiver import Receiver
from libs.testing.stack import Stack
from tests.e2e.booking import silent_runs
from tests.e2e.flows import (
    MANUAL,
    act,
    ended,
    items,
    mail,
    mails_about,
    open_practice,
    publish,
    register,
    run_of,
    said,
    start,
    step_of,
    went_through,
)


@pytest.fixture(scope="module")
def practice(stack: Stack) -> Practice:
    return open_practice(stack)


class TestThePatientsRecord:
    def test_gets_and_loses_tags(self, stack: Stack, practice: Practice) -> None:
        patient = register(stack, practice)
        steps = [act("recall", "add_tag", tag="Recall"), act("again", "add_tag", tag="recall"), act("vip", "add_tag", tag="VIP")]
        run = went_through(stack, practice, "Tags", *steps, act("off", "remove_tag", tag="vip"), patient_id=patient["id"])
        assert run["status"] == "completed", run
        assert [step["output"].get("added", step["output"].get("removed")) for step in run["steps"]] == [True, False, True, True]
        (tag,) = stack.client.call("GET", f"/v1/patients/{patient['id']}/tags", practice.admin).json()
        assert (tag["name"], tag["added_by"]) == ("Recall", f"run:{run['id']}")
        assert (said(stack, practice, patients.PatientTagged.type), said(stack, practice, patients.PatientUntagged.type)) == (2, 1)

    def test_gets_a_note_in_the_patients_name(self, stack: Stack, practice: Practice) -> None:
        patient = register(stack, practice, given_name="Ilse")
        step = act("note", "add_note", text="{{patient.given_name}} was asked about {{event.values.what}}.")
        run = went_through(stack, practice, "Note", step, patient_id=patient["id"], values={"what": "her allergies"})
        assert run["status"] == "completed", run
        (note,) = items(stack, practice, f"/v1/patients/{patient['id']}/notes")
        assert (note["text"], note["added_by"]) == ("Ilse was asked about her allergies.", f"run:{run['id']}")
        assert note["id"] == step_of(run, "note")["output"]["note_id"]

    def test_changes_where_a_step_says_so(self, stack: Stack, practice: Practice) -> None:
        patient = register(stack, practice, phone="+491701234567")
        step = act("move", "update_patient", family_name="Berg-Roth", time_zone="Europe/Lisbon")
        run = went_through(stack, practice, "Record", step, patient_id=patient["id"])
        assert run["status"] == "completed", run
        found = stack.client.call("GET", f"/v1/patients/{patient['id']}", practice.admin).json()
        kept = [found[name] for name in ("given_name", "family_name", "time_zone", "phone", "email")]
        assert kept == ["Jonas", "Berg-Roth", "Europe/Lisbon", "+491701234567", patient["email"]]
        assert said(stack, practice, patients.PatientUpdated.type) == 1


class TestATask:
    def test_is_on_the_staffs_list_until_somebody_completes_it(self, stack: Stack, practice: Practice) -> None:
        patient = register(stack, practice)
        step = act("task", "create_task", title="Call back", text="Ask {{patient.given_name}}.", role="regular_user", due_in_hours=4)
        run = went_through(stack, practice, "Task", step, patient_id=patient["id"])
        assert run["status"] == "completed", run
        (task,) = items(stack, practice, "/v1/tasks", patient_id=patient["id"])
        assert (task["text"], task["assignee_role"], task["run_id"]) == ("Ask Jonas.", "regular_user", run["id"])
        assert task["due_at"] is not None
        done = stack.client.call("POST", f"/v1/tasks/{task['id']}/complete", practice.admin).json()
        assert done["completed_at"] is not None
        assert items(stack, practice, "/v1/tasks", patient_id=patient["id"], status="open") == []


class TestARequestToAnOutsideSystem:
    @pytest.fixture
    def receiver(self) -> Iterator[Receiver]:
        receiver = Receiver()
        yield receiver
        receiver.close()

    def test_reaches_nothing_inside_the_house(self, stack: Stack, practice: Practice, receiver: Receiver) -> None:
        inside = [receiver.url, receiver.url.replace("http:", "https:"), "https://localhost/hook", stack.state.http("sendgrid")]
        filled = [f"{{{{ '{url}' }}}}" for url in inside]  # written out it would be refused when it is published
        steps = [act(f"ask-{n}", "http_request", url=url, body={"n": n}) | {"on_error": "skip"} for n, url in enumerate(filled)]
        run = went_through(stack, practice, "Requests", *steps, patient_id=register(stack, practice)["id"])
        assert [step["status"] for step in run["steps"]] == ["failed"] * len(inside)
        assert {step["error_code"] for step in run["steps"]} <= {"url_refused", "address_refused"}
        assert receiver.requests == []


class TestAnAppointment:
    STARTS = datetime(2030, 1, 7, 9, 0, tzinfo=UTC)
    BOOK = act(
        "book", "book_appointment", resource="room-actions", title="Check-up", starts_at="{{event.values.starts_at}}",
        time_zone="Europe/Berlin",
    )  # fmt: skip

    def test_is_booked_and_a_time_that_is_taken_takes_the_way_of_errors(self, stack: Stack, practice: Practice) -> None:
        first, second = register(stack, practice), register(stack, practice)
        staff = act("task", "create_task", title="Find another time", text="{{ steps.book.error_code }}")
        behind = act("note", "add_note", text="Went on: {{ steps.book.outcome }}")
        rescued = {**self.BOOK, "on_error": "branch", "error_steps": [staff]}
        workflow = publish(stack, practice, "Booking", {"trigger": MANUAL, "steps": [rescued, behind]})
        request = {"values": {"starts_at": "2030-01-07T10:00:00"}}
        booked = ended(stack, practice, start(stack, practice, workflow, patient_id=first["id"], **request))
        assert [step["step_id"] for step in booked["steps"]] == ["book", "note"], booked
        (appointment,) = items(stack, practice, "/v1/appointments", patient_id=first["id"])
        assert datetime.fromisoformat(appointment["starts_at"]) == self.STARTS
        assert appointment["id"] == step_of(booked, "book")["output"]["appointment_id"]
        refused = ended(stack, practice, start(stack, practice, workflow, patient_id=second["id"], **request))
        assert refused["status"] == "completed", refused
        assert step_of(refused, "book")["error_code"] == "slot_taken"
        assert [task["text"] for task in items(stack, practice, "/v1/tasks", patient_id=second["id"])] == ["slot_taken"]
        assert [note["text"] for note in items(stack, practice, f"/v1/patients/{second['id']}/notes")] == ["Went on: failed"]
        assert items(stack, practice, "/v1/appointments", patient_id=second["id"]) == []

    def test_is_cancelled_for_the_run_about_it(self, stack: Stack, practice: Practice) -> None:
        patient = register(stack, practice)
        starts = self.STARTS + timedelta(days=1)
        times = {"starts_at": starts.isoformat(), "ends_at": (starts + timedelta(minutes=30)).isoformat()}
        body = {**times, "resource": "room-actions", "title": "Check-up", "patient_id": patient["id"]}
        appointment = stack.client.call("POST", "/v1/appointments", practice.admin, body).json()
        before = said(stack, practice, scheduling.AppointmentCancelled.type)
        steps = [act(step, "cancel_appointment", appointment_id="{{appointment.id}}", reason="moved away") for step in ("once", "twice")]
        run = went_through(stack, practice, "Cancel", *steps, patient_id=patient["id"], appointment_id=appointment["id"])
        assert [step["output"]["was_cancelled_already"] for step in run["steps"]] == [False, True], run
        found = stack.client.call("GET", f"/v1/appointments/{appointment['id']}", practice.admin).json()
        assert found["status"] == "cancelled"
        assert said(stack, practice, scheduling.AppointmentCancelled.type) == before + 1


@pytest.fixture(scope="module")
def calcom_key(stack: Stack, practice: Practice) -> str:
    """The practice's account at Cal.com, with an event type whose time nobody else takes."""
    key, event_type = f"cal_live_{secrets.token_hex(16)}", 1000 + secrets.randbelow(10**8)
    hears_of(stack, practice, key)
    stack.client.call("PUT", "/v1/calcom-settings", practice.admin, {"api_key": key, "event_type_id": event_type})
    return key


def hears_of(stack: Stack, practice: Practice, key: str, *, webhooks: bool = True) -> None:
    """Whether the practice is told of bookings made with its key."""
    url = f"{stack.state.gateway}/webhooks/calcom/{practice.id}" if webhooks else None
    stack.client.simulator("calcom", "POST", "webhook", {"key": key, "url": url, "secret": practice.calcom_secret})


def booked_by(stack: Stack, key: str, email: str) -> list[Any]:
    """The bookings made with a key for an attendee, by Cal.com's own record."""
    accepted = stack.client.simulator("calcom", "GET", "accepted")
    return [line for line in accepted if (line["key"], line["attendee"]["email"]) == (key, email)]


class TestABookingAtCalcom:
    def book(self, hour: int) -> dict[str, Any]:
        return act("book", "book_appointment", title="Check-up", starts_at=f"2030-02-04T{hour:02}:00:00", time_zone="Europe/Berlin")

    def test_is_made_there_by_one_workflow_and_cancelled_by_another(self, stack: Stack, practice: Practice, calcom_key: str) -> None:
        patient = register(stack, practice, time_zone="Europe/Lisbon")
        run = went_through(stack, practice, "Book there", self.book(9), patient_id=patient["id"])
        assert run["status"] == "completed", run
        (taken,) = booked_by(stack, calcom_key, patient["email"])
        assert (taken["start"], taken["attendee"]["name"], taken["attendee"]["timeZone"]) == (
            "2030-02-04T08:00:00Z", "Jonas Berg", "Europe/Lisbon",
        )  # fmt: skip
        assert taken["metadata"] == {"vantage_effect": step_of(run, "book")["effect_key"]}
        (appointment,) = items(stack, practice, "/v1/appointments", patient_id=patient["id"])
        assert (appointment["id"], appointment["external_id"]) == (step_of(run, "book")["output"]["appointment_id"], taken["uid"])
        again = stack.client.simulator("calcom", "POST", "resend", {"uid": taken["uid"], "times": 3})
        assert again["statuses"] == [204, 204, 204]
        step = act("cancel", "cancel_appointment", appointment_id="{{appointment.id}}", reason="moved away")
        ended_run = went_through(stack, practice, "Cancel there", step, patient_id=patient["id"], appointment_id=appointment["id"])
        assert step_of(ended_run, "cancel")["output"] == {"appointment_id": appointment["id"], "was_cancelled_already": False}, ended_run
        (taken,) = booked_by(stack, calcom_key, patient["email"])
        assert (taken["status"], taken["reason"]) == ("cancelled", "moved away")
        (appointment,) = items(stack, practice, "/v1/appointments", patient_id=patient["id"])
        assert appointment["status"] == "cancelled"

    def test_of_which_neither_answer_nor_webhook_comes_is_unknown_then_looked_up(
        self, stack: Stack, practice: Practice, calcom_key: str
    ) -> None:
        patient = register(stack, practice)
        workflow = publish(stack, practice, "Lost booking", {"trigger": MANUAL, "steps": [self.book(11)]})
        hears_of(stack, practice, calcom_key, webhooks=False)
        stack.client.simulator("calcom", "POST", "faults", {"kind": "lose", "times": 1})
        run_id = start(stack, practice, workflow, patient_id=patient["id"])
        stack.client.until("the doubt", lambda: step_of(run_of(stack, practice, run_id), "book").get("status") == "unknown")
        run = ended(stack, practice, run_id)
        hears_of(stack, practice, calcom_key)
        (taken,) = booked_by(stack, calcom_key, patient["email"])
        (appointment,) = items(stack, practice, "/v1/appointments", patient_id=patient["id"])
        assert (run["status"], appointment["external_id"]) == ("completed", taken["uid"])
        assert step_of(run, "book")["output"]["appointment_id"] == appointment["id"]

    def test_of_a_taken_time_fails_with_its_code(self, stack: Stack, practice: Practice, calcom_key: str) -> None:
        first, second = register(stack, practice), register(stack, practice)
        workflow = publish(stack, practice, "Taken there", {"trigger": MANUAL, "steps": [self.book(13)]})
        runs = [ended(stack, practice, start(stack, practice, workflow, patient_id=one["id"])) for one in (first, second)]
        assert [(run["status"], run["error_code"]) for run in runs] == [("completed", None), ("failed", "slot_taken")]
        assert booked_by(stack, calcom_key, second["email"]) == []


@pytest.fixture(scope="module")
def number(stack: Stack, practice: Practice) -> str:
    """The number the practice calls from; Retell reports about its calls when it is told to."""
    key, number = f"key_{secrets.token_hex(16)}", f"+4930{secrets.randbelow(10**7):07}"
    stack.client.call("PUT", "/v1/retell-settings", practice.admin, {"api_key": key, "from_number": number, "agent_id": "agent_desk"})
    hook = {"url": f"{stack.state.gateway}/webhooks/retell/{practice.id}", "key": key, "number": number, "automatic": False}
    stack.client.simulator("retell", "POST", "webhook", hook)
    return number


def dialled(stack: Stack, number: str, to: str) -> list[Any]:
    """The calls from one number to another that Retell accepted, by its own record."""
    accepted = stack.client.simulator("retell", "GET", "accepted")
    return [line for line in accepted if (line["from_number"], line["to_number"]) == (number, to)]


class TestACall:
    CALL = act("call", "start_call", variables={"name": "{{patient.given_name}}"})

    def test_is_asked_for_once_and_follows_what_is_reported(self, stack: Stack, practice: Practice, number: str) -> None:
        patient = register(stack, practice, phone="+491701000001")
        run = went_through(stack, practice, "Call", self.CALL, patient_id=patient["id"])
        assert run["status"] == "completed", run
        (taken,) = dialled(stack, number, patient["phone"])
        assert taken["retell_llm_dynamic_variables"] == {"name": "Jonas"}
        assert taken["idempotency_key"] == step_of(run, "call")["effect_key"]

        def told(event: str, **more: Any) -> Any:
            return stack.client.simulator("retell", "POST", "report", {"call_id": taken["call_id"], "event": event, **more})["statuses"]

        def call() -> Any:
            (listed,) = items(stack, practice, "/v1/calls", patient_id=patient["id"])
            return stack.client.call("GET", f"/v1/calls/{listed['id']}", practice.admin).json()

        assert call()["external_id"] == taken["call_id"]
        assert told("call_started", signed_at=int(time.time() * 1000) - 3_600_000) == [401], "signed an hour ago"
        assert call()["status"] == "registered"
        assert told("call_started", times=2) == [204, 204]
        assert call()["status"] == "ongoing"
        assert told("call_ended", times=3) == [204, 204, 204]
        assert told("call_analyzed") == [204]
        assert (call()["status"], call()["summary"]) == ("ended", "The patient confirmed the visit.")
        assert said(stack, practice, scheduling.CallEnded.type) == 1

    def test_whose_answer_was_lost_is_unknown_then_looked_up_and_not_asked_for_again(
        self, stack: Stack, practice: Practice, number: str
    ) -> None:
        patient = register(stack, practice, phone="+491701000002")
        workflow = publish(stack, practice, "Lost call", {"trigger": MANUAL, "steps": [self.CALL]})
        stack.client.simulator("retell", "POST", "faults", {"kind": "lose", "times": 1})
        run_id = start(stack, practice, workflow, patient_id=patient["id"])
        stack.client.until("the doubt", lambda: step_of(run_of(stack, practice, run_id), "call").get("status") == "unknown")
        (taken,) = dialled(stack, number, patient["phone"])
        run = ended(stack, practice, run_id)
        assert (run["status"], step_of(run, "call")["output"]["external_id"]) == ("completed", taken["call_id"])
        assert dialled(stack, number, patient["phone"]) == [taken]

    def test_to_nobody_fails_with_its_code(self, stack: Stack, practice: Practice, number: str) -> None:
        run = went_through(stack, practice, "No phone", self.CALL, patient_id=register(stack, practice)["id"])
        assert (run["status"], run["error_code"], run["failed_step"]) == ("failed", "patient_has_no_phone", "call")
        assert number


class TestAProviderThatIsBusy:
    def test_is_asked_again_and_takes_one(self, stack: Stack, practice: Practice, number: str) -> None:
        patient = register(stack, practice, phone="+491701000003")
        for provider in ("sendgrid", "retell"):
            stack.client.simulator(provider, "POST", "faults", {"kind": "status", "status": 503, "times": 1})
        run = went_through(stack, practice, "Busy", mail("Busy"), TestACall.CALL, patient_id=patient["id"])
        assert run["status"] == "completed", run
        assert mails_about(stack, practice, "Busy") == {patient["email"]: 1}
        assert len(dialled(stack, number, patient["phone"])) == 1
        assert said(stack, practice, notifications.EmailAccepted.type) == 1


class TestAWaitForWhatAnActionCauses:
    def test_sees_it_whether_it_comes_before_the_wait_or_after(self, stack: Stack, practice: Practice) -> None:
        patient = register(stack, practice)
        tagged = {"event": patients.PatientTagged.type, "when": "event.tag == 'waited for'"}
        wait = {"kind": "wait_for", "id": "seen", "events": [tagged], "look_back": "PT1M", "timeout": "PT1M"}
        told = act("note", "add_note", text="{{ steps.seen.outcome }}: {{ steps.seen.event.tag }}")
        run = went_through(stack, practice, "Wait", act("tag", "add_tag", tag="waited for"), wait, told, patient_id=patient["id"])
        assert run["status"] == "completed", run
        assert [note["text"] for note in items(stack, practice, f"/v1/patients/{patient['id']}/notes")] == ["event: waited for"]


class TestAnotherWorkflow:
    def test_is_started_for_the_same_patient_with_values(self, stack: Stack, practice: Practice) -> None:
        patient = register(stack, practice)
        second = publish(stack, practice, "Second", {"trigger": MANUAL, "steps": [act("note", "add_note", text="{{event.values.why}}")]})
        step = act("go", "start_workflow", workflow_id=second, values={"why": "for {{patient.given_name}}"})
        run = went_through(stack, practice, "First", step, patient_id=patient["id"])
        came = step_of(run, "go")["output"]
        assert came["decision"] == "started", run
        assert ended(stack, practice, came["run_id"])["status"] == "completed"
        assert [note["text"] for note in items(stack, practice, f"/v1/patients/{patient['id']}/notes")] == ["for Jonas"]
        assert [found["id"] for found in items(stack, practice, "/v1/runs", workflow_id=second)] == [came["run_id"]]

    def test_is_stopped_for_this_patient_alone(self, stack: Stack, practice: Practice) -> None:
        patient, other = register(stack, practice), register(stack, practice)
        waiting = {"kind": "wait", "id": "long", "duration": "P2D"}
        long = publish(stack, practice, "Long", {"trigger": MANUAL, "steps": [waiting, mail("Never")]})
        theirs, others = (start(stack, practice, long, patient_id=one["id"]) for one in (patient, other))
        run = went_through(stack, practice, "Stop", act("stop", "stop_workflow", workflow_id=long), patient_id=patient["id"])
        assert step_of(run, "stop")["output"] == {"stopped": 1}, run
        assert ended(stack, practice, theirs)["status"] == "cancelled"
        assert run_of(stack, practice, others)["status"] == "running"


def test_everything_was_said_and_entered(stack: Stack, practice: Practice) -> None:
    stack.drained()
    compared = stack.reconcile()
    assert compared.returncode == 0, compared.stdout + compared.stderr
    assert silent_runs(stack) == []
    assert said(stack, practice, patients.PatientTagged.type) == 3
