"""Whose event counts: what an author left open is decided when a definition is saved, and never again."""

from __future__ import annotations

from typing import Any

import pytest

from services.workflows.rules.definitions.compiling import EXITS, compile_definition
from services.workflows.rules.definitions.definition import Definition
from services.workflows.rules.definitions.settling import open_questions, settled
from services.workflows.rules.findings import DefinitionInvalid
from services.workflows.tests.engine.world import BOOKED, CANCELLED, CONFIRMED, UPDATED, definition, heard, reminder, send, wait_for

COMPARED = "event.appointment_id == trigger.appointment_id"
OTHERWISE = "event.appointment_id != trigger['appointment_id']"
MANUAL = {"trigger": {"kind": "manual"}, "steps": [send()]}


def saved(written: dict[str, Any]) -> dict[str, Any]:
    return settled(Definition.model_validate(written))


def about(exit_: dict[str, Any], written: dict[str, Any] | None = None) -> str | None:
    """Whom this exit is about once it is saved."""
    (found,) = saved((written or definition()) | {"exit": [exit_]})["exit"]
    said: str | None = found.get("about")
    return said


def asked(written: dict[str, Any]) -> list[tuple[str, str]]:
    return [(finding.code, finding.pointer) for finding in open_questions(Definition.model_validate(written))]


class TestExits:
    @pytest.mark.parametrize("event", [CONFIRMED, CANCELLED])
    @pytest.mark.parametrize("written", [definition(), reminder("trigger")], ids=["event", "anchored"])
    def test_news_of_an_appointment_is_of_the_runs_own(self, event: str, written: dict[str, Any]) -> None:
        assert about(heard(event), written) == "appointment"

    @pytest.mark.parametrize("said", ["patient", "appointment"])
    def test_what_the_author_says_counts(self, said: str) -> None:
        assert about(heard(CANCELLED) | {"about": said}) == said

    @pytest.mark.parametrize(
        "exit_",
        [
            heard(UPDATED),
            heard(BOOKED),
            heard(CANCELLED, COMPARED),
            heard(CANCELLED, OTHERWISE),
            heard(BOOKED, COMPARED.replace("==", "!=")),
        ],
    )
    def test_another_kind_of_event_and_one_that_is_compared_stay_as_they_are(self, exit_: dict[str, Any]) -> None:
        assert about(exit_) is None

    def test_a_run_that_may_be_about_one_means_that_one_and_one_that_never_is_goes_by_its_patient(self) -> None:
        assert about(heard(CANCELLED), MANUAL) == "appointment"
        assert about(heard(CANCELLED), definition(event=UPDATED)) is None

    def test_what_names_no_appointment_cannot_be_about_one(self) -> None:
        for written, exit_ in ((definition(), UPDATED), (definition(event=UPDATED), CANCELLED)):
            with pytest.raises(DefinitionInvalid) as refused:
                compile_definition(Definition.model_validate(written | {"exit": [heard(exit_) | {"about": "appointment"}]}))
            assert [(one.code, one.pointer) for one in refused.value.findings] == [("no_appointment", "/exit/0/about")]


class TestWaits:
    @pytest.mark.parametrize(
        ("events", "more", "expected"),
        [
            ([CONFIRMED, CANCELLED], {}, "appointment"),
            ([CONFIRMED], {"about": "patient"}, "patient"),
            ([BOOKED], {}, "patient"),
            ([CONFIRMED, UPDATED], {}, "patient"),
        ],
    )
    def test_news_of_an_appointment_is_of_the_runs_own(self, events: list[str], more: dict[str, Any], expected: str) -> None:
        branch = {
            "kind": "branch",
            "id": "b",
            "cases": [{"when": "true", "steps": [wait_for(*map(heard, events), **more)]}],
            "otherwise": [],
        }
        assert saved(definition(branch))["steps"][0]["cases"][0]["steps"][0]["about"] == expected


class TestWhatWasStoredBefore:
    def test_means_what_it_meant(self) -> None:
        compiled = compile_definition(Definition.model_validate(definition(wait_for(heard(CONFIRMED))) | {"exit": [heard(CANCELLED)]}))
        assert compiled.awaited[EXITS][0].about is None
        (step,) = compiled.definition.steps
        assert step.model_dump()["about"] == "patient"

    def test_is_asked_about_when_it_is_published_anew(self) -> None:
        assert asked(definition() | {"exit": [heard(CANCELLED)]}) == [("any_appointment", "/exit/0")]
        assert asked(saved(definition() | {"exit": [heard(CANCELLED)]})) == []

    def test_a_wait_for_events_of_two_kinds_is_asked_about(self) -> None:
        assert asked(definition(wait_for(heard(UPDATED), heard(CONFIRMED)))) == [("any_appointment", "/steps/0/events/1")]
        assert asked(definition(wait_for(heard(UPDATED), heard(CONFIRMED, COMPARED)))) == []
        assert asked(definition(wait_for(heard(UPDATED), about="appointment"))) == [("never_counts", "/steps/0/events/0/event")]
