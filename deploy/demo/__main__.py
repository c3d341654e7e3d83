"""``python -m deploy.demo``: bring the system up and show one booking end to end."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from deploy.demo.client import Client, DemoFailed
from deploy.demo.journey import BOOKED, Hop, book, follow, set_up, verify_ledger, whole_timeline
from deploy.demo.reminder import follow_reminder
from deploy.native import state as states
from deploy.native.__main__ import DEFAULT, require_parts
from deploy.native.artifacts import Missing
from deploy.native.postgres import PostgresMissing
from deploy.native.system import NotReady, System
from libs.common.clock import monotonic, utc_now

RUNS = 3
"""The intake workflow runs for both appointments, the reminder for the second."""


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m deploy.demo")
    parser.add_argument("--state", type=Path, default=DEFAULT)
    options = parser.parse_args()
    started = monotonic()
    try:
        require_parts()
        state = states.load(options.state)
        print("Starting Vantage: Postgres, Kafka, Debezium, the gateway, six services, and simulators of Cal.com and SendGrid.")
        System(state, DEFAULT).up()
        show(state)
    except (Missing, PostgresMissing, NotReady, DemoFailed) as error:
        print(f"vantage: {error}", file=sys.stderr)
        return 1
    print(f"\nDone in {monotonic() - started:.0f} s. The system keeps running: make status, make logs NAME=workflows, make down.")
    return 0


def show(state: states.State) -> None:
    client = Client(state)
    print("\nA practice opens, with an admin, a colleague, a patient, and this workflow:")
    print("  when an appointment is booked and the patient has an e-mail, send the intake e-mail;")
    print("  two hours later (three seconds here), if it is still unconfirmed, remind.")
    practice = set_up(client, state)
    print(f"  {practice.name}: practice {practice.id}, patient {practice.patient_id}, workflow {practice.workflow_id}")
    print("\nThe patient books on Cal.com. What happens, with milliseconds since the booking:")
    since = utc_now()
    book(client, state, practice)
    for hop in follow(client, practice, since):
        print_hop(hop)
    print("\nA second workflow reminds 24 hours before an appointment. The patient's next one is moved before that:")
    for hop in follow_reminder(client, practice):
        print_hop(hop)
    print("\nThe patient's timeline, newest first:")
    timeline = client.until("the whole timeline", lambda: whole_timeline(client, practice, RUNS))
    for entry in timeline:
        print(f"  {entry['at'][11:23]}  {entry['kind']:24} {entry['subject']}")
    print("\nThe ledger, which nobody can change unnoticed:")
    entry, receipt, verdict = verify_ledger(client, practice, BOOKED, state.directory)
    print(f"  entry {entry['seq']} tells the booking; leaf hash {entry['leaf'][:16]}…; its receipt:")
    for line in receipt.strip().splitlines()[:4]:
        print(f"    {line}")
    print(f"  the whole log was exported and verified offline: {verdict}")
    print("\nTo look at:")
    print(f"  the e-mails           {state.http('sendgrid')}/")
    print(f"  Cal.com's bookings    {state.http('calcom')}/")
    body = json.dumps({"email": practice.person.email, "password": practice.person.password})
    print(f"  the API reference     {state.gateway}/docs")
    print(f"  the API               {state.gateway}/v1/patients, as {practice.person.email}: `access_token` of")
    print(f"                        curl -s '{state.gateway}/auth/v1/token?grant_type=password' -d '{body}'")
    print(f"  the export            {state.directory}/ledger-{practice.id}.tar")


def print_hop(hop: Hop) -> None:
    print(f"  {hop.milliseconds:8.0f} ms  {hop.what}\n               {hop.id}")


if __name__ == "__main__":
    sys.exit(main())
