"""JSONLogic as CEL: the same truth as an implementation of JSONLogic, or a refusal with its place."""

from __future__ import annotations

import math
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from json_logic import jsonLogic
from json_logic.builtins import BUILTINS, to_number

from services.workflows.rules.conditions.jsonlogic import from_jsonlogic
from services.workflows.rules.conditions.translation import Untranslatable, pointer_at
from services.workflows.rules.conditions.written import JsonLogic
from services.workflows.rules.expressions.cel_cpp import CelCpp
from services.workflows.rules.expressions.interface import Evaluated, ExpressionInvalid, FieldType
from services.workflows.rules.expressions.shapes import Shape

SHAPES = {
    "event.title": Shape(FieldType.STRING),
    "event.count": Shape(FieldType.INT),
    "event.score": Shape(FieldType.DOUBLE),
    "event.urgent": Shape(FieldType.BOOL),
    "event.tags": Shape(FieldType.TEXTS),
    "event.starts_at": Shape(FieldType.TIMESTAMP),
    "patient.email": Shape(FieldType.STRING, nullable=True),
    "patient.age": Shape(FieldType.INT, nullable=True),
    "steps": Shape(FieldType.DYN),
}
ENGINE = CelCpp({name: shape.declared for name, shape in SHAPES.items()}, SHAPES)
VALUES: dict[str, Any] = {
    "event.title": "First visit", "event.count": 3, "event.score": 2.5, "event.urgent": True, "event.tags": ["new", "recall"],
    "event.starts_at": datetime(2030, 1, 31, 9, 30, tzinfo=UTC), "patient.email": "kim@patients.example", "patient.age": 44,
    "steps": {"ask": {"outcome": "succeeded", "rows": [{"n": 1}, {"n": 5}]}},
}  # fmt: skip


def evaluated(rule: dict[str, Any], **values: Any) -> Evaluated:
    bound = ENGINE.bind({**VALUES, **{name.replace("__", "."): value for name, value in values.items()}})
    piece = from_jsonlogic(JsonLogic(jsonlogic=rule), SHAPES)
    return ENGINE.compile(piece.text, translated=True).evaluate(bound)


def refused(rule: dict[str, Any]) -> tuple[str, str]:
    with pytest.raises(Untranslatable) as caught:
        from_jsonlogic(JsonLogic(jsonlogic=rule), SHAPES)
    return caught.value.code, caught.value.pointer


def var(name: str) -> dict[str, Any]:
    return {"var": name}


