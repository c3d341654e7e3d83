"""What starts workflows, what holds them, what repeats them and what only tries them: through the gateway and the whole backbone."""

from __future__ import annotations

import json
from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest
from standardwebhooks import Webhook

from deploy.demo.journey import Practice
from libs.contracts import patients
from libs.testing.stack import Stack
from tests.e2e.flows import MANUAL, act, ended, items, mail, mails_about, open_practice, publish, register, start

REGISTERED = {"kind": "event", "event": patients.PatientRegistered.type}


def on_registration(family: str, *steps: dict[str, Any]) -> dict[str, Any]:
    """For patients of one family name, so that no test's patients start another's workflow."""
    return {"trigger": REGISTERED, "condition": f"patient.family_name == '{family}'", "steps": list(steps)}


def call(stack: Stack, practice: Practice, method: str, path: str, body: object = None, **params: Any) -> Any:
    return stack.client.call(method, path, practice.admin, body, params=params or None).json()


def finished_job(stack: Stack, practice: Practice, job_id: str) -> Any:
    path = f"/v1/runs/jobs/{job_id}"
    return stack.client.until("the job's end", lambda: (job := call(stack, practice, "GET", path))["status"] != "running" and job)


@pytest.fixture(scope="module")
def practice(stack: Stack) -> Practice:
    return open_practice(stack)


@pytest.fixture(scope="module", autouse=True)
def ticking(stack: Stack, practice: Practice) -> str:
    """Goes by the clock while the other tests are at it."""
    trigger = {"kind": "schedule", "cron": "* * * * *"}
    return publish(stack, practice, "Every minute", {"trigger": trigger, "steps": [act("task", "create_task", title="Tick")]})


class TestByHand:
    def test_for_one_patient_runs_once(self, stack: Stack, practice: Practice) -> None:
        patient = register(stack, practice)
        workflow = publish(stack, practice, "One", {"trigger": MANUAL, "steps": [mail("One by hand")]})
        run = ended(stack, practice, start(stack, practice, workflow, patient_id=patient["id"]))
        assert (run["status"], run["trigger_type"]) == ("completed", "vantage.workflows.run-requested.v1")
        assert mails_about(stack, practice, "One by hand") == {patient["email"]: 1}

    def test_for_those_a_filter_finds_is_seen_first_and_then_done_as_a_job(self, stack: Stack, practice: Practice) -> None:
        meant = [register(stack, practice, "Filter") for _ in range(3)]
        register(stack, practice, "Filtered")
        workflow = publish(stack, practice, "Many", {"trigger": MANUAL, "steps": [mail("Many by hand")]})
        path, wanted = f"/v1/workflows/{workflow}/runs", {"filter": "patient.family_name == 'Filter'"}
        seen = stack.client.until(
            "the patients", lambda: (found := call(stack, practice, "POST", f"{path}/preview", wanted))["found"] == 3 and found
        )
        assert ({one["id"] for one in seen["first"]}, seen["complete"]) == ({one["id"] for one in meant}, True)
        assert items(stack, practice, "/v1/runs", workflow_id=workflow) == []
        job = finished_job(stack, practice, call(stack, practice, "POST", path, wanted)["job"]["id"])
        assert (job["status"], job["done"], job["failed"]) == ("finished", 3, 0)
        emails = {one["email"]: 1 for one in meant}
        stack.client.until("the e-mails", lambda: mails_about(stack, practice, "Many by hand").total() >= 3)
        stack.drained()
        assert mails_about(stack, practice, "Many by hand") == emails

    def test_for_those_a_saved_filter_finds_as_the_list_shows_them(self, stack: Stack, practice: Practice) -> None:
        meant = {register(stack, practice, "Saved")["id"] for _ in range(2)}
        workflow = publish(stack, practice, "Saved", {"trigger": MANUAL, "steps": [mail("By a saved filter")]})
        block = {"field": "patient.family_name", "operator": "equals", "value": "saved", "ignore_case": True}
        wish = {"name": "Saved", "visibility": "shared", "condition": {"blocks": {"all": [block]}}}
        kept = call(stack, practice, "POST", "/v1/patient-filters", wish)
        assert {one["id"] for one in items(stack, practice, "/v1/patients", saved_filter=kept["id"])} == meant
        path, wanted = f"/v1/workflows/{workflow}/runs", {"saved_filter": kept["id"], "filter_version": 1}

        def previewed() -> bool:
            answer = stack.client.ask("POST", f"{path}/preview", practice.admin, wanted)
            assert answer.status_code == 200 or answer.json()["code"] == "saved_filter_not_yet"
            return answer.status_code == 200 and {one["id"] for one in answer.json()["first"]} == meant

        stack.client.until("the filter and its patients", previewed)
        job = finished_job(stack, practice, call(stack, practice, "POST", path, wanted)["job"]["id"])
        assert (job["done"], job["failed"], job["wish"]["saved_filter"]["name"]) == (2, 0, "Saved")


