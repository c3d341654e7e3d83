"""What two parsers could read differently is read by nobody; what a database cannot hold never gets there."""

from __future__ import annotations

import contextlib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from libs.common.errors import Trouble
from libs.common.http.strict_json import MAX_DEPTH, MAX_INTEGER, strict_json
from libs.common.work import json_text

REFUSED: dict[str, tuple[bytes, int, str]] = {
    "no JSON": (b"{", 400, "invalid_json"),
    "nothing but blanks": (b"  ", 400, "invalid_json"),
    "two documents": (b"{}{}", 400, "invalid_json"),
    "bytes that are not UTF-8": (b'"\xff\xfe"', 400, "invalid_json"),
    "UTF-16": ('{"a": 1}'.encode("utf-16"), 400, "invalid_json"),
    "a key given twice": (b'{"role": "user", "role": "admin"}', 400, "json_not_exact"),
    "a key given twice inside": (b'[{"a": {"role": 1, "role": 2}}]', 400, "json_not_exact"),
    "NaN": (b'{"a": NaN}', 400, "json_not_exact"),
    "infinity": (b'{"a": -Infinity}', 400, "json_not_exact"),
    "a number beyond a double": (b"1e400", 400, "json_not_exact"),
    "thirty digits": (b"123456789012345678901234567890", 400, "json_not_exact"),
    "an integer beyond 2^53": (str(MAX_INTEGER + 1).encode(), 400, "json_not_exact"),
    "half a character": (rb'{"a": "\ud800"}', 422, "text_invalid"),
    "half a character as a key": (rb'{"\udfff": 1}', 422, "text_invalid"),
    "NUL": (rb'{"a": ["\u0000"]}', 422, "text_invalid"),
    "a hundred thousand arrays": (b"[" * 100_000 + b"]" * 100_000, 400, "json_too_deep"),
    "a little too deep": (b"[" * (MAX_DEPTH + 1) + b"]" * (MAX_DEPTH + 1), 400, "json_too_deep"),
    "too many members": (b"[" + b"0," * 10_000 + b"0]", 400, "json_too_deep"),
}


@pytest.mark.parametrize("what", REFUSED)
def test_refuses(what: str) -> None:
    body, status, code = REFUSED[what]
    with pytest.raises(Trouble) as refused:
        strict_json(body)
    assert (refused.value.status, refused.value.code) == (status, code)


TEXT = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]))
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-MAX_INTEGER, MAX_INTEGER) | st.floats(allow_nan=False, allow_infinity=False) | TEXT,
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(TEXT, inner, max_size=5),
    max_leaves=30,
)


@given(VALUES)
def test_reads_everything_else_as_it_was_meant(value: Any) -> None:
    assert strict_json(json_text(value).encode()) == value


@given(st.binary(max_size=200))
def test_raises_nothing_but_its_own_troubles(body: bytes) -> None:
    with contextlib.suppress(Trouble):
        strict_json(body)
