"""What an expression always comes to: the same as both engines say, whatever the fields hold."""

from __future__ import annotations

import pytest

from services.workflows.rules.expressions.engines import ENGINES
from services.workflows.rules.expressions.folding import always
from services.workflows.rules.expressions.interface import FieldType

FIELDS = {"event.title": FieldType.STRING, "event.double_booked": FieldType.BOOL, "event.version": FieldType.INT}
VALUES = [
    {"event.title": title, "event.double_booked": flag, "event.version": version} for title in "ab" for flag in (True, False) for version in (0, 1)
]  # fmt: skip


@pytest.mark.parametrize("engine", sorted(ENGINES))
@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("true", True), ("false", False), ("!false", True), ("1 == 1", True), ("1 == 2", False), ("1 + 1 == 2", True), ("'a' + 'b' == 'ab'", True),
        ("'a' < 'b'", True), ("3 >= 4", False), ("2 * 3 - 1 == 5", True), ("'a' in ['a', 'b']", True), ("'c' in ['a', 'b']", False),
        ("1 in []", False), ("event.title in []", False), ("event.double_booked || true", True), ("event.double_booked && false", False),
        ("false || false", False), ("event.title == event.title", True), ("event.title != event.title", False), ("true ? 1 == 1 : event.double_booked", True),
        ("event.double_booked ? 1 == 1 : 2 == 2", True), ("null == null", True), ("!(event.double_booked && false)", True),
        ("event.double_booked", None), ("event.title == 'a'", None), ("event.title == 'a' || false", None), ("true && event.double_booked", None),
        ("event.double_booked ? true : false", None), ("event.version > 0", None), ("event.title in ['a']", None), ("event.title in ['x', event.title]", None),
    ],
)  # fmt: skip
def test_is_what_the_engines_say(engine: str, text: str, value: bool | None) -> None:
    assert always(text) is value
    expressions = ENGINES[engine](FIELDS)
    compiled = expressions.compile(text)
    if value is not None:
        assert {compiled.evaluate(expressions.bind(values)).value for values in VALUES} == {value}


@pytest.mark.parametrize(
    "text", ["1", "'a'", "event.title", "1 +", "", "true +", "1 / 0 == 1", "-9223372036854775808 - 1 < 0", "1 < 'a'", "b'a' == b'a'"]
)
def test_what_is_no_condition_or_fails_comes_to_nothing(text: str) -> None:
    assert always(text) is None
