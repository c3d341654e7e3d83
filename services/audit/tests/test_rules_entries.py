"""What an entry holds: exact bytes, nothing personal, and always something, whatever the message was."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta, timezone
from typing import Any
from uuid import UUID

import orjson
import pytest
import rfc8785
from hypothesis import given
from hypothesis import strategies as st

from libs.contracts.envelope import Envelope
from services.audit.rules.entries import MAX_BYTES, MAX_INTEGER, ProfileError, canonical, conflict_of, entry_of, same_event, told, utc_text

REGISTERED = "vantage.patients.patient-registered.v1"
MOMENT = datetime(2026, 11, 24, 9, 30, 0, 250, tzinfo=UTC)
DATA = {"patient_id": "0198a1b2-0011-7000-8000-000000000011", "version": 1, "details": {"given_name": "Mira", "family_name": "Holm"}}
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(min_value=-MAX_INTEGER, max_value=MAX_INTEGER) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(st.characters(max_codepoint=126), max_size=8), inner, max_size=4),
    max_leaves=12,
)


def envelope(**fields: Any) -> Envelope:
    values = {
        "id": UUID(int=1), "type": REGISTERED, "source": "/vantage/patients", "subject": "patient/1", "time": MOMENT,
        "practice_id": UUID(int=2), "actor": "user:1", "correlation_id": "c", "causation_id": "", "traceparent": "", **fields,
    }  # fmt: skip
    return Envelope(**values)


def entry(raw: bytes, **fields: Any) -> dict[str, Any]:
    return entry_of(envelope(**fields), raw, topic="vantage.patients.events", partition=0, offset=7, recorded_at=MOMENT)


class TestCanonical:
    @given(VALUES)
    def test_is_rfc_8785_byte_for_byte(self, value: Any) -> None:
        try:
            data = canonical(value)
        except ProfileError:
            return
        assert data == rfc8785.dumps(value)
        assert data == json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()

    @pytest.mark.parametrize(
        "value",
        [1.5, float("nan"), MAX_INTEGER + 1, -MAX_INTEGER - 1, {"ü": 1}, {1: 2}, "\ud800", b"x", MOMENT, {"a": {"b": [object()]}},
         [[[[[[[[[[1]]]]]]]]]], "x" * (MAX_BYTES + 1)],
    )  # fmt: skip
    def test_refuses_what_has_no_one_form(self, value: Any) -> None:
        with pytest.raises(ProfileError):
            canonical(value)

    def test_times_are_utc_with_microseconds(self) -> None:
        there = MOMENT.astimezone(timezone(timedelta(hours=5, minutes=30)))
        assert utc_text(there) == utc_text(MOMENT) == "2026-11-24T09:30:00.000250Z"


class TestTold:
    def test_names_what_is_personal_and_keeps_the_rest(self) -> None:
        assert told(REGISTERED, orjson.dumps(DATA)) == ({"patient_id": DATA["patient_id"], "version": 1}, ["details"])

    def test_a_personal_field_that_is_empty_is_not_named(self) -> None:
        cancelled = {"appointment_id": "x", "reason": None}
        assert told("vantage.scheduling.appointment-cancelled.v1", orjson.dumps(cancelled)) == ({"appointment_id": "x"}, [])

    def test_a_field_we_do_not_know_is_left_out(self) -> None:
        data, _ = told(REGISTERED, orjson.dumps({**DATA, "added_later": "Mira Holm"}))
        assert data == {"patient_id": DATA["patient_id"], "version": 1}

    @pytest.mark.parametrize("raw", [b"", b"{", b"[]", b'"x"', b"17", b"\xff"])
    def test_of_what_is_no_message_nothing(self, raw: bytes) -> None:
        assert told(REGISTERED, raw) == (None, [])

    def test_of_an_unknown_type_only_the_names_of_its_fields(self) -> None:
        assert told("vantage.patients.never-heard-of.v7", b'{"name": "Mira Holm", "a": 1}') == (None, ["a", "name"])

    @pytest.mark.parametrize("version", [1.5, 2**60, "x" * 50_000, [[[[[[[[1]]]]]]]]])
    def test_of_what_the_profile_cannot_hold_only_the_names(self, version: Any) -> None:
        assert told(REGISTERED, orjson.dumps({**DATA, "version": version})) == (None, ["details", "patient_id", "version"])


class TestEntry:
    def test_repeats_nothing_personal(self) -> None:
        data = canonical(entry(orjson.dumps(DATA)))
        assert b"Mira" not in data
        assert b"Holm" not in data

    @given(st.binary(max_size=300), st.text(max_size=400), st.text(max_size=400))
    def test_can_always_be_written(self, raw: bytes, subject: str, actor: str) -> None:
        clean = (subject + actor).encode("utf-8", "replace").decode()
        assert len(canonical(entry(raw, subject=clean, actor=clean))) <= MAX_BYTES

    @pytest.mark.parametrize(
        "data",
        [
            {"version": [[[[[[[1]]]]]]]},
            {f"field-{number}": "x" * 50 for number in range(5000)},
            {"x" * 60_000: 1},
            {"version": "\u0001" * 12_000},
            {"version": "x" * 39_000},
        ],
    )
    def test_can_be_written_however_deep_wide_or_long_the_message_is(self, data: Any) -> None:
        worst = "\u0001" * 400
        written = canonical(entry(orjson.dumps(data), subject=worst, actor=worst, correlation_id=worst, causation_id=worst, source=worst))
        assert len(written) <= MAX_BYTES

    def test_is_the_same_event_wherever_it_was_received(self) -> None:
        first = entry(orjson.dumps(DATA))
        again = entry_of(envelope(), orjson.dumps(DATA), topic="t", partition=5, offset=9, recorded_at=MOMENT + timedelta(days=1))
        assert same_event(first, again)
        assert not same_event(first, entry(orjson.dumps({**DATA, "version": 2})))
        assert not same_event(first, entry(orjson.dumps(DATA), actor="user:2"))

    def test_a_conflict_names_the_event_and_tells_none_of_its_data(self) -> None:
        conflict = conflict_of(entry(orjson.dumps(DATA)), UUID(int=9))
        assert (conflict["type"], conflict["event_id"]) == ("ledger.conflict", str(UUID(int=9)))
        assert conflict["data"] == {"event_id": str(UUID(int=1)), "type": REGISTERED}