class TestTranslating:
    @pytest.mark.parametrize(
        ("rule", "expected"),
        [
            ({"==": [var("event.title"), "First visit"]}, True),
            ({"and": [{">": [var("event.count"), 2]}, var("event.urgent")]}, True),
            ({"<": [1, var("event.count"), 3]}, False),
            ({"<=": [1, var("event.count"), 3]}, True),
            ({"in": ["visit", var("event.title")]}, True),
            ({"in": ["recall", var("event.tags")]}, True),
            ({"in": [var("event.title"), ["a", "First visit"]]}, True),
            ({"some": [var("event.tags"), {"==": [var(""), "new"]}]}, True),
            ({"all": [[], {"==": [1, 1]}]}, False),
            ({"missing": ["patient.email", "event.title"]}, False),
            ({"missing_some": [1, ["patient.email", "patient.age"]]}, False),
            ({"if": [{"<": [var("event.count"), 0]}, False, {"==": [var("event.count"), 3]}, True, False]}, True),
            ({"==": [{"cat": [var("event.title"), " ", var("event.count")]}, "First visit 3"]}, True),
            ({"==": [{"substr": [var("event.title"), -5]}, "visit"]}, True),
            ({"==": [{"substr": [var("event.title"), 0, -6]}, "First"]}, True),
            ({"==": [{"%": [var("event.count"), 2]}, 1]}, True),
            ({"==": [{"/": [var("event.count"), 2]}, 1.5]}, True),
            ({">": [{"max": [var("event.count"), 7]}, 6]}, True),
            ({"===": [var("steps.ask.outcome"), "succeeded"]}, True),
            ({"===": [var("steps.ask.nothing.at.all"), "succeeded"]}, False),
            ({"!": var("steps.other")}, True),
            ({"some": [var("event.tags"), {"in": ["ew", var("")]}]}, True),
            ({"!!": {"filter": [var("event.tags"), {"==": [var(""), "none"]}]}}, False),
            ({"in": ["new", {"merge": ["a", var("event.tags")]}]}, True),
            ({"==": [{"var": ["patient.email", "-"]}, "kim@patients.example"]}, True),
        ],
    )
    def test_what_a_rule_says(self, rule: dict[str, Any], expected: bool) -> None:
        assert evaluated(rule) == Evaluated(expected)

    @pytest.mark.parametrize(
        ("rule", "expected"),
        [({"<": [var("patient.age"), 5]}, True), ({"==": [var("patient.email"), None]}, True), ({"<": [var("patient.email"), "m"]}, False),
         ({"==": [var("patient.age"), 0]}, False), (var("patient.age"), False), ({"missing": "patient.email"}, True),
         ({"in": ["x", var("patient.email")]}, False), ({"or": [{"var": ["patient.age", 1]}, False]}, True)],
    )  # fmt: skip
    def test_null_is_what_it_is_in_javascript(self, rule: dict[str, Any], expected: bool) -> None:
        assert evaluated(rule, patient__email=None, patient__age=None) == Evaluated(expected)

    def test_times_compare_as_moments(self) -> None:
        assert evaluated({"<": [var("event.starts_at"), "2030-01-31T11:00:00+01:00"]}).is_true
        assert evaluated({"==": [var("event.starts_at"), "2030-01-31T10:30:00+01:00"]}).is_true

    def test_dividing_by_zero_is_infinite_and_what_is_no_number_is_false(self) -> None:
        assert evaluated({">": [{"/": [1, {"-": [var("event.count"), 3]}]}, 10**15]}).is_true
        assert evaluated({"!": {"/": [0, {"-": [var("event.count"), 3]}]}}).is_true

    def test_what_nobody_declared_is_an_error_where_javascript_would_convert_it(self) -> None:
        assert evaluated({">": [var("steps.n"), 5]}, steps={"n": 7}).is_true
        assert evaluated({">": [var("steps.n"), 5]}, steps={}) == Evaluated(value=False)
        assert evaluated({">": [var("steps.n"), 5]}, steps={"n": "7"}).error == "no_such_overload"


