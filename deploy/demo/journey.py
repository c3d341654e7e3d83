"""Setting a practice up, and following one booking through the house."""

from __future__ import annotations

import secrets
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from deploy.demo.client import Client, DemoFailed, Person
from deploy.native.state import ROOT, State
from libs.common.clock import utc_now

BOOKED = "vantage.scheduling.appointment-booked.v1"
WAIT_SECONDS = 3


@dataclass(frozen=True)
class Practice:
    """One practice ready to work."""

    id: str
    name: str
    admin: str
    patient_id: str
    patient_email: str
    workflow_id: str
    calcom_secret: str
    person: Person


@dataclass(frozen=True)
class Hop:
    """Something that happened on the way: what, its id, when (milliseconds after the booking)."""

    what: str
    id: str
    milliseconds: float


def intake_workflow(wait_seconds: int = WAIT_SECONDS) -> dict[str, Any]:
    """“When an appointment is booked and the patient has an e-mail: send the intake e-mail; later, if still unconfirmed, remind.”"""
    return {
        "name": "Intake and reminder",
        "definition": {
            "trigger": {"event": BOOKED},
            "condition": "patient.email != null",
            "steps": [
                {
                    "kind": "action",
                    "id": "intake",
                    "action": "send_email",
                    "parameters": {
                        "subject": "Before your visit",
                        "text": "Dear {{patient.given_name}},\n\nwe look forward to seeing you on {{appointment.starts_at}}.\n"
                        "Please fill in the intake form before you come.\n\n{{practice.name}}",
                    },
                },
                {"kind": "wait", "id": "two-hours", "duration": f"PT{wait_seconds}S"},
                {
                    "kind": "action",
                    "id": "remind",
                    "action": "send_email",
                    "when": "appointment.status == 'booked'",
                    "parameters": {
                        "subject": "Please confirm your visit",
                        "text": "Dear {{patient.given_name}},\n\nplease confirm your appointment.\n\n{{practice.name}}",
                    },
                },
            ],
        },
    }


def set_up(client: Client, state: State, *, workflow: dict[str, Any] | None = None, reports: bool = True) -> Practice:
    """A practice with an admin, a colleague, a patient, Cal.com, e-mail and a published workflow.

    ``reports`` False: SendGrid is not told where to send its delivery reports.
    """
    mark = secrets.token_hex(3)
    name = f"Practice at the Lake {mark}"
    people = [
        {"name": "Ada Kim", "email": f"ada.{mark}@practice.example", "role": "practice_admin"},
        {"name": "Ben Roth", "email": f"ben.{mark}@practice.example", "role": "regular_user"},
    ]
    body = {"name": name, "time_zone": "Europe/Berlin", "users": people}
    created = client.call("POST", "/v1/practices", client.vantage_admin().token, body).json()
    person = client.accept(people[0]["email"])
    token = person.token
    email = f"jonas.{mark}@berg.example"
    patient = {"given_name": "Jonas", "family_name": "Berg", "email": email, "phone": "+49 170 1234567"}
    patient_id = client.call("POST", "/v1/patients", token, patient).json()["id"]
    secret = secrets.token_urlsafe(24)
    client.call("PUT", "/v1/calcom-settings", token, {"webhook_secret": secret})
    _configure_email(client, state, token, created["id"], mark, reports=reports)
    client.until(
        "the action catalogue",
        lambda: {"send_email"} <= {action["name"] for action in client.call("GET", "/v1/actions", token).json()["items"]},
    )
    saved = client.call("POST", "/v1/workflows", token, workflow or intake_workflow()).json()
    client.call("POST", f"/v1/workflows/{saved['id']}/publish", token)
    return Practice(created["id"], name, token, patient_id, email, saved["id"], secret, person)


def _configure_email(client: Client, state: State, token: str, practice_id: str, mark: str, *, reports: bool) -> None:
    sender = f"desk.{mark}@practice.example"
    key = client.simulator("sendgrid", "GET", "public_key")["public_key"]
    settings = {"api_key": f"SG.{secrets.token_urlsafe(24)}", "sender_email": sender, "sender_name": "The desk", "webhook_key": key}
    client.call("PUT", "/v1/email-settings", token, settings)
    if reports:
        client.simulator("sendgrid", "POST", "webhook", {"sender": sender, "url": f"{state.gateway}/webhooks/sendgrid/{practice_id}"})