@pytest.fixture(scope="module")
def address(stack: Stack, practice: Practice) -> tuple[str, Webhook, str]:
    """The gallery's workflow for enquiries, taken over and put in force: where it is called, what signs, and its id."""
    assert "website-enquiry" in {entry["id"] for entry in call(stack, practice, "GET", "/v1/gallery")["items"]}
    values = {"name": "Enquiries", "values": {"title": "An enquiry"}}
    draft = call(stack, practice, "POST", "/v1/gallery/website-enquiry/use", values)
    assert draft["status"] == "draft"
    assert call(stack, practice, "POST", f"/v1/workflows/{draft['id']}/publish")["status"] == "published"
    made = call(stack, practice, "POST", f"/v1/workflows/{draft['id']}/webhook-secret", {})
    return stack.state.gateway + made["path"], Webhook(made["secret"]), draft["id"]


class TestACallFromOutside:
    @staticmethod
    def sent(url: str, hook: Webhook, identifier: str, body: object, *, signed: object = None, ago: timedelta = timedelta()) -> int:
        raw, now = json.dumps(body), datetime.now(UTC) - ago
        signature = hook.sign(identifier, now, json.dumps(signed) if signed is not None else raw)
        stamped = {"webhook-id": identifier, "webhook-timestamp": str(int(now.timestamp())), "webhook-signature": signature}
        headers = {**stamped, "content-type": "application/json"}
        return httpx.post(url, content=raw, headers=headers, trust_env=False).status_code

    def test_starts_one_run_however_often_it_is_sent(self, stack: Stack, practice: Practice, address: tuple[str, Webhook, str]) -> None:
        url, hook, workflow = address
        patient = register(stack, practice)
        body = {"name": "Mia Lang", "message": "Do you have time on Friday?", "patient_id": patient["id"]}
        assert stack.client.until("the first call", lambda: self.sent(url, hook, "msg_1", body) == 204)
        assert [self.sent(url, hook, "msg_1", body) for _ in range(3)] == [204, 204, 204]
        (run,) = items(stack, practice, "/v1/runs", workflow_id=workflow)
        assert ended(stack, practice, run["id"])["status"] == "completed"
        (task,) = items(stack, practice, "/v1/tasks", patient_id=patient["id"])
        assert task["title"] == "An enquiry"
        assert "Mia Lang" in task["text"]
        assert "Do you have time on Friday?" in task["text"]

    def test_that_is_not_signed_with_its_secret_is_answered_like_no_address(
        self, stack: Stack, practice: Practice, address: tuple[str, Webhook, str]
    ) -> None:
        url, hook, workflow = address
        before = len(items(stack, practice, "/v1/runs", workflow_id=workflow))
        stranger = Webhook("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
        assert self.sent(url, stranger, "msg_2", {"name": "Nobody"}) == 404
        assert self.sent(url, hook, "msg_3", {"name": "Changed"}, signed={"name": "Signed"}) == 404
        assert self.sent(url, hook, "msg_5", {"name": "Late"}, ago=timedelta(minutes=10)) == 404
        assert httpx.post(url, json={"name": "Unsigned"}, trust_env=False).status_code == 404
        elsewhere = url.replace(workflow, practice.workflow_id)
        assert self.sent(elsewhere, hook, "msg_4", {"name": "Elsewhere"}) == 404
        assert len(items(stack, practice, "/v1/runs", workflow_id=workflow)) == before

    def test_counts_with_the_secret_before_only_while_it_is_left_to(
        self, stack: Stack, practice: Practice, address: tuple[str, Webhook, str]
    ) -> None:
        url, first, workflow = address
        before = len(items(stack, practice, "/v1/runs", workflow_id=workflow))
        path = f"/v1/workflows/{workflow}/webhook-secret"
        second = Webhook(call(stack, practice, "POST", path, {"overlap_hours": 1})["secret"])
        assert [self.sent(url, hook, "msg_6", {"name": "Either"}) for hook in (first, second)] == [204, 204]
        third = Webhook(call(stack, practice, "POST", path, {"overlap_hours": 0})["secret"])
        assert [self.sent(url, hook, "msg_7", {"name": "The last"}) for hook in (first, second, third)] == [404, 404, 204]
        assert len(items(stack, practice, "/v1/runs", workflow_id=workflow)) == before + 2
        assert "secret" not in {name for name, value in call(stack, practice, "GET", path).items() if value}


class TestAPausedWorkflow:
    def test_holds_its_backlog_and_lets_go_of_it(self, stack: Stack, practice: Practice) -> None:
        workflow = publish(stack, practice, "Held", on_registration("Held", mail("After the pause")))
        assert call(stack, practice, "POST", f"/v1/workflows/{workflow}/pause")["paused"] is True
        people = [register(stack, practice, "Held") for _ in range(3)]
        path = f"/v1/workflows/{workflow}/backlog"
        held = stack.client.until("the backlog", lambda: (found := call(stack, practice, "GET", path))["held"] == 3 and found)
        assert (held["paused"], held["oldest"] is not None) == (True, True)
        stack.drained()
        runs = items(stack, practice, "/v1/runs", workflow_id=workflow)
        assert [(run["status"], run["held"]) for run in runs] == [("running", True)] * 3
        assert mails_about(stack, practice, "After the pause") == {}
        call(stack, practice, "POST", f"/v1/workflows/{workflow}/resume")
        stack.client.until("the e-mails", lambda: mails_about(stack, practice, "After the pause").total() >= 3)
        stack.drained()
        assert mails_about(stack, practice, "After the pause") == {one["email"]: 1 for one in people}
        left = call(stack, practice, "GET", path)
        assert (left["paused"], left["held"]) == (False, 0)

        def statuses() -> Counter[str]:
            return Counter(run["status"] for run in items(stack, practice, "/v1/runs", workflow_id=workflow))

        stack.client.until("the runs' end", lambda: statuses() == {"completed": 3})


class TestWhatFailedAlike:
    def test_is_found_by_its_fingerprint_and_tried_again_together(self, stack: Stack, practice: Practice) -> None:
        workflow = publish(stack, practice, "Broken", on_registration("Broken", mail("At last")))
        stack.drained()
        stack.client.simulator("sendgrid", "POST", "faults", {"kind": "status", "status": 403, "times": 3})
        people = [register(stack, practice, "Broken") for _ in range(3)]

        def groups() -> Any:
            return call(stack, practice, "GET", "/v1/runs/failures", workflow_id=workflow)["items"]

        (group,) = stack.client.until("the failures", lambda: (found := groups()) and found[0]["count"] == 3 and found)
        assert (group["failed_step"], group["error_code"]) == ("mail", "provider_status_403")
        assert mails_about(stack, practice, "At last") == {}
        alike = {name: group[name] for name in ("workflow_id", "failed_step", "error_code")}
        wish = {"verb": "retry", "fingerprint": alike}
        assert call(stack, practice, "POST", "/v1/runs/bulk/preview", wish)["found"] == 3
        job = finished_job(stack, practice, call(stack, practice, "POST", "/v1/runs/bulk", wish)["id"])
        assert (job["status"], job["done"], job["failed"]) == ("finished", 3, 0)
        stack.client.until("the e-mails", lambda: mails_about(stack, practice, "At last").total() >= 3)
        stack.drained()
        assert mails_about(stack, practice, "At last") == {one["email"]: 1 for one in people}
        assert groups() == []


class TestManyRunsAtOnce:
    def test_are_paused_resumed_and_cancelled_by_a_filter(self, stack: Stack, practice: Practice) -> None:
        waiting = {"kind": "wait", "id": "long", "duration": "P2D"}
        workflow = publish(stack, practice, "Bulk", {"trigger": MANUAL, "steps": [waiting, mail("Bulk")]})
        for _ in range(3):
            start(stack, practice, workflow, patient_id=register(stack, practice)["id"])

        def done(verb: str) -> set[tuple[str, bool]]:
            wish = {"verb": verb, "filter": {"workflow_id": workflow}}
            job = finished_job(stack, practice, call(stack, practice, "POST", "/v1/runs/bulk", wish)["id"])
            assert (job["total"], job["done"], job["failed"]) == (3, 3, 0), job
            return {(run["status"], run["paused"]) for run in items(stack, practice, "/v1/runs", workflow_id=workflow)}

        assert done("pause") == {("running", True)}
        assert done("resume") == {("running", False)}
        assert done("cancel") == {("cancelled", False)}
        assert mails_about(stack, practice, "Bulk") == {}


class TestWhyAndWhyNot:
    def test_each_workflow_is_said_with_the_value_of_its_condition(self, stack: Stack, practice: Practice) -> None:
        yes = publish(stack, practice, "Why", on_registration("Why", act("tag", "add_tag", tag="asked")))
        no = publish(stack, practice, "Why not", on_registration("Whynot", mail("Why not")))
        patient = register(stack, practice, "Why")

        def explained() -> Any:
            found = call(stack, practice, "GET", "/v1/workflows/explanations", patient_id=patient["id"])["items"]
            return next((one for one in found if one["type"] == patients.PatientRegistered.type), None)

        event = stack.client.until("the explanation", explained)
        considered = {one["workflow_id"]: one for one in event["workflows"]}
        assert considered[yes]["verdict"] == "started"
        (run,) = considered[yes]["runs"]
        assert ended(stack, practice, run["id"])["patient_id"] == patient["id"]
        assert (considered[no]["verdict"], considered[no]["runs"]) == ("filtered", [])
        (reason,) = considered[no]["filter"]
        assert (reason["text"], reason["value"]) == ("patient.family_name == 'Whynot'", False)
        assert {"text": "patient.family_name", "value": "Why"}.items() <= reason["parts"][0].items()
        assert considered[practice.workflow_id]["verdict"] == "other_trigger"

    def test_a_suppressed_patient_goes_through_none(self, stack: Stack, practice: Practice) -> None:
        trigger = {"kind": "event", "event": patients.PatientTagged.type}
        condition = "event.tag == 'suppress me'"
        workflow = publish(stack, practice, "Tagged", {"trigger": trigger, "condition": condition, "steps": [mail("Suppressed")]})
        patient = register(stack, practice, "Suppressed")
        path = f"/v1/workflows/suppressions/{patient['id']}"
        stack.client.until("the suppression", lambda: stack.client.ask("PUT", path, practice.admin, {"reason": "asked"}).is_success)
        call(stack, practice, "POST", f"/v1/patients/{patient['id']}/tags", {"tag": "suppress me"})

        def verdict() -> Any:
            found = call(stack, practice, "GET", "/v1/workflows/explanations", patient_id=patient["id"])["items"]
            tagged = [one for one in found if one["type"] == patients.PatientTagged.type]
            return tagged and next(one["verdict"] for one in tagged[0]["workflows"] if one["workflow_id"] == workflow)

        assert stack.client.until("the explanation", verdict) == "suppressed"
        assert mails_about(stack, practice, "Suppressed") == {}


class TestOnlyTrying:
    def test_a_dry_run_shows_the_path_and_does_nothing(self, stack: Stack, practice: Practice) -> None:
        steps = [mail("Dry"), {"kind": "wait", "id": "week", "duration": "P7D"}, act("tag", "add_tag", tag="dry")]
        workflow = publish(stack, practice, "Dry", on_registration("Dry", *steps))
        before = len(stack.client.simulator("sendgrid", "GET", "accepted"))
        asked = {"patient": {"given_name": "Jonas", "family_name": "Dry", "email": "dry@patients.example"}}
        shown = call(stack, practice, "POST", f"/v1/workflows/{workflow}/dry-run", asked)
        assert (shown["verdict"], shown["status"]) == ("started", "completed"), shown
        steps_asked = [(one["step_id"], one["action"]) for one in shown["path"] if one["what"] == "asked"]
        assert steps_asked == [("mail", "send_email"), ("tag", "add_tag")]
        first, last = (datetime.fromisoformat(one["at"]) for one in shown["path"] if one["what"] == "asked")
        assert (last - first).days == 7
        filtered = call(stack, practice, "POST", f"/v1/workflows/{workflow}/dry-run", {"patient": {"family_name": "Wet"}})
        assert (filtered["verdict"], filtered["path"]) == ("filtered", [])
        stack.drained()
        assert len(stack.client.simulator("sendgrid", "GET", "accepted")) == before
        assert items(stack, practice, "/v1/runs", workflow_id=workflow) == []

    def test_a_backtest_compares_the_draft_with_what_is_published(self, stack: Stack, practice: Practice) -> None:
        definition = on_registration("Backtest", mail("Published"))
        workflow = publish(stack, practice, "Backtested", definition)
        people = [register(stack, practice, "Backtest") for _ in range(2)]
        stack.client.until("the e-mails", lambda: mails_about(stack, practice, "Published").total() == 2)
        draft = {"name": "Backtested", "definition": {**definition, "steps": [mail("Draft"), act("tag", "add_tag", tag="new")]}}
        call(stack, practice, "PUT", f"/v1/workflows/{workflow}", draft)
        asked = call(stack, practice, "POST", f"/v1/workflows/{workflow}/backtests", {"days": 1})
        path = f"/v1/backtests/{asked['id']}"
        ready = ("done", "failed", "cancelled")
        done = stack.client.until("the backtest", lambda: (found := call(stack, practice, "GET", path))["status"] in ready and found, 60)
        assert (done["status"], done["progress"], done["compared_version"]) == ("done", 1.0, 1), done
        result = done["result"]
        assert (result["draft"]["verdicts"]["started"], result["compared"]["verdicts"]["started"]) == (2, 2)
        assert result["differences"] == {"different_parameters": 2, "only_in_draft": 2}
        assert {one["action"]: one["count"] for one in result["draft"]["actions"]} == {"send_email": 2, "add_tag": 2}
        stack.drained()
        assert mails_about(stack, practice, "Draft") == {}
        assert mails_about(stack, practice, "Published") == {one["email"]: 1 for one in people}


class TestAWorkflowAsAFile:
    def test_comes_back_as_it_went_out(self, stack: Stack, practice: Practice) -> None:
        branch = {
            "kind": "branch", "id": "which", "cases": [{"when": "patient.phone != null", "steps": [act("call", "start_call")]}],
            "otherwise": [mail("No phone")],
        }  # fmt: skip
        definition = {**on_registration("File", branch), "enrolment": {"policy": "once", "again_after": "P30D"}}
        workflow = publish(stack, practice, "A file", definition)

        def exported(workflow_id: str) -> str:
            return stack.client.call("GET", f"/v1/workflows/{workflow_id}/export", practice.admin).text

        text = exported(workflow)
        assert "patient.phone != null" in text
        came = call(stack, practice, "POST", "/v1/workflows/import", {"yaml": text})
        assert came["id"] != workflow
        assert (came["name"], came["status"]) == ("A file", "draft")
        assert came["definition"] == call(stack, practice, "GET", f"/v1/workflows/{workflow}")["definition"]
        assert exported(came["id"]) == text
        assert call(stack, practice, "POST", f"/v1/workflows/{came['id']}/publish")["status"] == "published"


class TestBySchedule:
    def test_a_run_a_minute_and_a_task_a_run(self, stack: Stack, practice: Practice, ticking: str) -> None:
        def come() -> Any:
            return items(stack, practice, "/v1/runs", workflow_id=ticking)

        stack.client.until("a minute", come, within=70)
        call(stack, practice, "POST", f"/v1/workflows/{ticking}/unpublish")
        runs = stack.client.until(
            "the runs' end", lambda: (found := come()) and {run["status"] for run in found} == {"completed"} and found
        )
        stack.drained()
        minutes = [run["started_at"][:16] for run in runs]
        assert len(set(minutes)) == len(minutes), minutes
        ticks = [task["run_id"] for task in items(stack, practice, "/v1/tasks") if task["title"] == "Tick"]
        assert sorted(ticks) == sorted(run["id"] for run in runs)
