"""What the journeys through workflows share: patients, workflows in force, the runs that come of them, and what became of those."""

from __future__ import annotations

import secrets
from collections import Counter
from typing import Any

from deploy.demo.journey import Practice, set_up
from libs.testing.stack import Stack

BUILT_IN = {
    "send_email", "update_patient", "add_tag", "remove_tag", "add_note", "create_task", "book_appointment", "cancel_appointment",
    "start_call", "http_request", "start_workflow", "stop_workflow",
}  # fmt: skip
MANUAL = {"kind": "manual"}
_ON_THEIR_WAY = {"patient_unknown", "appointment_unknown"}


def act(step: str, action: str, **parameters: Any) -> dict[str, Any]:
    return {"kind": "action", "id": step, "action": action, "parameters": parameters}


def mail(subject: str, step: str = "mail") -> dict[str, Any]:
    return act(step, "send_email", subject=subject, text="Dear {{patient.given_name}}, see you soon.")


def open_practice(stack: Stack) -> Practice:
    """A practice in which every built-in action may be used; nothing starts by itself."""
    quiet = {"name": "By hand", "definition": {"trigger": MANUAL, "steps": [mail("By hand")]}}
    practice = set_up(stack.client, stack.state, workflow=quiet, reports=False)
    stack.client.until("the actions", lambda: {action["name"] for action in items(stack, practice, "/v1/actions")} >= BUILT_IN)
    return practice


def items(stack: Stack, practice: Practice, path: str, **params: Any) -> Any:
    return stack.client.call("GET", path, practice.admin, params=params or None).json()["items"]


def register(stack: Stack, practice: Practice, family: str = "Berg", **fields: Any) -> dict[str, Any]:
    """A patient with an e-mail address nobody else has."""
    email = f"p{secrets.token_hex(5)}@patients.example"
    person = {"given_name": "Jonas", "family_name": family, "email": email, **fields}
    found: dict[str, Any] = stack.client.call("POST", "/v1/patients", practice.admin, person).json()
    return found


def publish(stack: Stack, practice: Practice, name: str, definition: dict[str, Any]) -> str:
    """The id of a workflow in force."""
    saved = stack.client.call("POST", "/v1/workflows", practice.admin, {"name": name, "definition": definition}).json()
    stack.client.call("POST", f"/v1/workflows/{saved['id']}/publish", practice.admin)
    return str(saved["id"])


def start(stack: Stack, practice: Practice, workflow_id: str, **request: Any) -> str:
    """Start by hand, as soon as workflows has heard of whom it is about; returns the run's id."""

    def asked() -> Any:
        answer = stack.client.ask("POST", f"/v1/workflows/{workflow_id}/runs", practice.admin, request)
        if answer.status_code == 422 and answer.json()["code"] in _ON_THEIR_WAY:
            return None
        assert answer.status_code == 201, answer.text
        return answer.json()

    came = stack.client.until("the run by hand", asked)
    assert came["decision"] == "started", came
    return str(came["run_id"])


def run_of(stack: Stack, practice: Practice, run_id: str) -> Any:
    return stack.client.call("GET", f"/v1/runs/{run_id}", practice.admin).json()


def step_of(run: Any, step_id: str) -> Any:
    """The step as the run shows it, empty while it has not come there."""
    return next((step for step in run["steps"] if step["step_id"] == step_id), {})


def ended(stack: Stack, practice: Practice, run_id: str) -> Any:
    return stack.client.until("the run's end", lambda: (run := run_of(stack, practice, run_id))["status"] != "running" and run)


def went_through(stack: Stack, practice: Practice, name: str, *steps: dict[str, Any], **request: Any) -> Any:
    """The run of these steps, started by hand, at its end."""
    workflow_id = publish(stack, practice, name, {"trigger": MANUAL, "steps": list(steps)})
    return ended(stack, practice, start(stack, practice, workflow_id, **request))


def mails_about(stack: Stack, practice: Practice, subject: str) -> Counter[str]:
    """How many e-mails with this subject the provider accepted from the practice, for each address, by its own record."""
    accepted = stack.client.simulator("sendgrid", "GET", "accepted")
    sender = stack.client.call("GET", "/v1/email-settings", practice.admin).json()["sender_email"]
    ours = [line for line in accepted if (line["from"]["email"], line["subject"]) == (sender, subject)]
    return Counter(line["personalizations"][0]["to"][0]["email"] for line in ours)


def said(stack: Stack, practice: Practice, event_type: str) -> int:
    """How often the owner of an event said it about this practice."""
    statement = f"SELECT count(*) FROM {event_type.split('.')[1]}.outbox WHERE practice_id = %s AND type = %s"
    return int(stack.sql(statement, practice.id, event_type)[0][0])