def book(client: Client, state: State, practice: Practice, *, host: int | None = None) -> dict[str, Any]:
    """The patient books on Cal.com's page; Cal.com sends its signed webhook through the gateway."""
    start = (utc_now() + timedelta(days=7)).replace(minute=0, second=0, microsecond=0)
    body = {
        "name": "Jonas Berg", "email": practice.patient_email, "start": start.isoformat(), "host": host or secrets.randbelow(10**9),
        "url": f"{state.gateway}/webhooks/calcom/{practice.id}", "secret": practice.calcom_secret,
    }  # fmt: skip
    booked: dict[str, Any] = client.simulator("calcom", "POST", "book", body)
    if booked["webhook_status"] != 204:
        raise DemoFailed(f"the webhook was answered with {booked['webhook_status']}")
    return booked


def follow(client: Client, practice: Practice, since: datetime) -> Iterator[Hop]:
    """Each hop of one booking as it shows at the doors. Times are those the services and providers recorded."""

    def hop(what: str, identifier: str, at: str | float) -> Hop:
        moment = datetime.fromtimestamp(at, UTC) if isinstance(at, float) else datetime.fromisoformat(at)
        return Hop(what, identifier, (moment - since).total_seconds() * 1000)

    token = practice.admin
    appointment = client.until("the appointment", lambda: _first(client, token, "/v1/appointments", patient_id=practice.patient_id))
    yield hop("Cal.com's signed webhook became an appointment, matched to the patient", appointment["id"], appointment["created_at"])
    run = client.until("the run", lambda: _first(client, token, "/v1/runs", workflow_id=practice.workflow_id))
    yield hop("the published workflow started a run", run["id"], run["started_at"])
    mail = client.until("the e-mail", lambda: _mails(client, practice))[0]
    yield hop("SendGrid accepted the intake e-mail", mail["message_id"], mail["at"])
    report = client.until("delivery", lambda: _delivered(client, practice))
    yield hop("SendGrid's signed delivery webhook came back", report["subject"], report["at"])
    reminder = client.until("the reminder", lambda: _mails(client, practice)[1:])[0]
    yield hop("still unconfirmed after the wait: the reminder was accepted", reminder["message_id"], reminder["at"])
    ended = client.until("the run's end", lambda: _ended(client, token, run["id"]))
    yield hop("the run completed", run["id"], ended["finished_at"])


def _first(client: Client, token: str, path: str, **params: Any) -> Any:
    items = client.call("GET", path, token, params=params).json()["items"]
    return items[0] if items else None


def _delivered(client: Client, practice: Practice) -> Any:
    entries = client.call("GET", f"/v1/patients/{practice.patient_id}/timeline", practice.admin).json()["items"]
    return next((entry for entry in entries if entry["details"].get("status") == "delivered"), None)


def whole_timeline(client: Client, practice: Practice, runs: int) -> list[dict[str, Any]] | None:
    """The patient's timeline once the end of so many runs stands in it."""
    items: list[dict[str, Any]] = client.call("GET", f"/v1/patients/{practice.patient_id}/timeline", practice.admin).json()["items"]
    return items if sum(entry["kind"] == "run-finished" for entry in items) >= runs else None


def _mails(client: Client, practice: Practice) -> list[Any]:
    accepted = client.simulator("sendgrid", "GET", "accepted")
    return [mail for mail in accepted if mail["personalizations"][0]["to"][0]["email"] == practice.patient_email]


def _ended(client: Client, token: str, run_id: str) -> Any:
    run = client.call("GET", f"/v1/runs/{run_id}", token).json()
    return run if run["status"] != "running" else None


def verify_ledger(client: Client, practice: Practice, event_type: str, directory: Path) -> tuple[dict[str, Any], str, str]:
    """Wait for the entry to be signed, export the log and verify it offline; returns entry, receipt and the verifier's word."""
    entry = client.until("the ledger entry", lambda: _first(client, practice.admin, "/v1/ledger/entries", type=event_type))
    receipt = client.until("the signed checkpoint", lambda: _receipt(client, practice, entry["event_id"]))
    bundle = directory / f"ledger-{practice.id}.tar"
    bundle.write_bytes(client.call("GET", "/v1/ledger/export", practice.admin).content)
    vkey = client.call("GET", "/v1/ledger/vkey", practice.admin).text.strip()
    command = [sys.executable, "-m", "services.audit", "verify", str(bundle), "--vkey", vkey]
    result = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=False)
    if result.returncode != 0:
        raise DemoFailed(f"the export does not verify: {result.stderr.strip()}")
    return entry, receipt, result.stdout.strip()


def _receipt(client: Client, practice: Practice, event_id: str) -> str | None:
    try:
        return client.call("GET", "/v1/ledger/proof/inclusion", practice.admin, params={"event_id": event_id}).text
    except DemoFailed:
        return None
