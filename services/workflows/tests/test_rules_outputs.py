"""What is read of earlier steps: found at save when it is never there, warned of when it may be missing - and the interpreter agrees."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest

from libs.contracts.patients import PatientTagged
from libs.contracts.scheduling import AppointmentBooked
from services.workflows.rules.definitions.compiling import CompiledDefinition, compile_definition
from services.workflows.rules.definitions.definition import Definition
from services.workflows.rules.definitions.output_checks import output_findings
from services.workflows.rules.definitions.outputs import declared
from services.workflows.rules.definitions.triggers import BY_TYPE
from services.workflows.rules.expressions.cel_cpp import CelCpp
from services.workflows.rules.expressions.interface import Values
from services.workflows.rules.expressions.samples import example_of, full_sample
from services.workflows.rules.findings import Finding
from services.workflows.rules.runs.interpreter import advance
from services.workflows.rules.runs.states import EventArrived, Input, Started, State, StepResult, Surroundings, TimerFired
from services.workflows.tests.engine.world import BOOKED, definition, heard, send, wait, wait_for

TAGGED = PatientTagged.type
NOW = datetime(2030, 1, 1, tzinfo=UTC)
OFFERED: dict[str, dict[str, Any]] = {
    "send_email": {"result_schema": {"type": "object", "properties": {"message_id": {"type": "string", "format": "uuid"}}}},
    "book": {
        "result_schema": {
            "type": "object",
            "properties": {
                "decision": {"type": "string", "enum": ["started", "not"]},
                "starts_at": {"type": "string", "format": "date-time"},
                "note": {"anyOf": [{"type": "string"}, {"type": "null"}]},
                "rooms": {"type": "array", "items": {"$ref": "#/$defs/Room"}},
                "more": {"type": "object"},
            },
            "$defs": {"Room": {"type": "object", "properties": {"name": {"type": "string"}, "beds": {"type": "integer"}}}},
        }
    },
}
RESULTS: dict[str, dict[str, Any]] = {
    "send_email": {"message_id": "m"},
    "book": {
        "decision": "started",
        "starts_at": "2030-01-31T09:30:00Z",
        "note": "a",
        "rooms": [{"name": "One", "beds": 1}],
        "more": {"any": "thing"},
    },
}


def act(step: str, action: str = "book", **fields: Any) -> dict[str, Any]:
    return {"kind": "action", "id": step, "action": action, "parameters": {}, **fields}


def branch(*cases: tuple[Any, list[dict[str, Any]]], otherwise: list[dict[str, Any]] | None = None) -> dict[str, Any]:
    return {"kind": "branch", "id": "way", "cases": [{"when": when, "steps": steps} for when, steps in cases], "otherwise": otherwise or []}


def said(*steps: dict[str, Any]) -> list[Finding]:
    parsed = Definition.model_validate(definition(*steps))
    compile_definition(parsed)  # it says nothing: a version that is published goes on being loaded
    return output_findings(parsed, OFFERED)


def brief(*steps: dict[str, Any]) -> list[tuple[str, str, str]]:
    return [(one.code, one.pointer, one.severity) for one in said(*steps)]


def text(expression: str, step: str = "tell") -> dict[str, Any]:
    return send(step, text=f"{{{{ {expression} }}}}")


WAIT = wait_for(heard(BOOKED))


class TestAFieldThatDoesNotExist:
    @pytest.mark.parametrize(
        ("expression", "column", "hint"),
        [
            ("steps.one.decision", 11, "did you mean 'steps.one.result.decision'?"),
            ("steps.one.outcme", 11, "did you mean 'outcome'?"),
            ("steps['one']['outcme']", 14, "did you mean 'outcome'?"),
            ("steps.one.result.decisoin", 18, "did you mean 'decision'?"),
            ("steps.one.result.rooms[0].nam", 27, "did you mean 'name'?"),
            ("steps.one.result.decision.text", 27, None),
            ("steps.one.xyz", 11, "it has: outcome, result, error_code"),
        ],
    )
    def test_is_an_error_with_its_place_and_a_hint(self, expression: str, column: int, hint: str | None) -> None:
        (found,) = said(act("one"), text(expression))
        assert (found.code, found.pointer, found.severity) == ("unknown_output", "/steps/1/parameters/text", "error")
        assert (found.step, found.column, found.hint) == ("tell", column, hint)

    def test_in_conditions_cases_and_awaited_events_as_well(self) -> None:
        wrong = "steps.one.outcme == 'succeeded'"
        found = said(act("one"), send("a", when=wrong), branch((wrong, [])), wait_for(heard(BOOKED, wrong)))
        assert [one.pointer for one in found] == ["/steps/1/when", "/steps/2/cases/0/when", "/steps/3/events/0/when"]

    def test_of_the_event_that_came(self) -> None:
        (found,) = said(WAIT, text("steps.reply.title"))
        assert found.hint == "did you mean 'steps.reply.event.title'?"
        (found,) = said(WAIT, branch(("steps.reply.outcome == 'event'", [text("steps.reply.event.attendee.nam")])))
        assert (found.code, found.hint) == ("unknown_output", "did you mean 'name'?")

    @pytest.mark.parametrize(
        ("condition", "pointer"),
        [
            ({"blocks": {"all": [{"field": "steps.one.outcme", "operator": "equals", "value": "x"}]}}, "/blocks/all/0/field"),
            ({"jsonlogic": {"===": [{"var": "steps.one.outcme"}, "x"]}}, "/jsonlogic/===/0"),
        ],
    )
    def test_in_other_forms_it_points_to_where_it_was_written(self, condition: Any, pointer: str) -> None:
        (found,) = said(act("one"), branch((condition, [])))
        assert (found.code, found.pointer, found.hint) == ("unknown_output", f"/steps/1/cases/0/when{pointer}", "did you mean 'outcome'?")

    @pytest.mark.parametrize(
        "expression", ["steps.one.result.more.any.thing", "steps.far.result.whatever.startsWith('x')", "'one' in steps"]
    )
    def test_what_nobody_declared_may_hold_anything(self, expression: str) -> None:
        assert said(act("one"), act("far", "fax"), text(expression)) == []

    def test_an_error_code_of_a_step_that_never_goes_on_after_a_failure(self) -> None:
        assert brief(act("one"), text("steps.one.error_code")) == [("unknown_output", "/steps/1/parameters/text", "error")]
        inside = text("steps.one.result.decision", "inside")
        rescued = act("one", on_error="branch", error_steps=[inside])
        assert brief(rescued) == [("unknown_output", "/steps/0/error_steps/0/parameters/text", "error")]


class TestAStepThatCannotHaveRunBefore:
    @pytest.mark.parametrize(
        "steps",
        [
            [branch(("event.double_booked", [act("one")]), ("event.version == 1", [text("steps.one.outcome")]))],
            [branch(("event.double_booked", [act("one")]), otherwise=[text("steps.one.outcome")])],
            [branch(("event.double_booked", [act("one"), {"kind": "stop", "id": "end"}])), text("steps.one.outcome")],
            [act("one", when="1 == 2"), text("steps.one.outcome")],
            [branch(("false", [act("one")])), text("steps.one.outcome")],
            [act("one", parameters={"a": "{{ steps.one.outcome }}"})],
            [wait_for(heard(BOOKED, "steps.reply.outcome == 'event'"))],
            [wait(step="one"), text("steps.one.outcome")],
            [{"kind": "wait_until", "id": "one", "local": {"at": "09:00"}}, text("steps.one.outcome")],
            [branch(("event.double_booked", [])), text("steps.way.outcome")],
        ],
    )
    def test_is_an_error(self, steps: list[dict[str, Any]]) -> None:
        assert [(one.code, one.severity) for one in said(*steps)] == [("no_output", "error")]


class TestWhatMayBeMissing:
    @pytest.mark.parametrize(
        ("steps", "hint"),
        [
            (
                [act("one", when="event.double_booked"), text("steps.one.outcome")],
                "ask first: {{ 'one' in steps ? steps.one.outcome : '' }}",
            ),
            (
                [branch(("event.double_booked", [act("one")])), send(when="steps.one.outcome == 'succeeded'")],
                "ask first: 'one' in steps && …",
            ),
            (
                [act("one", on_error="branch", error_steps=[act("two")]), text("steps.two.outcome")],
                "ask first: {{ 'two' in steps ? steps.two.outcome : '' }}",
            ),
            (
                [act("one", on_error="skip"), send(when="steps.one.result.decision == 'not'")],
                "ask first: steps.one.outcome == 'succeeded' && …",
            ),
            (
                [act("one", on_error="skip"), text("steps.one.error_code")],
                "ask first: {{ steps.one.outcome == 'failed' ? steps.one.error_code : '' }}",
            ),
            ([WAIT, text("steps.reply.event.title")], "ask first: {{ steps.reply.outcome == 'event' ? steps.reply.event.title : '' }}"),
            (
                [wait_for(heard(BOOKED), heard(TAGGED)), text("steps.reply.event.tag")],
                "ask first: {{ steps.reply.number == 1 ? steps.reply.event.tag : '' }}",
            ),
        ],
    )
    def test_is_a_warning_that_says_how_to_ask_first(self, steps: list[dict[str, Any]], hint: str) -> None:
        (found,) = said(*steps)
        assert (found.code, found.severity, found.hint) == ("output_may_be_missing", "warning", hint)

    @pytest.mark.parametrize(
        "steps",
        [
            [act("one", when="event.double_booked"), send(when="'one' in steps && steps.one.outcome == 'succeeded'")],
            [act("one", when="event.double_booked"), send(when="!('one' in steps) || steps.one.outcome == 'failed'")],
            [act("one", when="event.double_booked"), send(when="'one' in steps", text="{{ steps.one.outcome }}")],
            [WAIT, branch(("steps.reply.outcome == 'event'", [text("steps.reply.event.title")]))],
            [WAIT, branch(("steps.reply.outcome == 'timed_out'", []), otherwise=[text("steps.reply.event.title")])],
            [WAIT, branch(("steps.reply.event == null", []), otherwise=[text("steps.reply.event.title")])],
            [WAIT, text("steps.reply.outcome == 'event' ? steps.reply.event.title : ''")],
            [WAIT, text("steps.reply.number"), text("steps.reply.id", "b"), text("steps.reply.outcome", "c")],
            [
                WAIT,
                branch(
                    (
                        {"blocks": {"all": [{"field": "steps.reply.outcome", "operator": "equals", "value": "event"}]}},
                        [text("steps.reply.event.title")],
                    )
                ),
            ],
            [WAIT, branch(({"jsonlogic": {"===": [{"var": "steps.reply.outcome"}, "event"]}}, [text("steps.reply.event.title")]))],
            [WAIT, branch(({"blocks": {"all": [{"field": "steps.reply.event.title", "operator": "is_empty"}]}}, []))],
            [
                wait_for(heard(BOOKED), heard(TAGGED)),
                branch(
                    ("steps.reply.number == 1", [text("steps.reply.event.tag")]),
                    ("steps.reply.number == 0", [text("steps.reply.event.title", "b")]),
                ),
            ],
            [
                branch(("event.double_booked", [act("one")]), otherwise=[{"kind": "stop", "id": "end"}]),
                text("steps.one.result.decision"),
            ],
            [act("one", on_error="branch", error_steps=[text("steps.one.error_code", "why"), {"kind": "stop", "id": "end"}]), text("steps.one.result.decision")],
        ],
    )  # fmt: skip
    def test_what_was_asked_first_is_not_mentioned(self, steps: list[dict[str, Any]]) -> None:
        assert said(*steps) == []


class TestKinds:
    def test_a_time_is_kept_as_text_and_the_hint_says_how_to_write_it(self) -> None:
        for steps, path in (
            ([act("one")], "steps.one.result.starts_at"),
            ([WAIT, branch(("steps.reply.outcome == 'timed_out'", [{"kind": "stop", "id": "end"}]))], "steps.reply.event.starts_at"),
        ):
            (found,) = said(*steps, send(when=f"{path} > now"))
            assert (found.code, found.severity) == ("types_differ", "error")
            assert found.hint is not None
            assert f"timestamp({path})" in found.hint
            assert said(*steps, send(when=f"timestamp({path}) > now")) == []

    @pytest.mark.parametrize(
        ("when", "code"),
        [
            ("steps.one.result.rooms[0].beds > 'x'", "types_differ"),
            ("steps.one.result.decision", "not_a_condition"),
            ("steps.one.result.note.startsWith('x')", "may_fail:no_such_overload"),
            ("steps.one.result.decision == 'strated'", "no_member"),
            ("steps.one.outcome == 'suceeded'", "no_member"),
        ],
    )
    def test_what_does_not_fit_is_found(self, when: str, code: str) -> None:
        assert [one.code for one in said(act("one"), send(when=when))] == [code]

    def test_a_list_is_nothing_for_a_text(self) -> None:
        assert [one.code for one in said(act("one"), text("steps.one.result.rooms"))] == ["not_text"]

    def test_a_schema_that_refers_to_itself_ends_somewhere(self) -> None:
        schema = {"$ref": "#/$defs/Part", "$defs": {"Part": {"type": "object", "properties": {"inner": {"$ref": "#/$defs/Part"}}}}}
        left = declared(schema)
        while left.members:
            left = left.members["inner"]
        assert left.open


class TestCost:
    def test_a_definition_full_of_templates_is_not_tried_without_end(self, monkeypatch: pytest.MonkeyPatch) -> None:
        bound: list[int] = []
        original = CelCpp.bind

        def counting(self: CelCpp, values: Values) -> Any:
            bound.append(1)
            return original(self, values)

        monkeypatch.setattr(CelCpp, "bind", counting)
        many = wait_for(*(heard(BOOKED) for _ in range(10)))
        steps = [
            many,
            *(text("steps.reply.outcome }}{{ steps.reply.id }}" * 300 + "{{ steps.reply.number", f"t{number}") for number in range(5)),
        ]
        parsed = Definition.model_validate(definition(*steps))
        compile_definition(parsed)
        before = len(bound)
        assert output_findings(parsed, OFFERED) == []
        assert 0 < len(bound) - before <= 32


def inputs_of(workflow: CompiledDefinition, state: State) -> Iterator[Input]:
    """Everything that may become of the step a run waits at."""
    here: Any = workflow.program[state.cursor]
    if here.kind == "action":
        yield StepResult(here.id, "succeeded", result=RESULTS[here.action])
        yield StepResult(here.id, "failed", "refused")
        return
    yield TimerFired(here.id)
    for number, awaited in enumerate(getattr(here, "events", ())):
        yield EventArrived(here.id, number, example_of(BY_TYPE[awaited.event]).model_dump(mode="json"), "0190")


def ends(workflow: CompiledDefinition, double_booked: bool) -> list[State]:
    """Every way a run may go."""
    sample = {**full_sample(AppointmentBooked, workflow.fields), "event.double_booked": double_booked}
    around = Surroundings(lambda steps: workflow.expressions.bind({**sample, "steps": dict(steps)}))
    todo, found = [advance(workflow, State(), Started(), around, NOW)[0]], []
    while todo:
        state = todo.pop()
        if state.status.terminal:
            found.append(state)
            continue
        todo += [advance(workflow, state, one, around, NOW)[0] for one in inputs_of(workflow, state)]
    return found


BEFORE: dict[str, list[dict[str, Any]]] = {
    "an action": [act("one")],
    "one that may fail": [act("one", on_error="skip")],
    "one with steps for its failure": [act("one", on_error="branch", error_steps=[act("two")])],
    "one that may be skipped": [act("one", when="event.double_booked")],
    "one in a case": [branch(("event.double_booked", [act("one")]), otherwise=[act("two")])],
    "one in a case beside a stop": [branch(("event.double_booked", [act("one")]), otherwise=[{"kind": "stop", "id": "end"}])],
    "a wait for an event": [wait_for(heard(BOOKED), step="one")],
    "a wait for one of two": [wait_for(heard(BOOKED), heard(TAGGED), step="one")],
}
READ = [
    "steps.one.outcome", "steps.one.result.decision", "steps.one.error_code", "steps.one.decision", "steps.one.event.title",
    "steps.one.event.tag", "steps.one.number", "steps.one.event.titel", "steps.one.result.rooms[0].name",
    "steps.one.outcome == 'event' ? steps.one.event.title : ''", "'one' in steps ? steps.one.outcome : ''",
    "'one' in steps && steps.one.outcome == 'succeeded' ? steps.one.result.decision : ''",
    "steps.one.outcome == 'failed' ? steps.one.error_code : ''", "steps.one.number == 1 ? steps.one.event.tag : ''",
    "steps.one.number in [0, 1] ? steps.one.id : ''", "!(steps.one.outcome != 'event') ? steps.one.event.time_zone : ''",
]  # fmt: skip


class TestTheInterpreterAgrees:
    @pytest.mark.parametrize("before", BEFORE)
    @pytest.mark.parametrize("expression", READ)
    def test_an_error_fails_always_a_warning_sometimes_nothing_never(self, before: str, expression: str) -> None:
        steps = [*BEFORE[before], text(expression)]
        severities = {one.severity for one in said(*steps) if one.code in {"unknown_output", "no_output", "output_may_be_missing"}}
        workflow = compile_definition(Definition.model_validate(definition(*steps)))
        came = [state for flag in (False, True) for state in ends(workflow, flag)]
        failed = [(state.error_code or "").startswith("template_error") for state in came]
        there = [state for state, lost in zip(came, failed, strict=True) if lost or "tell" in state.outputs]
        read_well = [state for state in there if "tell" in state.outputs]
        if "error" in severities:
            assert there, came
            assert not read_well or "?" in expression
        elif "warning" in severities:
            assert any(failed)
        else:
            assert not any(failed)
