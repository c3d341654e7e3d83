"""What publishing asks beside compiling: steps nobody reaches, workflows that feed themselves, and what people may regret."""

from __future__ import annotations

from typing import Any
from uuid import UUID, uuid4

import pytest

from libs.contracts.notifications import EmailStatusChanged
from libs.contracts.patients import PatientTagged, PatientUpdated
from libs.contracts.scheduling import AppointmentBooked, AppointmentCancelled, AppointmentMatched
from services.workflows.rules.definitions.analysis import Neighbour, Surrounding, analysed
from services.workflows.rules.definitions.definition import Definition
from services.workflows.tests.engine.world import SEND_EMAIL, UPDATE_PATIENT, definition, send, wait

OFFERED: dict[str, dict[str, Any]] = {
    "send_email": SEND_EMAIL.model_dump() | {"causes": [EmailStatusChanged.type]},
    "update_patient": UPDATE_PATIENT.model_dump() | {"causes": [PatientUpdated.type]},
    "add_tag": {"idempotent": True, "causes": [PatientTagged.type]},
    "book_appointment": {"idempotent": True, "causes": [AppointmentBooked.type]},
    "cancel_appointment": {"idempotent": True, "causes": [AppointmentCancelled.type]},
}
HOME = uuid4()


def act(action: str, step: str = "act", **parameters: Any) -> dict[str, Any]:
    return {"kind": "action", "id": step, "action": action, "parameters": parameters}


def branch(*cases: tuple[Any, list[dict[str, Any]]], otherwise: list[dict[str, Any]] | None = None) -> dict[str, Any]:
    return {"kind": "branch", "id": "way", "cases": [{"when": when, "steps": steps} for when, steps in cases], "otherwise": otherwise or []}


def neighbour(name: str, data: dict[str, Any], workflow_id: UUID | None = None) -> Neighbour:
    return Neighbour(workflow_id or uuid4(), name, Definition.model_validate(data))


def said(data: dict[str, Any], *neighbours: Neighbour) -> list[tuple[str, str, str | None, str]]:
    around = Surrounding(HOME, "Mine", OFFERED, list(neighbours), frozenset(one.id for one in neighbours))
    return [(one.code, one.pointer, one.step, one.severity) for one in analysed(Definition.model_validate(data), around)]


class TestStepsNobodyReaches:
    def test_a_case_that_asks_what_an_earlier_one_asked(self) -> None:
        same = branch(("event.double_booked", [send("a")]), ("event.double_booked ", [send("b")]))
        assert said(definition(same)) == [("unreachable_step", "/steps/0/cases/1/when", "way", "error")]

    def test_a_case_that_is_never_true_and_what_stands_behind_one_that_always_is(self) -> None:
        ways = branch(("false", [send("a")]), ("true", [send("b")]), ("event.double_booked", [send("c")]), otherwise=[send("d")])
        assert said(definition(ways)) == [
            ("unreachable_step", "/steps/0/cases/0/when", "way", "warning"),
            ("unreachable_step", "/steps/0/cases/2/when", "way", "warning"),
            ("unreachable_step", "/steps/0/otherwise", "way", "warning"),
        ]

    def test_what_always_comes_to_the_same_is_seen_however_it_is_written(self) -> None:
        ways = branch(("1 == 2 && event.double_booked", [send("a")]), ("'a' != 'b'", [send("b")]), otherwise=[send("c", when="2 < 1")])
        assert [pointer for _, pointer, *_ in said(definition(ways))] == [
            "/steps/0/cases/0/when", "/steps/0/otherwise", "/steps/0/otherwise/0/when",
        ]  # fmt: skip

    def test_blanks_within_quotes_are_no_matter_of_spelling(self) -> None:
        assert said(definition(branch(("event.title == 'a b'", []), ("event.title == 'ab'", [])))) == []

    def test_what_stands_behind_a_branch_of_which_every_way_stops(self) -> None:
        stop = {"kind": "stop", "id": "end"}
        ways = branch(("event.double_booked", [stop]), otherwise=[{**stop, "id": "end-too"}])
        assert said(definition(ways, send("lost"))) == [("unreachable_step", "/steps/1", "lost", "error")]
        assert said(definition(branch(("event.double_booked", [stop])), send("found"))) == []

    def test_a_step_that_is_always_skipped(self) -> None:
        assert said(definition(send(when="false"))) == [("unreachable_step", "/steps/0/when", "intake", "warning")]


