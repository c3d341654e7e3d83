"""What may be written down, what compiling finds and where, and what the catalogue says."""

from __future__ import annotations

import importlib
import pkgutil
from typing import Any

import pytest
from pydantic import ValidationError

import libs.contracts
from libs.contracts.access import PracticeAccessChanged
from libs.contracts.actions import ActionResult
from libs.contracts.envelope import MESSAGES, Event
from services.workflows.rules.definitions.catalogue import catalogue_findings
from services.workflows.rules.definitions.compiling import compile_definition
from services.workflows.rules.definitions.definition import Definition
from services.workflows.rules.definitions.steps import MAX_STEPS
from services.workflows.rules.definitions.triggers import EXCLUDED, OCCASIONS, TRIGGERS
from services.workflows.rules.expressions.engines import ENGINES
from services.workflows.rules.expressions.interface import FieldType
from services.workflows.rules.expressions.templates import as_text
from services.workflows.rules.findings import DefinitionInvalid, Finding
from services.workflows.tests.engine.world import SEND_EMAIL, UPDATE_PATIENT, definition, send, wait


def parsed(data: dict[str, Any]) -> Definition:
    return Definition.model_validate(data)


def findings(data: dict[str, Any]) -> list[Finding]:
    try:
        return list(compile_definition(parsed(data)).warnings)
    except DefinitionInvalid as error:
        return error.findings


def nested(depth: int) -> Any:
    return [nested(depth - 1)] if depth else "x"


class TestShape:
    @pytest.mark.parametrize(
        "data",
        [
            {},
            definition() | {"steps": []},
            definition(*(send(f"s{number}") for number in range(MAX_STEPS + 1))),
            definition(send("same"), send("same")),
            definition(send("Not an id")),
            definition({**send(), "kind": "teleport"}),
            definition({**send(), "surprise": 1}),
            definition() | {"surprise": 1},
            definition(wait("PT0S")),
            definition(wait("P3Y")),
            definition(wait("-PT2H")),
            definition(wait("soon")),
            definition(condition=""),
            definition(condition="x" * 1001),
            definition({**send(), "parameters": {"a": nested(9)}}),
            definition({**send(), "parameters": {"a": list(range(501))}}),
            definition({**send(), "parameters": {"a": "x" * 20_001}}),
            definition({**send(), "parameters": {"x" * 20_001: 1}}),
            definition({**send(), "parameters": []}),
        ],
    )  # fmt: skip
    def test_what_is_too_large_nested_or_of_the_wrong_kind_is_refused(self, data: dict[str, Any]) -> None:
        with pytest.raises(ValidationError):
            parsed(data)

    def test_a_definition_survives_being_stored(self) -> None:
        before = parsed(definition(wait("P1DT2H"), send(when="true"), condition="event.double_booked"))
        assert parsed(before.model_dump(mode="json", exclude_none=True)) == before


class TestCompiling:
    def test_an_unknown_field_is_found_with_its_place_and_a_hint(self) -> None:
        (found,) = findings(definition(send(), condition="patient.emial != null"))
        assert (found.code, found.pointer, found.column) == ("invalid_expression", "/condition", 9)
        assert found.hint == "did you mean 'patient.email'?"

    def test_every_fault_is_found_at_once_with_its_step(self) -> None:
        faulty = definition(send("a", when="nobody"), send("b", subject="{{ event.titel }}", text="{{ unclosed"), condition="1 +")
        assert [(found.code, found.pointer, found.step) for found in findings(faulty)] == [
            ("invalid_expression", "/condition", None),
            ("invalid_expression", "/steps/0/when", "a"),
            ("invalid_expression", "/steps/1/parameters/subject", "b"),
            ("template_unclosed", "/steps/1/parameters/text", "b"),
        ]

    def test_a_pointer_escapes_what_pointers_must(self) -> None:
        step = {**send(), "parameters": {"a/b": [{"c~d": "{{ nobody }}"}]}}
        assert findings(definition(step))[0].pointer == "/steps/0/parameters/a~1b/0/c~0d"

    @pytest.mark.parametrize("event", ["vantage.scheduling.appointment-boked.v1", "nothing", "vantage.workflows.run-finished.v1"])
    def test_an_event_that_starts_nothing_is_refused(self, event: str) -> None:
        (found,) = findings(definition(event=event))
        assert (found.code, found.pointer) == ("unknown_event", "/trigger/event")

    def test_a_mistyped_event_gets_a_hint(self) -> None:
        (found,) = findings(definition(event="vantage.scheduling.appointment-boked.v1"))
        assert found.hint == "did you mean 'vantage.scheduling.appointment-booked.v1'?"

    @pytest.mark.parametrize(
        ("condition", "code"),
        [
            ("1", "not_a_condition"),
            ("patient.email", "not_a_condition"),
            ("patient.email > 3", "invalid_expression"),
            ("event.title > 3", "invalid_expression"),
            ("patient.email.endsWith('x') || event.starts_at", "invalid_expression"),
        ],
    )
    def test_a_condition_that_cannot_be_one_is_refused(self, condition: str, code: str) -> None:
        assert [(found.code, found.severity) for found in findings(definition(condition=condition))] == [(code, "error")]

    @pytest.mark.parametrize("text", ["{{ [1, 2] }}", "{{ {'a': 1} }}", "{{ type(1) }}"])
    def test_a_template_of_what_is_no_text_is_refused(self, text: str) -> None:
        assert [found.code for found in findings(definition(send(text=text)))] == ["not_text"]

    def test_what_fails_when_a_field_is_empty_is_a_warning_with_advice(self) -> None:
        (found,) = findings(definition(condition="patient.email.endsWith('.example')"))
        assert (found.severity, found.code) == ("warning", "may_fail:no_such_overload")
        assert found.hint is not None
        assert findings(definition(condition="patient.email != null && patient.email.endsWith('.example')")) == []

    @pytest.mark.parametrize("engine", sorted(ENGINES))
    def test_definitions_about_one_kind_of_event_share_what_binds_it(self, engine: str) -> None:
        first, second = (compile_definition(parsed(definition(send(step))), ENGINES[engine]) for step in "ab")
        assert first.expressions is second.expressions

    def test_it_is_known_whom_the_expressions_speak_of(self) -> None:
        compiled = compile_definition(parsed(definition(send(text="{{ practice.name }}"), condition="event.title != 'patient.x'")))
        assert compiled.names == {"practice"}


