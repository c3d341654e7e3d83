"""Texts with expressions in them: where an expression begins and ends."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.workflows.rules.expressions.templates import split


class TestSplit:
    @pytest.mark.parametrize(
        ("text", "parts"),
        [
            ("", [""]), ("plain", ["plain"]), ("{{a}}", ["", "a", ""]), ("Dear {{ a }}, {{b}}.", ["Dear ", " a ", ", ", "b", "."]),
            ("{{ {'a': {'b': 1}}['a']['b'] }}!", ["", " {'a': {'b': 1}}['a']['b'] ", "!"]), ("{{ {'a': 1}}}", ["", " {'a': 1}", ""]),
            ("{{ '}}' }}", ["", " '}}' ", ""]), ('{{ "{{" }}', ["", ' "{{" ', ""]), (r"{{ 'it\'s }}' }}", ["", r" 'it\'s }}' ", ""]),
            ("it's {{ a }}", ["it's ", " a ", ""]), ("{{ a }", ["{{ a }"]), ("{{ 'a }}", ["", " 'a ", ""]), ("{ {a} }", ["{ {a} }"]),
            ("{{ a }} and {{ b", ["", " a ", " and {{ b"]), ("a }} b", ["a }} b"]),
        ],
    )  # fmt: skip
    def test_an_expression_ends_where_its_own_braces_are_closed(self, text: str, parts: list[str]) -> None:
        assert split(text) == parts

    @given(st.text(alphabet="{}'\"\\a ", max_size=60))
    def test_nothing_of_a_text_is_lost(self, text: str) -> None:
        parts = split(text)
        assert len(parts) % 2 == 1
        assert "".join(part if number % 2 == 0 else "{{" + part + "}}" for number, part in enumerate(parts)) == text

    def test_a_text_of_openings_takes_no_longer_than_its_length(self) -> None:
        assert split("{{" * 200_000) == ["{{" * 200_000]