class TestAWorkflowThatTriggersItself:
    def test_without_any_condition_that_is_an_error_at_the_step(self) -> None:
        updating = definition(act("update_patient", phone="1"), event=PatientUpdated.type)
        assert said(updating) == [("triggers_itself", "/steps/0/action", "act", "error")]

    def test_with_a_condition_or_an_enrolment_it_is_a_question(self) -> None:
        updating = definition(act("update_patient", phone="1"), event=PatientUpdated.type)
        for bounded in (updating | {"condition": "patient.phone == null"}, updating | {"enrolment": {"policy": "once_while_active"}}):
            assert said(bounded) == [("triggers_itself", "/steps/0/action", "act", "warning")]

    @pytest.mark.parametrize(
        "more",
        [
            {"enrolment": {"policy": "every"}},
            {"condition": "true"},
            {"condition": "1 == 1 || patient.phone == null"},
            {"condition": {"jsonlogic": {"==": [1, 1]}}},
        ],
    )
    def test_what_keeps_nobody_from_anything_is_none(self, more: dict[str, Any]) -> None:
        updating = definition(act("update_patient", phone="1"), event=PatientUpdated.type) | more
        assert [severity for *_, severity in said(updating)] == ["error"]

    @pytest.mark.parametrize(
        "steps",
        [
            [branch(("event.tag == 'new'", [act("add_tag", tag="welcomed")]))],
            [branch(("event.tag == 'welcomed'", []), otherwise=[act("add_tag", tag="welcomed")])],
            [branch(("event.tag == 'welcomed'", [{"kind": "stop", "id": "end"}])), act("add_tag", tag="welcomed")],
            [
                branch(
                    ({"blocks": {"all": [{"field": "event.tag", "operator": "equals", "value": "new"}]}}, [act("add_tag", tag="welcomed")])
                )
            ],
            [act("add_tag", tag="welcomed") | {"when": "event.tag == 'new'"}],
            [wait("P30D"), act("add_tag", tag="welcomed")],
            [wait("PT12H"), wait("PT12H", "again"), act("add_tag", tag="welcomed")],
        ],
    )
    def test_a_case_a_condition_of_the_step_or_a_long_wait_before_it_makes_it_a_question(self, steps: list[dict[str, Any]]) -> None:
        found = said(definition(*steps, event=PatientTagged.type))
        assert [(code, severity) for code, *_, severity in found] == [("triggers_itself", "warning")]

    @pytest.mark.parametrize(
        "steps",
        [
            [act("add_tag", tag="welcomed")],
            [wait("PT23H"), act("add_tag", tag="welcomed")],
            [branch(("true", [act("add_tag", tag="welcomed")]))],
            [branch(("event.tag == 'new'", [send()])), act("add_tag", tag="welcomed")],
            [branch(("event.tag == 'new'", [wait("P30D")])), act("add_tag", tag="welcomed")],
            [act("add_tag", tag="welcomed"), wait("P30D")],
            [act("add_tag", tag="welcomed") | {"when": "2 > 1"}],
        ],
    )
    def test_what_stands_elsewhere_or_asks_nothing_does_not(self, steps: list[dict[str, Any]]) -> None:
        found = said(definition(*steps, event=PatientTagged.type))
        assert [severity for code, *_, severity in found if code == "triggers_itself"] == ["error"]

    def test_an_appointment_that_is_booked_long_after_the_one_that_started_it_is_a_question(self) -> None:
        for offset, severity in (("P30D", "warning"), ("-P1D", "error")):
            anchor = {"of": "appointment.ends_at", "offset": offset}
            recall = {"trigger": {"kind": "anchored", "anchor": anchor, "past_due": {"policy": "skip"}}, "steps": [act("book_appointment")]}
            assert [one for *_, one in said(recall)] == [severity]

    def test_a_day_waited_from_a_time_before_the_appointment_is_a_day(self) -> None:
        anchor = {"of": "appointment.starts_at", "offset": "-P1D"}
        reminder = {"trigger": {"kind": "anchored", "anchor": anchor, "past_due": {"policy": "skip"}}}
        assert [one for *_, one in said(reminder | {"steps": [wait("P1D"), act("book_appointment")]})] == ["warning"]

    def test_an_event_that_counts_as_another_is_seen(self) -> None:
        offered = {**OFFERED, "match": {"causes": [AppointmentMatched.type]}}
        found = analysed(Definition.model_validate(definition(act("match"))), Surrounding(HOME, "Mine", offered))
        assert [one.code for one in found] == ["triggers_itself"]

    def test_starting_itself_by_name_is_seen(self) -> None:
        again = definition(act("start_workflow", workflow_id=str(HOME))) | {"trigger": {"kind": "manual"}}
        assert said(again) == [("triggers_itself", "/steps/0/action", "act", "error")]

    def test_what_an_action_does_not_cause_is_no_matter(self) -> None:
        assert said(definition(act("update_patient", phone="1"))) == []