class TestRefusing:
    @pytest.mark.parametrize(
        ("rule", "code", "pointer"),
        [
            ({"reduce": [var("event.tags"), 1, 0]}, "unsupported_operator", "/jsonlogic/reduce"),
            ({"and": [True, {"log": "x"}]}, "unsupported_operator", "/jsonlogic/and/1/log"),
            ({"==": [var("patient.emial"), "x"]}, "unknown_field", "/jsonlogic/==/0"),
            ({"==": [var("event.count"), "3"]}, "types_differ", "/jsonlogic/=="),
            ({"===": [var("event.count"), "3"]}, "types_differ", "/jsonlogic/==="),
            ({"==": [var("event.urgent"), 1]}, "types_differ", "/jsonlogic/=="),
            ({"==": [var("steps.ask.outcome"), "x"]}, "unknown_kind", "/jsonlogic/=="),
            ({"<": [var("event.title"), 3]}, "types_differ", "/jsonlogic/<"),
            ({"<": [var("patient.email"), "7"]}, "may_be_null", "/jsonlogic/<"),
            ({"<": [var("event.starts_at"), "soon"]}, "invalid_time", "/jsonlogic/</1"),
            ({">": [{"+": [var("patient.age"), 1]}, 1]}, "not_a_number", "/jsonlogic/>/0/+/0"),
            ({">": [{"+": [var("event.title"), 1]}, 1]}, "not_a_number", "/jsonlogic/>/0/+/0"),
            ({"%": [1, 0]}, "unsupported_operator", "/jsonlogic/%"),
            ({"==": [{"cat": [var("event.score")]}, "x"]}, "not_a_text", "/jsonlogic/==/0/cat/0"),
            ({"==": [1, 2, 3]}, "wrong_count", "/jsonlogic/=="),
            ({"a": 1, "b": 2}, "not_a_rule", "/jsonlogic"),
            ({}, "not_a_rule", "/jsonlogic"),
            ({"some": [var("event.tags"), {"==": [var("event.title"), "x"]}]}, "unknown_field", "/jsonlogic/some/1/==/0"),
            ({"var": 1}, "unsupported_operator", "/jsonlogic"),
            ({"in": [var("patient.email"), var("event.title")]}, "types_differ", "/jsonlogic/in"),
            ({"all": [var("event.title"), True]}, "not_a_list", "/jsonlogic/all/0"),
            ({"x/y": 1}, "unsupported_operator", "/jsonlogic/x~1y"),
        ],
    )
    def test_what_cannot_be_said_exactly_is_refused_where_it_stands(self, rule: dict[str, Any], code: str, pointer: str) -> None:
        assert refused(rule) == (code, pointer)

    def test_a_fault_of_the_translation_points_to_the_rule(self) -> None:
        piece = from_jsonlogic(JsonLogic(jsonlogic={"and": [True, {"==": [var("event.title"), "x" * 20]}]}), SHAPES)
        assert pointer_at(piece, piece.text.index("xxx") + 1) == "/jsonlogic/and/1/==/1"


NAMES = ["event.title", "event.count", "event.score", "event.urgent", "event.tags", "patient.email", "patient.age", "steps.a.n", "steps.a"]
CONSTANTS = st.one_of(
    st.none(), st.booleans(), st.sampled_from([-3, 0, 1, 2, 3, 44, 2.5, -0.5, 1.0]),
    st.sampled_from(["", "a", "b", "First visit", "new", "recall", "kim", "3", "zz", "null"]),
    st.lists(st.sampled_from(["a", "new", "First visit"]), max_size=3), st.lists(st.sampled_from([1, 2, 3, 2.5]), max_size=3),
)  # fmt: skip
VARS = st.one_of(
    st.sampled_from(NAMES).map(lambda name: {"var": name}),
    st.tuples(st.sampled_from(NAMES), CONSTANTS).map(lambda pair: {"var": list(pair)}),
    st.just({"var": ""}),
)
MANY = ["and", "or", "if", "+", "*", "max", "min", "cat", "merge", "?:"]
TWO = ["==", "===", "!=", "!==", "<", "<=", ">", ">=", "in", "-", "/", "map", "filter", "all", "none", "some", "and", "or"]
RULES = st.recursive(
    st.one_of(VARS, VARS, CONSTANTS),
    lambda inner: st.one_of(
        st.builds(lambda name, left, right: {name: [left, right]}, st.sampled_from(TWO), inner, inner),
        st.builds(lambda name, left, right: {name: [left, right]}, st.sampled_from(TWO), inner, inner),
        st.builds(lambda name, given: {name: given}, st.sampled_from(MANY), st.lists(inner, min_size=1, max_size=4)),
        st.builds(lambda name, one: {name: [one]}, st.sampled_from(["!", "!!", "-"]), inner),
        st.builds(lambda one, by: {"%": [one, by]}, inner, st.sampled_from([-2, 2, 3])),
        st.builds(lambda one, *places: {"substr": [one, *places]}, inner, st.integers(-12, 12), st.integers(-12, 12)),
        st.builds(lambda one, place: {"substr": [one, place]}, inner, st.integers(-12, 12)),
        st.lists(st.sampled_from(NAMES), max_size=3).map(lambda names: {"missing": names}),
        st.tuples(st.integers(0, 3), st.lists(st.sampled_from(NAMES), max_size=3)).map(lambda pair: {"missing_some": list(pair)}),
    ),
    max_leaves=8,
)  # fmt: skip
EVENTS = st.fixed_dictionaries({
    "event.title": st.sampled_from(["First visit", "new", "", "a", "3", "Ünïcödé"]), "event.count": st.integers(-3, 5),
    "event.score": st.sampled_from([0.0, 2.5, -0.5, 3.0]), "event.urgent": st.booleans(),
    "event.tags": st.lists(st.sampled_from(["new", "recall", "a", ""]), max_size=3), "event.starts_at": st.just(VALUES["event.starts_at"]),
    "patient.email": st.sampled_from([None, "", "kim", "3"]), "patient.age": st.sampled_from([None, 0, 44]),
    "steps": st.sampled_from([{}, {"a": 1}, {"a": {"n": 3}}, {"a": {"n": "a"}}, {"a": {"n": None}}, {"a": []}, {"a": {"n": [1]}}, {"a": ""}]),
})  # fmt: skip


