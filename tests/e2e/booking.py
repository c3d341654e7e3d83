"""What the journeys share: many patients, many bookings, and what the mail provider says it accepted."""

from __future__ import annotations

import itertools
import secrets
from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import Any

from deploy.demo.client import Client
from deploy.demo.journey import BOOKED, Practice
from libs.testing.stack import Stack

ONE_MAIL: dict[str, Any] = {
    "name": "Intake",
    "definition": {
        "trigger": {"event": BOOKED},
        "condition": "patient.email != null",
        "steps": [
            {
                "kind": "action", "id": "intake", "action": "send_email",
                "parameters": {"subject": "Before your visit", "text": "Dear {{patient.given_name}}, see you at {{appointment.starts_at}}."},
            }
        ],
    },
}  # fmt: skip

TWO_MAILS: dict[str, Any] = {
    "name": "Intake and reminder",
    "definition": {
        **ONE_MAIL["definition"],
        "steps": [
            *ONE_MAIL["definition"]["steps"],
            {"kind": "wait", "id": "pause", "duration": "PT4S"},
            {
                "kind": "action",
                "id": "remind",
                "action": "send_email",
                "parameters": {"subject": "Please confirm", "text": "See you soon."},
            },
        ],
    },
}
"""Its runs are in flight for a while: asked for, waiting, asked for again."""

SUBJECTS = ("Before your visit", "Please confirm")
_FIRST = datetime.now(UTC).replace(microsecond=0) + timedelta(days=3)
_TIMES = itertools.count()


def patients(client: Client, practice: Practice, count: int) -> list[str]:
    """Register that many; returns their e-mail addresses, unique in the whole system."""
    mark = secrets.token_hex(4)
    emails = [f"p{number}.{mark}@patients.example" for number in range(count)]
    for number, email in enumerate(emails):
        client.call("POST", "/v1/patients", practice.admin, {"given_name": f"P{number}", "family_name": "Test", "email": email})
    return emails


def book_until_taken(stack: Stack, practice: Practice, email: str) -> str:
    """Book a time nobody else has on Cal.com's page; while the webhook is not answered 204, Cal.com sends it again. Returns the booking's uid."""
    start = _FIRST + timedelta(minutes=31) * next(_TIMES)
    body = {
        "name": "Test", "email": email, "start": start.isoformat(), "host": secrets.randbelow(2**31),
        "url": f"{stack.state.gateway}/webhooks/calcom/{practice.id}", "secret": practice.calcom_secret,
    }  # fmt: skip
    booked = stack.client.simulator("calcom", "POST", "book", body)
    uid: str = booked["uid"]
    if booked["webhook_status"] != 204:
        again = {"uid": uid, "times": 1}
        stack.client.until("the webhook", lambda: stack.client.simulator("calcom", "POST", "resend", again)["statuses"] == [204], within=90)
    return uid


def mails_to(stack: Stack, emails: list[str]) -> Counter[str]:
    """How many e-mails the provider accepted for each of these addresses, by its own record."""
    wanted = set(emails)
    accepted = stack.client.simulator("sendgrid", "GET", "accepted")
    found = Counter(mail["personalizations"][0]["to"][0]["email"] for mail in accepted)
    return Counter({email: count for email, count in found.items() if email in wanted})


def wrong_mails(stack: Stack, emails: list[str]) -> dict[tuple[str, str], int]:
    """Which of the two e-mails each of these should have, and how often the provider accepted it where that is not once."""
    accepted = stack.client.simulator("sendgrid", "GET", "accepted")
    found = Counter((mail["personalizations"][0]["to"][0]["email"], mail["subject"]) for mail in accepted)
    return {(email, subject): found[email, subject] for email in emails for subject in SUBJECTS if found[email, subject] != 1}


def silent_runs(stack: Stack) -> list[tuple[Any, ...]]:
    """Runs that go on but have nothing to go on for: no timer, no request, no event they wait for; nobody paused them."""
    return stack.sql("""
        SELECT r.practice_id, r.id FROM workflows.run r WHERE r.status = 'running' AND NOT r.paused
          AND NOT EXISTS (SELECT FROM workflows.timer t WHERE (t.practice_id, t.run_id) = (r.practice_id, r.id))
          AND NOT EXISTS (SELECT FROM workflows.durable_timer t WHERE (t.practice_id, t.run_id) = (r.practice_id, r.id))
          AND NOT EXISTS (SELECT FROM workflows.run_call c WHERE (c.practice_id, c.run_id) = (r.practice_id, r.id))
          AND NOT EXISTS (SELECT FROM workflows.event_wait w WHERE (w.practice_id, w.run_id) = (r.practice_id, r.id))
          AND NOT EXISTS (SELECT FROM workflows.step s WHERE (s.practice_id, s.run_id) = (r.practice_id, r.id)
                          AND s.status IN ('requested', 'unknown'))
    """)
