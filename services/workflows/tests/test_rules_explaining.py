"""The value of every part of a condition."""

from __future__ import annotations

from typing import Any

import pytest

from services.workflows.rules.conditions.explaining import MAX_SHOWN, SubValue, explain
from services.workflows.rules.expressions.engines import ENGINES
from services.workflows.tests.test_rules_expressions import FIELDS, VALUES


def tree(found: SubValue) -> Any:
    """Text, value or error, and children if any."""
    mine = (found.text, found.error or found.value)
    return (*mine, [tree(child) for child in found.children]) if found.children else mine


def explained(text: str, engine: str = "cel-cpp", **values: Any) -> SubValue:
    expressions = ENGINES[engine](FIELDS)
    (found,) = explain(text, expressions, expressions.bind({**VALUES, **{name.replace("__", "."): it for name, it in values.items()}}))
    return found


@pytest.mark.parametrize("engine", sorted(ENGINES))
class TestExplaining:
    def test_every_side_of_every_and_or_and_comparison_has_its_value(self, engine: str) -> None:
        found = explained("event.count > 2 && !(event.urgent || event.title == 'x')", engine)
        assert tree(found) == (
            "event.count > 2 && !(event.urgent || event.title == 'x')", False, [
                ("event.count > 2", True, [("event.count", 3)]),
                ("!(event.urgent || event.title == 'x')", False, [
                    ("event.urgent || event.title == 'x'", True, [
                        ("event.urgent", True),
                        ("event.title == 'x'", False, [("event.title", "First visit")]),
                    ]),
                ]),
            ],
        )  # fmt: skip

    def test_the_place_of_each_part_is_known(self, engine: str) -> None:
        text = "event.urgent &&\n event.count == 3"
        assert [text[part.start : part.end] for part in explained(text, engine).children] == ["event.urgent", "event.count == 3"]

    def test_a_side_that_failed_says_so_where_the_whole_did_not(self, engine: str) -> None:
        found = explained("event.urgent || 1 / 0 == 1", engine)
        assert found.value is True
        assert found.children[1].error is not None

    def test_what_is_said_of_elements_is_not_taken_apart(self, engine: str) -> None:
        found = explained("event.tags.exists(t, t == 'new')", engine)
        assert tree(found) == ("event.tags.exists(t, t == 'new')", True, [("event.tags", ["new", "recall"])])


class TestShowing:
    def test_a_long_text_is_cut_and_a_time_reads_as_one(self) -> None:
        assert explained("event.title", event__title="x" * 3000).value == "x" * MAX_SHOWN + "…"
        assert explained("event.starts_at").value == "2030-01-31T09:30:00+00:00"
        assert explained("event.result").value == {"message_id": "m-1", "at": "2030-01-01T00:00:00+00:00"}

    def test_what_does_not_compile_is_an_error_and_no_crash(self) -> None:
        assert explained("event.nothing == 1").error == "invalid_expression"
        assert explained("1 +").error == "invalid_expression"