class TestWorkflowsThatStartEachOther:
    def test_a_circle_is_told_with_the_names_on_it(self) -> None:
        booking = neighbour("Books again", definition(act("book_appointment"), event=AppointmentCancelled.type))
        cancelling = definition(wait(), act("cancel_appointment"))
        around = Surrounding(HOME, "Mine", OFFERED, [booking])
        (found,) = analysed(Definition.model_validate(cancelling), around)
        assert (found.code, found.pointer, found.hint) == ("workflows_start_each_other", "/steps/1/action", "Mine → Books again → Mine")
        assert found.severity == "warning"

    def test_one_that_starts_the_other_by_name(self) -> None:
        back = neighbour("Back", definition(act("start_workflow", workflow_id=str(HOME))) | {"trigger": {"kind": "manual"}})
        there = definition(act("start_workflow", workflow_id=str(back.id))) | {"trigger": {"kind": "manual"}}
        assert said(there, back) == [("workflows_start_each_other", "/steps/0/action", "act", "warning")]

    def test_a_circle_of_others_that_does_not_come_by_here_is_theirs(self) -> None:
        first = neighbour("First", definition(act("book_appointment"), event=AppointmentCancelled.type))
        second = neighbour("Second", definition(act("cancel_appointment")))
        assert said(definition(act("cancel_appointment"), event=EmailStatusChanged.type), first, second) == []

    def test_a_workflow_that_nobody_here_has_is_an_error(self) -> None:
        for action in ("start_workflow", "stop_workflow"):
            found = said(definition(act(action, workflow_id=str(uuid4()))))
            assert found == [("unknown_workflow", "/steps/0/parameters/workflow_id", "act", "error")]


class TestAWorkflowThatIsToBeStarted:
    def test_one_that_is_started_by_something_else_is_a_warning(self) -> None:
        other = neighbour("Other", definition(event=EmailStatusChanged.type))
        found = said(definition(act("start_workflow", workflow_id=str(other.id))), other)
        assert found == [("workflow_not_manual", "/steps/0/parameters/workflow_id", "act", "warning")]
        found = said(definition(act("start_workflow", workflow_id=str(HOME))))
        assert found == [("workflow_not_manual", "/steps/0/parameters/workflow_id", "act", "warning")]

    def test_one_that_is_not_published_is_a_warning(self) -> None:
        draft = uuid4()
        around = Surrounding(HOME, "Mine", OFFERED, [], frozenset({draft}))
        for action, codes in (("start_workflow", ["workflow_not_published"]), ("stop_workflow", [])):
            parsed = Definition.model_validate(definition(act(action, workflow_id=str(draft))))
            assert [one.code for one in analysed(parsed, around)] == codes

    def test_one_that_is_started_by_hand_is_fine(self) -> None:
        other = neighbour("Other", definition(wait()) | {"trigger": {"kind": "manual"}})
        assert said(definition(act("start_workflow", workflow_id=str(other.id)), event=EmailStatusChanged.type), other) == []


class TestTheSameMessageTwice:
    def test_two_workflows_that_write_at_the_same_event(self) -> None:
        other = neighbour("Welcome", definition(send("x")))
        assert said(definition(), other) == [("same_message_twice", "/steps/0/action", "intake", "warning")]

    @pytest.mark.parametrize(
        "other",
        [
            definition(send(), event=AppointmentCancelled.type),
            definition(act("update_patient")),
            definition(send()) | {"trigger": {"kind": "manual"}},
        ],
    )
    def test_another_time_or_another_action_is_no_collision(self, other: dict[str, Any]) -> None:
        assert said(definition(), neighbour("Other", other)) == []


class TestPersonalDataInSubjects:
    @pytest.mark.parametrize("subject", ["Dear {{ patient.given_name }}", "{{ event.attendee.name }}: your visit"])
    def test_is_a_warning(self, subject: str) -> None:
        found = said(definition(send(subject=subject)))
        assert found == [("personal_data_in_subject", "/steps/0/parameters/subject", "intake", "warning")]

    @pytest.mark.parametrize("subject", ["Your visit", "patient.given_name", "{{ practice.name }}", "{{ patient.id }}"])
    def test_what_names_nobody_is_none(self, subject: str) -> None:
        assert said(definition(send(subject=subject, text="Dear {{ patient.given_name }}"))) == []


class TestSecrets:
    def test_what_looks_like_one_is_a_warning_wherever_it_stands(self) -> None:
        call = act(
            "http_request", headers={"Authorization": "Bearer abc"}, more=[{"name": "X-Api-Key", "value": "abc"}], url="https://a.example"
        )
        assert [pointer for _, pointer, *_ in said(definition(call))] == [
            "/steps/0/parameters/headers/Authorization", "/steps/0/parameters/more/0/value",
        ]  # fmt: skip