class TestFields:
    @pytest.mark.parametrize("event", TRIGGERS, ids=lambda event: event.type)
    def test_every_field_of_every_trigger_can_be_named_and_tried(self, event: Any) -> None:
        compiled = compile_definition(parsed(definition(event=event.type)))
        everything = " ".join(
            f"{{{{ {name} == null }}}}" if kind is FieldType.DYN else f"{{{{ {name} == {name} }}}}"
            for name, kind in compiled.fields.items()
        )
        steps = [send(f"s{index}", text=part + "}}") for index, part in enumerate(everything.split("}} ")[:20])]
        assert [found for found in findings(definition(*steps, event=event.type)) if found.severity == "error"] == []

    def test_times_are_times(self) -> None:
        compiled = compile_definition(parsed(definition()))
        assert compiled.fields["event.starts_at"] is FieldType.TIMESTAMP
        assert compiled.fields["event.attendee.email"] is FieldType.DYN

    def test_every_event_of_the_contracts_starts_workflows_or_is_left_out_for_a_reason(self) -> None:
        for module in pkgutil.iter_modules(libs.contracts.__path__):
            importlib.import_module(f"libs.contracts.{module.name}")
        events = {kind for kind in MESSAGES.values() if issubclass(kind, Event)}
        assert events == {*TRIGGERS, *OCCASIONS, *EXCLUDED}
        assert len(events) == len(TRIGGERS) + len(OCCASIONS) + len(EXCLUDED)
        assert all(EXCLUDED.values())

    def test_no_event_of_the_engine_itself_starts_one(self) -> None:
        assert {event for event in TRIGGERS if issubclass(event, ActionResult) or event.type.startswith("vantage.workflows.")} == set()

    def test_none_that_is_held_stands_before_the_news_of_a_reactivation(self) -> None:
        """What is held keeps its subject waiting. The doors learn of a suspension's end under the practice's own subject."""
        own = PracticeAccessChanged.subject_template.partition("/")[0]
        assert [event.type for event in TRIGGERS if event.subject_template.partition("/")[0] == own] == []


OFFERED = {action.name: action.model_dump() for action in (SEND_EMAIL, UPDATE_PATIENT)}


class TestCatalogue:
    def said(self, parameters: dict[str, Any], action: str = "send_email") -> list[tuple[str, str, str | None]]:
        step = {"kind": "action", "id": "a", "action": action, "parameters": parameters}
        return [(found.code, found.pointer, found.hint) for found in catalogue_findings(parsed(definition(wait(), step)), OFFERED)]

    def test_an_action_nobody_offers(self) -> None:
        assert self.said({}, "fax") == [("unknown_action", "/steps/1/action", "offered: send_email, update_patient")]

    def test_a_parameter_that_is_missing_unknown_or_of_the_wrong_kind(self) -> None:
        assert self.said({"subject": 1}) == [
            ("missing_parameter", "/steps/1/parameters", "missing: text"),
            ("invalid_parameter", "/steps/1/parameters/subject", "it takes: string"),
        ]
        assert self.said({"subject": "a", "text": "b", "cc": "c"}) == [
            ("unknown_parameter", "/steps/1/parameters/cc", "it takes: subject, text")
        ]
        assert self.said({"subjekt": "a", "subject": "a", "text": "b"}) == [
            ("unknown_parameter", "/steps/1/parameters/subjekt", "did you mean 'subject'?")
        ]

    def test_a_template_may_still_come_to_fit(self) -> None:
        assert self.said({"subject": "{{ event.title\n}}" + "x" * 200, "text": ""}) == []
        assert self.said({"phone": "{{ event.title }}"}, "update_patient") == []

    def test_a_template_is_a_text_and_never_a_number(self) -> None:
        assert self.said({"visits": "{{ 1 }}"}, "update_patient") == [
            ("invalid_parameter", "/steps/1/parameters/visits", "it takes: integer, null")
        ]


class TestTexts:
    @pytest.mark.parametrize(
        ("value", "text"),
        [(None, ""), (True, "true"), (3, "3"), (2.5, "2.5"), (1.0, "1"), ("x", "x"), ([], None), ({}, None), (b"x", None)],
    )
    def test_values_read_as_people_write_them(self, value: object, text: str | None) -> None:
        assert as_text(value) == text
