"""Both CEL engines behind the interface: what they refuse, what they bound, and where they must agree."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.workflows.rules.expressions.cel_cpp import CelCpp
from services.workflows.rules.expressions.cel_python import CelPython
from services.workflows.rules.expressions.engines import ENGINES
from services.workflows.rules.expressions.interface import MAX_SOURCE, Evaluated, ExpressionInvalid, Expressions, FieldType

FIELDS = {
    "event.title": FieldType.STRING,
    "event.count": FieldType.INT,
    "event.urgent": FieldType.BOOL,
    "event.starts_at": FieldType.TIMESTAMP,
    "event.tags": FieldType.LIST,
    "event.result": FieldType.DYN,
    "patient.email": FieldType.DYN,
}
VALUES: dict[str, Any] = {
    "event.title": "First visit",
    "event.count": 3,
    "event.urgent": True,
    "event.starts_at": datetime(2030, 1, 31, 9, 30, tzinfo=UTC),
    "event.tags": ["new", "recall"],
    "event.result": {"message_id": "m-1", "at": datetime(2030, 1, 1, tzinfo=UTC)},
    "patient.email": "kim@patients.example",
}


@pytest.fixture(params=sorted(ENGINES))
def engine(request: pytest.FixtureRequest) -> Expressions:
    return ENGINES[request.param](FIELDS)


def value(engine: Expressions, text: str, **values: Any) -> Evaluated:
    named = {name.replace("__", "."): given for name, given in values.items()}
    return engine.compile(text).evaluate(engine.bind({**VALUES, **named}))


class TestEvaluating:
    @pytest.mark.parametrize(
        ("text", "expected"),
        [
            ("event.title == 'First visit'", True),
            ("event.count > 2 && event.urgent", True),
            ("'recall' in event.tags", True),
            ("event.tags.exists(tag, tag.startsWith('rec'))", True),
            ("patient.email != null && patient.email.endsWith('.example')", True),
            ("event.starts_at > timestamp('2030-01-01T00:00:00Z')", True),
            ("event.starts_at - duration('1h') < timestamp('2030-01-31T09:00:00Z')", True),
            ("event.starts_at.getHours('Europe/Berlin') == 10", True),
            ("event.result.message_id", "m-1"),
            ("event.result.at < event.starts_at", True),
            ("size(event.title)", 11),
            ("event.urgent ? 'now' : 'later'", "now"),
            ("event.title + '!'", "First visit!"),
        ],
    )
    def test_everyday_expressions_come_out_the_same_on_both(self, engine: Expressions, text: str, expected: object) -> None:
        assert value(engine, text) == Evaluated(expected)

    @pytest.mark.parametrize(
        "text", ["1 / 0 == 1", "event.result.nothing == 1", "timestamp(event.title) == event.starts_at", "int(event.title) == 1"]
    )
    def test_a_run_time_error_is_a_value_that_is_not_true_and_repeats_nothing(self, engine: Expressions, text: str) -> None:
        result = value(engine, text, event__title="secret")
        assert result.error is not None
        assert not result.is_true
        assert result.verdict == result
        assert "secret" not in result.error

    def test_an_error_beside_a_deciding_side_is_absorbed(self, engine: Expressions) -> None:
        assert value(engine, "event.urgent || 1 / 0 == 1").is_true

    @pytest.mark.parametrize("text", ["patient.email", "event.result"])
    def test_what_is_no_truth_value_is_an_error_as_a_condition(self, engine: Expressions, text: str) -> None:
        assert value(engine, text).verdict == Evaluated(error="not_boolean")
        assert value(engine, text, patient__email=None, event__result=None).verdict == Evaluated(error="not_boolean")


class TestRefusing:
    @pytest.mark.parametrize(
        ("text", "says"),
        [
            ("patient.emial == null", "there is no field 'patient.emial'"),
            ("has(patient.email)", "has() is not needed"),
            ("event.count ==", "yntax error"),
            ("", "empty"),
            (" \n", "empty"),
            ("event.title == 'a\0b'", "control character"),
            ("event.title == '\ud800'", "control character"),
            ("1 == " + "1" * MAX_SOURCE, f"at most {MAX_SOURCE}"),
            ("(" * 200 + "1" + ")" * 200, "nested too deeply"),
        ],
    )
    def test_a_fault_is_named_when_it_is_written(self, engine: Expressions, text: str, says: str) -> None:
        with pytest.raises(ExpressionInvalid) as caught:
            engine.compile(text)
        assert says in str(caught.value)

    def test_the_place_of_a_fault_counts_through_lines(self) -> None:
        with pytest.raises(ExpressionInvalid) as caught:
            CelCpp(FIELDS).compile("event.urgent\n  && nobody")
        assert caught.value.column == 19

    def test_has_inside_a_text_is_a_text(self, engine: Expressions) -> None:
        assert value(engine, "event.title != 'has(x)'").is_true

    def test_types_are_checked_when_saved(self) -> None:
        for text in ("event.title > 3", "event.count == 'x'", "event.urgent + 1", "event.starts_at == '2030'"):
            with pytest.raises(ExpressionInvalid):
                CelCpp(FIELDS).compile(text)


class TestBounds:
    @pytest.mark.parametrize("odd", [2**63, 2**70, object(), datetime(2030, 1, 1), b"x"], ids=["2^63", "2^70", "object", "naive", "bytes"])  # noqa: DTZ001
    def test_a_value_that_is_none_of_ours_is_an_error_and_no_crash(self, odd: Any) -> None:
        engine = CelCpp(FIELDS)
        for name in ("event.count", "event.result", "event.title", "event.starts_at"):
            result = engine.compile(f"{name} == {name}").evaluate(engine.bind({**VALUES, name: odd}))
            assert result.error is not None or isinstance(result.value, bool)

    def test_a_text_is_not_cut_at_nul(self) -> None:
        assert value(CelCpp(FIELDS), "event.title == 'kim'", event__title="kim\0x") == Evaluated(value=False)
        assert value(CelCpp(FIELDS), "patient.email == 'kim'", patient__email="kim\0x") == Evaluated(value=False)


INTS = st.sampled_from(["event.count", "1", "7", "size(event.tags)", "size(event.title)"])
TEXTS = st.sampled_from(["event.title", "'new'", "'First'", "patient.email"])
SUMS = st.one_of(TEXTS, st.builds("({} + {})".format, TEXTS, TEXTS))  # cel-python has no methods on the sum of two texts
TIMES = st.sampled_from(["event.starts_at", "timestamp('2030-01-31T09:30:00Z')", "(event.starts_at + duration('90m'))"])
ATOMS = st.one_of(
    st.builds("{} {} {}".format, INTS, st.sampled_from(["<", "<=", ">", ">=", "==", "!="]), INTS),
    st.builds("{} {} {}".format, SUMS, st.sampled_from(["==", "!=", "<", ">="]), SUMS),
    st.builds("{} {} {}".format, TIMES, st.sampled_from(["<", ">", "==", "!="]), TIMES),
    st.builds("{}.{}({})".format, TEXTS, st.sampled_from(["startsWith", "endsWith", "contains"]), TEXTS),
    st.builds("{} in event.tags".format, TEXTS),
    st.builds("event.tags.{}(t, t == {})".format, st.sampled_from(["exists", "all"]), TEXTS),
    st.builds("{} % {} == 1".format, INTS, INTS),
    st.sampled_from(["event.urgent", "!event.urgent", "true", "false"]),
)
CONDITIONS = st.recursive(
    ATOMS,
    lambda inner: st.one_of(
        st.builds("({} && {})".format, inner, inner), st.builds("({} || {})".format, inner, inner), st.builds("!({})".format, inner),
        st.builds("({} ? {} : {})".format, inner, inner, inner),
    ),
    max_leaves=6,
)  # fmt: skip
EVENTS = st.fixed_dictionaries({
    "event.title": st.sampled_from(["First visit", "new", "", "Ünïcödé 🩺"]), "event.count": st.integers(-3, 9), "event.urgent": st.booleans(),
    "event.starts_at": st.datetimes(datetime(2000, 1, 1), datetime(2060, 1, 1), timezones=st.just(UTC)),  # noqa: DTZ001
    "event.tags": st.lists(st.sampled_from(["new", "recall", "First"]), max_size=4), "event.result": st.just({}),
    "patient.email": st.sampled_from(["kim@patients.example", "new"]),
})  # fmt: skip


class TestDifferential:
    @settings(max_examples=300, deadline=None)
    @given(text=CONDITIONS, event=EVENTS)
    def test_both_engines_come_to_the_same_where_both_conform(self, text: str, event: dict[str, Any]) -> None:
        results = [engine.compile(text).evaluate(engine.bind(event)) for engine in (CPP, PYTHON)]
        assert (results[0].error is None) == (results[1].error is None)
        assert results[0].value == results[1].value


CPP, PYTHON = CelCpp(FIELDS), CelPython(FIELDS)
