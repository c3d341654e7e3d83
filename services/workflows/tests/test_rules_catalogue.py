"""Parameters that are written out are judged when they are written: what the catalogue's schemas accept, the owners take."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from importlib.metadata import entry_points
from typing import Any

import pytest
from pydantic import ValidationError

from libs.common.actions import ActionPlugin
from services.workflows.rules.definitions.catalogue import catalogue_findings
from services.workflows.rules.definitions.definition import Definition
from services.workflows.tests.engine.world import definition

PLUGINS: Mapping[str, ActionPlugin] = {point.name: point.load() for point in entry_points(group="vantage.actions")}
OFFERED = {name: plugin.description().model_dump() for name, plugin in PLUGINS.items()}
ID = "0190a0a0-0000-7000-8000-000000000001"
BOOKING = {"resource": "room-1", "title": "Check-up", "starts_at": "2030-01-07T09:00:00+01:00"}
CALL = {"url": "https://system.example/hook"}
MAIL = {"subject": "Your visit", "text": "See you soon."}

BAD: list[tuple[str, dict[str, Any], str]] = [
    ("create_task", {"title": "x", "due_at": "tomorrow"}, "/due_at"),
    ("create_task", {"title": "x", "due_at": "2030-01-31T09:30:00"}, "/due_at"),
    ("create_task", {"title": "x", "due_at": "2030-02-31T09:30:00Z"}, "/due_at"),
    ("create_task", {"title": "x", "due_at": "20300131T0930Z"}, "/due_at"),
    ("create_task", {"title": "x", "due_at": "2030-01-31T09:30:00Z", "due_in_hours": 2}, ""),
    ("create_task", {"title": "x", "role": "regular_user", "user_id": ID}, ""),
    ("create_task", {"title": "x", "user_id": "Kim"}, "/user_id"),
    ("create_task", {"title": "a\nb"}, "/title"),
    ("create_task", {"title": "x", "text": "   "}, "/text"),
    ("update_patient", {"email": "x"}, "/email"),
    ("update_patient", {"email": "a b@patients.example"}, "/email"),
    ("update_patient", {"phone": "030 901820"}, "/phone"),
    ("update_patient", {"phone": "+49"}, "/phone"),
    ("update_patient", {"birth_date": "31.12.1990"}, "/birth_date"),
    ("update_patient", {"time_zone": "Mars/Base"}, "/time_zone"),
    ("update_patient", {"given_name": None}, "/given_name"),
    ("update_patient", {"family_name": "a\tb"}, "/family_name"),
    ("add_tag", {"tag": "  "}, "/tag"),
    ("remove_tag", {"tag": "a\nb"}, "/tag"),
    ("add_note", {"text": "\n"}, "/text"),
    ("start_workflow", {"workflow_id": "nope"}, "/workflow_id"),
    ("stop_workflow", {"workflow_id": 5}, "/workflow_id"),
    ("cancel_appointment", {"appointment_id": "the next one"}, "/appointment_id"),
    ("book_appointment", {**BOOKING, "duration_minutes": "{{ 30 }}"}, "/duration_minutes"),
    ("book_appointment", {**BOOKING, "resource": "Dr. Müller"}, "/resource"),
    ("send_email", {**MAIL, "subject": "a\nb"}, "/subject"),
    ("send_email", {**MAIL, "subject": " "}, "/subject"),
    ("http_request", {**CALL, "headers": {"Host": "x"}}, "/headers/Host"),
    ("http_request", {**CALL, "headers": {"AUTHORIZATION": "x"}}, "/headers/AUTHORIZATION"),
    ("http_request", {**CALL, "headers": {"X-Forwarded-For": "x"}}, "/headers/X-Forwarded-For"),
    ("http_request", {**CALL, "headers": {"a b": "x"}}, "/headers/a b"),
    ("http_request", {**CALL, "headers": {"X-A": "a\nb"}}, "/headers/X-A"),
    ("http_request", {**CALL, "method": "TRACE"}, "/method"),
    ("http_request", {"url": "gopher://system.example"}, "/url"),
    ("start_call", {"variables": {"a b": "c"}}, "/variables/a b"),
]
LATER: list[tuple[str, dict[str, Any], str]] = [
    ("book_appointment", {**BOOKING, "starts_at": "soon"}, "/starts_at"),
    ("book_appointment", {**BOOKING, "starts_at": "2030-01-07"}, "/starts_at"),
    ("book_appointment", {**BOOKING, "time_zone": "Mars/Base"}, "/time_zone"),
    ("update_patient", {}, ""),
    *(
        ("http_request", {"url": url}, "/url")
        for url in (
            "https://127.0.0.1/hook", "http://169.254.169.254/latest", "http://system.example/", "https://localhost/", "https://[::1]/",
            "https://2130706433/", "https://0x7f.1/", "https://system.example:22/", "https://good.example@evil.example/", "https://a.example/#b",
        )
    ),
]  # fmt: skip
"""What the parameters' models leave to the moment it is done: the workflow's author hears of it at once all the same."""

GOOD: list[tuple[str, dict[str, Any]]] = [
    ("create_task", {"title": "x", "due_at": "2030-01-31T09:30:00+01:00", "due_in_hours": None}),
    ("create_task", {"title": "Ärztin anrufen", "due_in_hours": 2.5, "role": "regular_user"}),
    ("create_task", {"title": "x", "due_at": "2030-01-31 09:30Z"}),
    ("update_patient", {"email": "Sam.Sample@patients.example", "phone": "+49 (30) 901820", "birth_date": "1980-01-31"}),
    ("update_patient", {"email": None, "phone": None, "time_zone": "Europe/Berlin", "given_name": "Zoë"}),
    ("add_tag", {"tag": "new patient"}),
    ("add_note", {"text": "One line\nand another"}),
    ("start_workflow", {"workflow_id": ID, "values": {"a": [1]}}),
    ("cancel_appointment", {"appointment_id": ID, "reason": None}),
    ("book_appointment", {**BOOKING, "starts_at": "2030-01-07T09:00", "time_zone": "Europe/Berlin", "duration_minutes": 20}),
    ("send_email", MAIL),
    ("http_request", {**CALL, "headers": {"X-Practice": "Lindenhof 1", "accept": "text/html"}, "body": {"a": None}}),
    ("http_request", {"url": "https://system.example:443/a/b?c=d&e=%20f"}),
    ("http_request", {"url": "https://system.example?x"}),
    ("start_call", {"variables": {"first_name": "Kim"}}),
]


def said(action: str, parameters: dict[str, Any]) -> list[tuple[str, str]]:
    step = {"kind": "action", "id": "a", "action": action, "parameters": parameters}
    found = catalogue_findings(Definition.model_validate(definition(step)), OFFERED)
    assert all(one.severity == "error" and one.step == "a" for one in found)
    return [(one.code, one.pointer.removeprefix("/steps/0/parameters")) for one in found]


class TestWhatIsWrittenOut:
    @pytest.mark.parametrize(("action", "parameters", "pointer"), BAD)
    def test_what_the_owner_would_refuse_is_refused_at_its_place(self, action: str, parameters: dict[str, Any], pointer: str) -> None:
        assert said(action, parameters) == [("invalid_parameter", pointer)]
        with pytest.raises(ValidationError):
            PLUGINS[action].parameters.model_validate(parameters)

    @pytest.mark.parametrize(("action", "parameters", "pointer"), LATER)
    def test_what_could_only_fail_when_it_is_done_as_well(self, action: str, parameters: dict[str, Any], pointer: str) -> None:
        assert said(action, parameters) == [("invalid_parameter", pointer)]

    @pytest.mark.parametrize(("action", "parameters"), GOOD)
    def test_what_the_owner_takes_is_taken(self, action: str, parameters: dict[str, Any]) -> None:
        assert said(action, parameters) == []
        PLUGINS[action].parameters.model_validate(parameters)

    def test_a_template_is_judged_when_it_is_filled(self) -> None:
        for action, parameters in (
            ("create_task", {"title": "{{ event.title }}\n", "due_at": "{{ event.starts_at }}"}),
            ("update_patient", {"email": "{{ event.attendee.email }}"}),
            ("cancel_appointment", {"appointment_id": "{{ appointment.id }}"}),
            ("book_appointment", {**BOOKING, "starts_at": "{{ event.ends_at }}", "time_zone": "{{ event.time_zone }}"}),
            ("http_request", {"url": "https://system.example/{{ event.appointment_id }}", "headers": {"X-A": "{{ event.title }}"}}),
        ):
            assert said(action, parameters) == []

    @pytest.mark.parametrize(
        ("action", "parameters", "hint"),
        [
            ("create_task", {"title": "x", "due_at": "tomorrow"}, "a time with its offset, such as 2030-01-31T09:30:00Z"),
            ("update_patient", {"email": "x"}, "an address, such as sam@patients.example"),
            ("update_patient", {}, "it takes at least 1 of: given_name, family_name, email, phone, birth_date, time_zone"),
            ("http_request", {"url": "https://127.0.0.1"}, "A public https address with a host name, on port 443."),
            ("http_request", {**CALL, "headers": {"Host": "x"}}, "Host, Authorization and the like cannot be set."),
            (
                "create_task",
                {"title": "x", "due_at": "2030-01-31T09:30:00Z", "due_in_hours": 2},
                "a task is due at a time or in hours, not both",
            ),
        ],
    )
    def test_the_hint_says_what_would_fit(self, action: str, parameters: dict[str, Any], hint: str) -> None:
        step = {"kind": "action", "id": "a", "action": action, "parameters": parameters}
        (found,) = catalogue_findings(Definition.model_validate(definition(step)), OFFERED)
        assert found.hint == hint

    def test_what_schemas_say_of_their_examples_holds(self) -> None:
        now = datetime(2030, 1, 1, tzinfo=UTC).isoformat()
        assert said("book_appointment", {**BOOKING, "starts_at": now}) == []
