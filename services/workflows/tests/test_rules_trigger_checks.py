"""What waits and exit conditions read of what started the run: a typo is found when it is saved, with its place and a hint."""

from __future__ import annotations

from typing import Any

import pytest

from services.workflows.rules.definitions.compiling import compile_definition
from services.workflows.rules.definitions.definition import Definition
from services.workflows.rules.definitions.trigger_checks import trigger_findings
from services.workflows.rules.findings import Finding
from services.workflows.tests.engine.world import BOOKED, CANCELLED, CONFIRMED, anchor, definition, heard, past_due, send, wait_for

ANCHORED = {"kind": "anchored", "anchor": anchor(), "past_due": past_due()}
SCHEDULE = {"kind": "schedule", "cron": "0 9 * * *", "for_each": "patient"}
MANUAL = {"kind": "manual"}
WEBHOOK = {"kind": "webhook"}


def found(when: Any, trigger: dict[str, Any] | None = None) -> list[Finding]:
    """What is said of the condition of a wait for a confirmation."""
    written = definition(wait_for({"event": CONFIRMED, "when": when}), send()) | ({"trigger": trigger} if trigger else {})
    return trigger_findings(Definition.model_validate(written))


class TestTypos:
    @pytest.mark.parametrize(
        ("when", "column", "hint"),
        [
            ("trigger.apointment_id == event.appointment_id", 9, "did you mean 'trigger.appointment_id'?"),
            ("event.title == '' || trigger.attendee.emial == 'x'", 39, "did you mean 'trigger.attendee.email'?"),
            ("trigger['titel'] == event.title", 9, "did you mean 'trigger.title'?"),
            ("trigger.attendee['emial'] == 'x'", 18, "did you mean 'trigger.attendee.email'?"),
            ("trigger.title.size == 3", 15, "did you mean 'trigger.title'?"),
            ("['a'].exists(one, trigger.titel == one)", 27, "did you mean 'trigger.title'?"),
        ],
    )
    def test_a_field_that_does_not_exist_is_found_with_its_place_and_a_hint(self, when: str, column: int, hint: str) -> None:
        (one,) = found(when)
        assert (one.code, one.severity, one.step) == ("invalid_expression", "error", "reply")
        assert (one.pointer, one.column, one.hint) == ("/steps/0/events/0/when", column, hint)
        assert one.message.startswith("there is no field 'trigger.")

    @pytest.mark.parametrize(
        ("when", "pointer"),
        [
            ({"blocks": {"any": [{"field": "trigger.titel", "operator": "equals", "value": "x"}]}}, "/blocks/any/0/field"),
            ({"jsonlogic": {"===": ["x", {"var": "trigger.titel"}]}}, "/jsonlogic/===/1"),
        ],
    )
    def test_so_it_is_in_the_other_forms_where_its_author_wrote_it(self, when: Any, pointer: str) -> None:
        (one,) = found(when)
        assert (one.pointer, one.column, one.hint) == (f"/steps/0/events/0/when{pointer}", None, "did you mean 'trigger.title'?")

    def test_exit_conditions_are_asked_too(self) -> None:
        exits = {"exit": [heard(CANCELLED), heard(BOOKED, "event.appointment_id != trigger.id")]}
        (one,) = trigger_findings(Definition.model_validate(definition() | exits))
        assert (one.pointer, one.step, one.column) == ("/exit/1/when", None, 33)

    def test_each_is_said_once(self) -> None:
        assert len(found("trigger.titel == 'a' || trigger.titel == 'b' || trigger.tital == 'c'")) == 2


class TestTypes:
    @pytest.mark.parametrize(
        ("when", "message"),
        [
            ("trigger.version == 'x'", "== does not take a whole number and a text"),
            ("trigger.starts_at < '2030-01-31'", "< does not take a time and a text"),
            ("trigger.attendee.email == 3", "== does not take a text (or null) and a whole number"),
        ],
    )
    def test_what_never_fits_is_found(self, when: str, message: str) -> None:
        assert [(one.code, one.message) for one in found(when)] == [("invalid_expression", message)]

    @pytest.mark.parametrize(
        "when",
        [
            "event.appointment_id == trigger.appointment_id && event.patient_id == trigger.patient_id",
            "trigger.starts_at < event.starts_at && trigger.status == 'booked' && trigger.attendee.email != null",
            "'patient_id' in trigger && trigger['patient_id'] == event.patient_id && trigger.attendee != null",
            "trigger[event.title] == 'x'",
            {"jsonlogic": {"===": [{"var": "trigger.title"}, "x"]}},
            {"blocks": {"all": [{"field": "trigger.attendee.name", "operator": "starts_with", "value": "K"}]}},
        ],
    )
    def test_what_fits_is_not_complained_about(self, when: Any) -> None:
        assert found(when) == []


class TestOtherTriggers:
    @pytest.mark.parametrize(
        ("trigger", "when"),
        [
            (ANCHORED, "trigger.starts_at < event.starts_at"),
            (ANCHORED, "trigger.attendee.email == patient.email"),  # of a booking; the wait warns that it may not be there
            (SCHEDULE, "trigger.patient_id == event.patient_id && trigger.weekday < 6"),
            (MANUAL, "trigger.patient_id == event.patient_id"),
            (WEBHOOK, "trigger.body.lead.email == patient.email"),
        ],
    )
    def test_what_exists_may_be_read(self, trigger: dict[str, Any], when: str) -> None:
        assert found(when, trigger) == []

    @pytest.mark.parametrize(
        ("trigger", "when", "hint"),
        [
            (ANCHORED, "trigger.startsat < event.starts_at", "did you mean 'trigger.starts_at'?"),
            (SCHEDULE, "trigger.week_day < 6", "did you mean 'trigger.weekday'?"),
            (MANUAL, "trigger.patient == event.patient_id", "did you mean 'trigger.patient_id'?"),
            (WEBHOOK, "trigger.bdy.email == patient.email", "did you mean 'trigger.body'?"),
        ],
    )
    def test_what_does_not_is_found(self, trigger: dict[str, Any], when: str, hint: str) -> None:
        assert [one.hint for one in found(when, trigger)] == [hint]


class TestPublished:
    def test_a_version_from_before_is_not_asked(self) -> None:
        """It goes on meaning what it meant: where nothing is, its condition fails, and that is no match."""
        written = Definition.model_validate(definition(wait_for(heard(CONFIRMED, "trigger.titel == event.title")), send()))
        assert trigger_findings(written) != []
        assert compile_definition(written).awaited["reply"][0].when is not None
