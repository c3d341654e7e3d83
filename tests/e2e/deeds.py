"""What runs do in a storm: each kind of action that leaves the house, asked of providers in a bad mood."""

from __future__ import annotations

import itertools
import secrets
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, NamedTuple

from deploy.demo.journey import BOOKED, Practice
from libs.testing.probe import until
from libs.testing.stack import Stack
from tests.e2e.booking import SUBJECTS
from tests.e2e.flows import act, mail, open_practice, publish
from tests.e2e.outside import Outside

PAUSE: dict[str, Any] = {"kind": "wait", "id": "pause", "duration": "PT4S"}
DEEDS = ("mail", "call", "visit", "request")
FOLLOW_UP = "Follow-up"
_WHIMS: tuple[dict[str, Any], ...] = (
    {"kind": "lose"}, {"kind": "status", "status": 503}, {"kind": "late", "status": 502}, {"kind": "delay", "seconds": 1},
    {"kind": "status", "status": 429, "retry_after": 1}, {"kind": "status", "status": 500},
)  # fmt: skip
PROVIDERS = {"sendgrid": "POST /v3/mail/send", "retell": "POST /v2/create-phone-call", "calcom": "POST /v2/bookings"}
_PHONES = itertools.count(1)


class Person(NamedTuple):
    id: str
    email: str
    phone: str


@dataclass(frozen=True)
class Party:
    """A practice whose runs send an e-mail, are held up, and then do these deeds."""

    practice: Practice
    workflow_id: str
    deeds: tuple[str, ...]


def steps_of(deed: str, outside: Outside) -> list[dict[str, Any]]:
    if deed == "mail":
        return [mail(SUBJECTS[1], "remind")]
    if deed == "call":
        return [act("call", "start_call", variables={"name": "{{patient.given_name}}"})]
    if deed == "visit":
        later = "{{appointment.starts_at + duration('2160h')}}"
        book = act("follow", "book_appointment", title=FOLLOW_UP, starts_at=later, time_zone="Europe/Berlin")
        return [book, act("free", "cancel_appointment", appointment_id="{{appointment.id}}", reason="seen at the follow-up")]
    return [_request(outside, "ask", repeats=False), _request(outside, "tell", repeats=True)]


def _request(outside: Outside, step: str, *, repeats: bool) -> dict[str, Any]:
    """Written out, the address would be refused when it is published: it is on this machine."""
    body = {"patient": "{{patient.email}}", "step": step, "repeats": repeats}
    return act(step, "http_request", url=f"{{{{ '{outside.url}' }}}}", body=body, idempotent=repeats) | {"on_error": "skip"}


def party(stack: Stack, outside: Outside, *deeds: str, gate: Sequence[dict[str, Any]] = (PAUSE,)) -> Party:
    """Runs begin when an appointment is booked, but for those they book themselves."""
    practice = open_practice(stack)
    _connect(stack, practice)
    steps = [mail(SUBJECTS[0], "intake"), *gate, *(step for deed in deeds for step in steps_of(deed, outside))]
    definition = {"trigger": {"event": BOOKED}, "condition": f"appointment.title != '{FOLLOW_UP}'", "steps": steps}
    return Party(practice, publish(stack, practice, f"Storm: {', '.join(deeds)}", definition), deeds)


def _connect(stack: Stack, practice: Practice) -> None:
    """Accounts at Cal.com, with an event type whose time nobody else takes, and at Retell; both report."""
    calcom, retell, number = f"cal_live_{secrets.token_hex(16)}", f"key_{secrets.token_hex(16)}", f"+4930{secrets.randbelow(10**8):08}"
    hooks = f"{stack.state.gateway}/webhooks"
    stack.client.simulator(
        "calcom", "POST", "webhook", {"key": calcom, "url": f"{hooks}/calcom/{practice.id}", "secret": practice.calcom_secret}
    )
    stack.client.simulator("retell", "POST", "webhook", {"number": number, "url": f"{hooks}/retell/{practice.id}", "key": retell})
    account = {"api_key": calcom, "event_type_id": 1000 + secrets.randbelow(10**8)}
    stack.client.call("PUT", "/v1/calcom-settings", practice.admin, account)
    stack.client.call("PUT", "/v1/retell-settings", practice.admin, {"api_key": retell, "from_number": number, "agent_id": "agent_desk"})


def people_of(stack: Stack, parties: Iterable[Party], count: int) -> list[tuple[Party, Person]]:
    """So many patients in each practice, with an e-mail address and a telephone that nobody else has."""

    def register(party: Party) -> tuple[Party, Person]:
        email, phone = f"p{secrets.token_hex(6)}@patients.example", f"+4917{next(_PHONES):08}"
        body = {"given_name": "Jonas", "family_name": "Berg", "email": email, "phone": phone}
        return party, Person(stack.client.call("POST", "/v1/patients", party.practice.admin, body).json()["id"], email, phone)

    with ThreadPoolExecutor(8) as pool:
        people = list(pool.map(register, [party for party in parties for _ in range(count)]))
    heard = "SELECT count(*) FROM scheduling.contact WHERE patient_id = ANY(%s::uuid[])"
    ids = [person.id for _, person in people]
    until(lambda: stack.sql(heard, ids)[0][0], lambda known: known == len(ids), what="scheduling knowing whom a booking is for")
    return people


@contextmanager
def whims(stack: Stack) -> Iterator[None]:
    """Every fifth request to a provider goes wrong for a while, before it takes effect or behind it."""
    for provider, only in PROVIDERS.items():
        for whim in _WHIMS:
            stack.client.simulator(provider, "POST", "faults", {**whim, "only": only, "every": 5})
    try:
        yield
    finally:
        for provider in PROVIDERS:
            stack.client.simulator(provider, "DELETE", "faults")