def nested(values: dict[str, Any]) -> dict[str, Any]:
    """The values as the reference reads them."""
    data: dict[str, Any] = {}
    for name, value in values.items():
        root, _, field = name.partition(".")
        data.setdefault(root, {})[field] = value
    return data | {"steps": values["steps"]}


def ordered(name: str) -> Any:
    """An order as in JavaScript: beside null both sides are numbers. The reference compares the letters of "null"."""

    def compare(data: Any, *sides: Any) -> Any:
        numbers = [to_number(side) for side in sides] if None in sides else sides
        return BUILTINS[name](data, *numbers)

    return compare


def equal_to(name: str) -> Any:
    """Null equals null and nothing else in JavaScript. The reference takes it for 0."""

    def compare(data: Any, *sides: Any) -> Any:
        return (sides[0] is sides[1]) is (name == "==") if None in sides else BUILTINS[name](data, *sides)

    return compare


def contained(data: Any, item: Any, container: Any, *_: Any) -> Any:
    """Nothing is in an empty text."""
    return bool(container) and BUILTINS["in"](data, item, container)


def joined(data: Any, *sides: Any) -> Any:
    """Null leaves nothing in a text. The reference writes the letters of "null"."""
    return BUILTINS["cat"](data, *("" if side is None else side for side in sides))


REFERENCE = (
    BUILTINS
    | {"in": contained, "cat": joined}
    | {name: ordered(name) for name in ("<", "<=", ">", ">=")}
    | {name: equal_to(name) for name in ("==", "!=")}
)


def counts_as_true(value: Any) -> bool:
    return bool(value) and not (isinstance(value, float) and math.isnan(value)) if not isinstance(value, dict) else True


def compared_or_skipped(rule: dict[str, Any], values: dict[str, Any]) -> str:
    """What became of it: refused, translated. Fails where the truth differs."""
    try:
        piece = from_jsonlogic(JsonLogic(jsonlogic=rule), SHAPES)
        compiled = ENGINE.compile(piece.text, translated=True)
    except (Untranslatable, ExpressionInvalid):
        return "refused"
    result = compiled.evaluate(ENGINE.bind(values)).verdict
    if result.error is not None:
        # What JavaScript would convert is an error here, never an answer; it takes a value nobody declared.
        assert "steps" in piece.text, (piece.text, result)
        return "error"
    try:
        expected = jsonLogic(rule, nested(values), REFERENCE)
    except ZeroDivisionError:
        return "no opinion"  # JavaScript divides by zero, the reference does not
    assert result.value is counts_as_true(expected), piece.text
    return "translated"


class TestDifferential:
    @settings(max_examples=600, deadline=None)
    @given(rule=RULES, values=EVENTS)
    def test_a_rule_that_is_translated_comes_to_what_jsonlogic_says(self, rule: Any, values: dict[str, Any]) -> None:
        if isinstance(rule, dict):
            compared_or_skipped(rule, values)
