"""The second act: a reminder anchored to an appointment follows it when it moves, and says nothing for the old time."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from deploy.demo.client import Client
from deploy.demo.journey import Hop, Practice
from libs.common.clock import utc_now

DAY_BEFORE = timedelta(hours=24)
FIRST_DUE = timedelta(seconds=4)
"""From booking to the reminder's first time: long enough to move the appointment before."""

MOVED_BY = timedelta(seconds=5)
SUBJECT = "Your visit tomorrow"
_ANCHOR = "@anchor"


@dataclass(frozen=True)
class Visit:
    """An appointment and when its reminder is due. Aware UTC."""

    appointment_id: str
    run_id: str
    due_at: datetime


def reminder_workflow() -> dict[str, Any]:
    """“24 hours before an appointment, if it is not cancelled: remind; booked later than that: if two hours are left.”"""
    return {
        "name": "Reminder the day before",
        "definition": {
            "trigger": {
                "kind": "anchored",
                "anchor": {"of": "appointment.starts_at", "offset": "-PT24H"},
                "past_due": {"policy": "proceed_if_left", "left": "PT2H"},
            },
            "condition": "patient.email != null",
            "steps": [
                {
                    "kind": "action",
                    "id": "remind",
                    "action": "send_email",
                    "parameters": {
                        "subject": SUBJECT,
                        "text": "Dear {{patient.given_name}},\n\nwe see you at {{appointment.starts_at}}.\n\n{{practice.name}}",
                    },
                }
            ],
        },
    }


def publish_reminder(client: Client, practice: Practice) -> str:
    """The workflow's id, in force."""
    saved = client.call("POST", "/v1/workflows", practice.admin, reminder_workflow()).json()
    client.call("POST", f"/v1/workflows/{saved['id']}/publish", practice.admin)
    return str(saved["id"])


def book_for_tomorrow(client: Client, practice: Practice, workflow_id: str, first_due: timedelta = FIRST_DUE) -> Visit:
    """Book so that the reminder is due in a moment, and wait until its run waits for that."""
    starts = utc_now() + DAY_BEFORE + first_due
    body = {**_times(starts), "resource": f"room {secrets.token_hex(3)}", "title": "Check-up", "patient_id": practice.patient_id}
    appointment = client.call("POST", "/v1/appointments", practice.admin, body).json()
    return client.until("the waiting run", lambda: waiting_run(client, practice, workflow_id, appointment["id"]))  # type: ignore[no-any-return]


def move(client: Client, practice: Practice, workflow_id: str, visit: Visit, by: timedelta = MOVED_BY) -> Visit:
    """Move the appointment, and wait until the run waits for its new time."""
    body = _times(visit.due_at + DAY_BEFORE + by)
    client.call("POST", f"/v1/appointments/{visit.appointment_id}/reschedule", practice.admin, body)

    def moved() -> Visit | None:
        found = waiting_run(client, practice, workflow_id, visit.appointment_id)
        return found if found and found.due_at != visit.due_at else None

    return client.until("the run following", moved)  # type: ignore[no-any-return]


def follow_reminder(client: Client, practice: Practice) -> Iterator[Hop]:
    """What happens, with milliseconds since the booking."""
    workflow_id = publish_reminder(client, practice)
    since = utc_now()
    first = book_for_tomorrow(client, practice, workflow_id)
    yield Hop(f"booked: the reminder is due at {_clock(first.due_at)}", first.appointment_id, _since(since, utc_now()))
    second = move(client, practice, workflow_id, first)
    yield Hop(f"moved: the same run waits for {_clock(second.due_at)} now", second.run_id, _since(since, utc_now()))
    (mail,) = client.until("the reminder", lambda: reminders(client, practice))
    at = datetime.fromtimestamp(mail["at"], tz=second.due_at.tzinfo)
    yield Hop(f"one reminder was accepted, at {_clock(at)}: none for the old time", mail["message_id"], _since(since, at))


def waiting_run(client: Client, practice: Practice, workflow_id: str, appointment_id: str) -> Visit | None:
    """The run of the reminder that waits for its time."""
    runs = client.call("GET", "/v1/runs", practice.admin, params={"workflow_id": workflow_id}).json()["items"]
    for run in runs:
        if run["appointment_id"] == appointment_id:
            steps = client.call("GET", f"/v1/runs/{run['id']}", practice.admin).json()["steps"]
            due = next((step["due_at"] for step in steps if step["step_id"] == _ANCHOR), None)
            return Visit(appointment_id, run["id"], datetime.fromisoformat(due)) if due else None
    return None


def reminders(client: Client, practice: Practice) -> list[Any]:
    """The reminders the mail provider accepted for the practice's patient."""
    accepted = client.simulator("sendgrid", "GET", "accepted")
    return [
        mail for mail in accepted if mail["subject"] == SUBJECT and mail["personalizations"][0]["to"][0]["email"] == practice.patient_email
    ]


def _times(starts: datetime) -> dict[str, str]:
    return {"starts_at": starts.isoformat(), "ends_at": (starts + timedelta(minutes=30)).isoformat()}


def _since(since: datetime, at: datetime) -> float:
    return (at - since).total_seconds() * 1000


def _clock(at: datetime) -> str:
    return at.strftime("%H:%M:%S")
