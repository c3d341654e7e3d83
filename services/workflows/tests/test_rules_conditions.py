"""Conditions in three forms: kept as written, checked where they were written, and what each means."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from pydantic import TypeAdapter, ValidationError

from libs.contracts.conditions import MAX_DEPTH, MAX_PARTS
from libs.contracts.scheduling import AppointmentBooked
from services.workflows.rules.conditions.explaining import explain
from services.workflows.rules.conditions.forms import as_cel
from services.workflows.rules.conditions.written import Condition
from services.workflows.rules.definitions.compiling import compile_definition
from services.workflows.rules.definitions.definition import Definition
from services.workflows.rules.expressions.engines import ENGINES, environment
from services.workflows.rules.expressions.interface import Evaluated
from services.workflows.rules.expressions.samples import full_sample
from services.workflows.rules.findings import DefinitionInvalid, Finding
from services.workflows.tests.engine.world import definition, send, wait

CONDITION: TypeAdapter[Any] = TypeAdapter(Condition)
NOW = datetime(2030, 1, 31, 9, 30, tzinfo=UTC)


def block(field: str, operator: str, value: Any = None, **more: Any) -> dict[str, Any]:
    return {"field": field, "operator": operator, **({} if value is None else {"value": value}), **more}


def blocks(*members: Any, group: str = "all") -> dict[str, Any]:
    return {"blocks": {group: list(members)}}


def findings(data: dict[str, Any]) -> list[Finding]:
    try:
        return list(compile_definition(Definition.model_validate(data)).warnings)
    except DefinitionInvalid as error:
        return error.findings


def evaluated(condition: Any, engine: str = "cel-cpp", **values: Any) -> Evaluated:
    fields, expressions = environment(AppointmentBooked, ENGINES[engine])
    sample = {**full_sample(AppointmentBooked, fields), **{name.replace("__", "."): value for name, value in values.items()}}
    text = as_cel(CONDITION.validate_python(condition), expressions.shapes)
    return expressions.compile(text, translated=True).evaluate(expressions.bind(sample))


class TestKeeping:
    FORMS = (
        "event.title == 'x'",
        {"jsonlogic": {"==": [{"var": "patient.email"}, None]}},
        {"jsonlogic": {"and": [{"==": [{"var": "event.version"}, 1.0]}, {"!": {"var": ["patient.email", None]}}]}},
        blocks(block("event.title", "is_empty") | {"value": None}, blocks(block("event.version", "equals", 3.0), group="any")["blocks"]),
        blocks(block("event.title", "contains", "x", ignore_case=False), group="any"),
    )

    @pytest.mark.parametrize("form", FORMS)
    def test_a_condition_is_stored_as_its_author_wrote_it(self, form: Any) -> None:
        branch = {"kind": "branch", "id": "way", "cases": [{"when": form, "steps": []}]}
        awaiting = {
            "kind": "wait_for", "id": "answer", "timeout": "PT1H", "events": [{"event": AppointmentBooked.type, "when": form}],
        }  # fmt: skip
        data = {**definition({**send(), "when": form}, branch, awaiting), "condition": form}
        stored = Definition.model_validate(data).model_dump(mode="json", exclude_none=True)
        assert stored["condition"] == form
        assert stored["steps"][0]["when"] == form
        assert stored["steps"][1]["cases"][0]["when"] == form
        assert stored["steps"][2]["events"][0]["when"] == form
        assert Definition.model_validate(stored).model_dump(mode="json", exclude_none=True) == stored

    def test_the_published_schema_shows_all_three(self) -> None:
        schema = Definition.model_json_schema()
        assert {"Blocks", "JsonLogic", "Block", "AllOf", "AnyOf"} <= set(schema["$defs"])
        forms = [one.get("$ref", one.get("type")) for one in schema["properties"]["condition"]["anyOf"][0]["oneOf"]]
        assert forms == ["string", "#/$defs/JsonLogic", "#/$defs/Blocks"]

    @pytest.mark.parametrize(
        "form",
        [
            {}, {"blocks": {}}, {"blocks": []}, {"blocks": {"all": []}}, {"blocks": {"all": [{}]}}, {"jsonlogic": "true"}, {"cel": "true"}, 3,
            {"blocks": {"all": [block("a", "b")], "any": []}}, {"jsonlogic": {}, "blocks": {}},
            {"jsonlogic": {"and": [True] * MAX_PARTS}}, {"blocks": {"all": [block("a", "b", "x" * 5000)]}},
        ],
    )  # fmt: skip
    def test_what_is_none_of_them_or_too_large_is_refused(self, form: Any) -> None:
        with pytest.raises(ValidationError):
            CONDITION.validate_python(form)

    @pytest.mark.parametrize("name", ["!", "all"])
    def test_what_is_nested_too_deeply_is_refused_before_it_is_walked(self, name: str) -> None:
        rule: Any = True
        for _ in range(5000 if name == "!" else MAX_DEPTH + 1):
            rule = {name: [rule]}
        with pytest.raises(ValidationError):
            CONDITION.validate_python({"jsonlogic": rule} if name == "!" else {"blocks": rule})


@pytest.mark.parametrize("engine", sorted(ENGINES))
class TestBlocks:
    @pytest.mark.parametrize(
        ("one", "expected"),
        [
            (block("event.title", "equals", "text"), True),
            (block("event.title", "not_equals", "text"), False),
            (block("event.title", "equals", "TEXT", ignore_case=True), True),
            (block("event.title", "contains", "E", ignore_case=True), True),
            (block("event.title", "contains", "E"), False),
            (block("event.title", "starts_with", "te"), True),
            (block("event.title", "ends_with", "XT", ignore_case=True), True),
            (block("event.title", "one_of", ["a", "text"]), True),
            (block("event.title", "not_one_of", ["A", "TEXT"], ignore_case=True), False),
            (block("event.title", "contains", ".*", ignore_case=True), False),
            (block("event.title", "is_empty"), False),
            (block("event.version", "between", [1, 3]), True),
            (block("event.version", "at_least", 1.5), False),
            (block("event.version", "one_of", [1, 2]), True),
            (block("event.double_booked", "is_false"), True),
            (block("event.starts_at", "before", "2030-01-31T10:31:00+01:00"), True),
            (block("event.starts_at", "after", "2030-01-31T09:30:00Z"), False),
            (block("event.starts_at", "within_last_days", 1), True),
            (block("event.starts_at", "in_next_days", 1), True),
            (block("patient.email", "is_not_empty"), True),
            (block("steps.ask.outcome", "equals", "succeeded"), False),
            (block("steps.ask.outcome", "not_equals", "succeeded"), True),
            (block("steps.ask.outcome", "is_empty"), True),
        ],
    )
    def test_each_operator(self, engine: str, one: dict[str, Any], expected: bool) -> None:
        assert evaluated(blocks(one), engine) == Evaluated(expected)

    def test_case_counts_in_no_script(self, engine: str) -> None:
        assert evaluated(
            blocks(block("event.title", "equals", "müller straße", ignore_case=True)), engine, event__title="MÜLLER STRAßE"
        ).is_true

    def test_an_empty_field_is_in_every_not_and_never_an_error(self, engine: str) -> None:
        for operator, value in (("equals", "x"), ("contains", "x"), ("starts_with", "x"), ("one_of", ["x"])):
            assert evaluated(blocks(block("patient.email", operator, value)), engine, patient__email=None) == Evaluated(value=False)
        for operator, value in (("not_equals", "x"), ("not_contains", "x"), ("not_one_of", ["x"])):
            assert evaluated(blocks(block("patient.email", operator, value)), engine, patient__email=None).is_true

    def test_groups_stand_in_groups(self, engine: str) -> None:
        inner = blocks(block("event.title", "equals", "x"), block("event.version", "equals", 1), group="any")["blocks"]
        assert evaluated(blocks(block("event.double_booked", "is_false"), inner), engine).is_true

    def test_what_steps_left_is_asked_for_its_kind_first(self, engine: str) -> None:
        steps = {"ask": {"outcome": "succeeded", "n": 3, "tags": ["a"], "yes": True}}
        for one in (
            block("steps.ask.outcome", "contains", "ucc"), block("steps.ask.n", "less_than", 4), block("steps.ask.tags", "contains", "a"),
            block("steps.ask.yes", "is_true"), block("steps.ask.outcome", "one_of", ["succeeded"]), block("steps.ask.n", "not_equals", "3"),
        ):  # fmt: skip
            assert evaluated(blocks(one), engine, steps=steps).is_true


class TestFindings:
    @pytest.mark.parametrize(
        ("form", "code", "pointer", "hint"),
        [
            (blocks(block("patient.emial", "equals", "x")), "unknown_field", "/blocks/all/0/field", "did you mean 'patient.email'?"),
            (blocks(block("event.title", "befor", "x")), "unknown_operator", "/blocks/all/0/operator", None),
            (blocks(block("event.title", "equals", 3)), "invalid_value", "/blocks/all/0/value", None),
            (blocks(block("event.title", "one_of", ["a", 3])), "invalid_value", "/blocks/all/0/value/1", None),
            (blocks(block("event.title", "one_of", [])), "invalid_value", "/blocks/all/0/value", None),
            (blocks(block("event.starts_at", "before", "31.1.2030")), "invalid_time", "/blocks/all/0/value", None),
            (blocks(block("event.starts_at", "before", "2030-01-31")), "invalid_time", "/blocks/all/0/value", None),
            (blocks(block("event.starts_at", "in_next_days", 0)), "invalid_value", "/blocks/all/0/value", None),
            (blocks(block("event.version", "between", [1])), "invalid_value", "/blocks/all/0/value", None),
            (blocks(block("event.version", "equals", 1, ignore_case=True)), "invalid_value", "/blocks/all/0/ignore_case", None),
            ({"jsonlogic": {"==": [{"var": "patient.emial"}, "x"]}}, "unknown_field", "/jsonlogic/==/0", "did you mean 'patient.email'?"),
            ({"jsonlogic": {"and": [True, {"reduce": []}]}}, "unsupported_operator", "/jsonlogic/and/1/reduce", None),
            ({"jsonlogic": {"==": [{"var": "steps.nobody.outcome"}, None]}}, "unknown_step", "/jsonlogic", None),
        ],
    )  # fmt: skip
    def test_a_fault_is_named_where_its_author_wrote_it(self, form: Any, code: str, pointer: str, hint: str | None) -> None:
        found = findings(definition(send(when=form)))
        assert [(one.code, one.pointer, one.step, one.column) for one in found] == [(code, f"/steps/0/when{pointer}", "intake", None)]
        assert hint is None or found[0].hint == hint

    @pytest.mark.parametrize(
        ("condition", "column", "says", "hint"),
        [
            ("event.starts_at > '2030-01-01'", 17, "> does not take a time and a text", "timestamp('2030"),
            ("event.version == '1'", 15, "== does not take a whole number and a text", "without quotes"),
            ("patient.email > 3", 15, "> does not take a text (or null) and a whole number", "without quotes"),
            ("event.attendee.emial == 'x'", 16, "there is no field 'event.attendee.emial'", "event.attendee.email"),
            ("event.title.foo == 'x'", 13, "there is no field 'event.title.foo'", "event.title"),
            ("event.title.lowerAsci() == 'x'", 1, "there is no function 'lowerAsci'", "lowerAscii"),
            ("event.starts_at + 3 > now", 17, "+ does not take a time and a whole number", "duration('24h')"),
        ],
    )
    def test_types_are_checked_with_place_and_hint(self, condition: str, column: int, says: str, hint: str) -> None:
        (found,) = findings(definition(condition=condition))
        assert (found.code, found.column, found.message) == ("invalid_expression", column, says)
        assert hint in (found.hint or "")

    @pytest.mark.parametrize(
        ("condition", "column", "pointer"),
        [
            ("event.status == 'boked'", 17, ""),
            ("event.status in ['booked', 'boked']", 28, ""),
            (blocks(block("event.title", "is_empty"), block("event.status", "equals", "boked")), None, "/blocks/all/1"),
            ({"jsonlogic": {"in": [{"var": "event.status"}, ["boked"]]}}, None, "/jsonlogic"),
        ],
    )
    def test_a_text_a_field_never_holds_is_a_warning_with_what_it_holds(self, condition: Any, column: int | None, pointer: str) -> None:
        (found,) = findings(definition(condition=condition))
        assert (found.code, found.severity, found.column, found.pointer) == ("no_member", "warning", column, f"/condition{pointer}")
        assert found.hint == "it holds one of: booked, confirmed, cancelled, completed, no_show; did you mean 'booked'?"

    def test_what_may_be_null_is_named(self) -> None:
        (found,) = findings(definition(condition="patient.email != '' && patient.phone.startsWith('+')"))
        assert found.hint == "compare with null first: patient.phone != null && …"

    def test_a_condition_may_ask_what_time_it_is(self) -> None:
        assert findings(definition(wait(), send(when="event.starts_at - now > duration('2h')"))) == []


class TestExplaining:
    def test_every_block_has_its_value_and_its_place(self) -> None:
        fields, expressions = environment(AppointmentBooked, ENGINES["cel-cpp"])
        form = blocks(block("event.title", "equals", "x"), blocks(block("patient.email", "is_empty"), group="any")["blocks"])
        bound = expressions.bind(full_sample(AppointmentBooked, fields))
        (found,) = explain(CONDITION.validate_python(form), expressions, bound)
        title, group = found.children
        assert (found.value, title.value, group.value) == (False, False, False)
        assert (title.text, title.pointer, title.children[0].value) == ("event.title equals x", "/blocks/all/0", "text")
        assert [(one.pointer, one.value) for one in group.children] == [("/blocks/all/1/any/0", False)]

    def test_every_rule_has_its_value_and_what_is_said_of_elements_has_none(self) -> None:
        fields, expressions = environment(AppointmentBooked, ENGINES["cel-cpp"])
        rule = {"or": [{"==": [{"var": "event.title"}, "x"]}, {"some": [["a"], {"==": [{"var": ""}, "a"]}]}, {"var": "patient.email"}]}
        bound = expressions.bind(full_sample(AppointmentBooked, fields))
        (found,) = explain(CONDITION.validate_python({"jsonlogic": rule}), expressions, bound)
        assert [(one.pointer, one.value) for one in found.children] == [
            ("/jsonlogic/or/0", False), ("/jsonlogic/or/1", True), ("/jsonlogic/or/2", "sam.sample@patients.example"),
        ]  # fmt: skip
        assert [one.value for one in found.children[0].children] == ["text"]
