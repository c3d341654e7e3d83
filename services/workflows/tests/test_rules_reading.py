"""What has not the shape of a definition: every finding points to where it was written, in words for people."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.workflows.rules.definitions.reading import ShapeInvalid, read_definition
from services.workflows.rules.findings import Finding
from services.workflows.rules.gallery import GALLERY, filled
from services.workflows.tests.engine.world import BOOKED, anchor, definition, heard, past_due, send, until, wait, wait_for

BLOCKS = {
    "blocks": {
        "all": [
            {"field": "event.title", "operator": "equals", "value": "x"},
            {"any": [{"field": "event.version", "operator": "at_least", "value": 1}, {"all": [{"field": "patient.email", "operator": "is_empty"}]}]},
        ]
    }
}  # fmt: skip
LOGIC = {"jsonlogic": {"and": [{"===": [{"var": "event.title"}, "x"]}, {">": [{"var": "event.version"}, 1]}]}}
WHOLE: dict[str, Any] = definition(
    {**send("one"), "when": BLOCKS, "on_error": "branch", "error_steps": [{**send("two"), "when": LOGIC}], "retry": {"attempts": 2}},
    {"kind": "branch", "id": "way", "cases": [{"when": BLOCKS, "steps": [wait()]}, {"when": LOGIC, "steps": []}], "otherwise": [until(at="09:00")]},
    {**wait_for(heard(BOOKED)), "events": [{"event": BOOKED, "when": BLOCKS}, {"event": BOOKED, "when": "true"}]},
    {"kind": "wait_until", "id": "before", "anchor": anchor(), "past_due": past_due()},
    {"kind": "stop", "id": "end"},
) | {"condition": BLOCKS, "exit": [{"event": BOOKED, "when": LOGIC}], "enrolment": {"policy": "once"}}  # fmt: skip
ODD: list[Any] = [
    5,
    None,
    True,
    "x",
    [],
    {},
    [5],
    {"foo": 1},
    {"blocks": {}},
    {"jsonlogic": 1},
    {"all": []},
    {"kind": "action"},
    {"action": {"a": 1}},
]
MISSING = {"missing_field", "missing_past_due", "wait_without_bound", "missing"}


def findings(written: Any) -> list[Finding]:
    try:
        read_definition(written)
    except ShapeInvalid as error:
        return error.findings
    return []


def parts(pointer: str) -> list[str]:
    return [part.replace("~1", "/").replace("~0", "~") for part in pointer.split("/")[1:]]


def resolves(written: Any, path: list[str]) -> bool:
    for part in path:
        if isinstance(written, dict) and part in written:
            written = written[part]
        elif isinstance(written, list) and part.isdecimal() and int(part) < len(written):
            written = written[int(part)]
        else:
            return False
    return True


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path, *(place for name, one in inner for place in places(one, (*path, name)))]


def changed(written: Any, path: tuple[Any, ...], kind: str, value: Any) -> Any:
    """A copy with the value at a place replaced, taken away, or with a stranger beside it."""
    found = copy.deepcopy(written)
    if not path:
        return value if kind == "replace" else found
    around = found
    for part in path[:-1]:
        around = around[part]
    if kind == "replace":
        around[path[-1]] = value
    elif kind == "remove":
        del around[path[-1]]
    elif isinstance(around[path[-1]], dict):
        around[path[-1]]["stranger"] = value
    return found


CONDITIONS = [
    ({"blocks": {"all": [{"field": "event.title", "operator": "equals", "value": "x", "foo": 1}]}}, "unknown_field", "/blocks/all/0/foo"),
    ({"blocks": {"any": [{"all": [{"field": "event.title"}]}]}}, "missing_field", "/blocks/any/0/all/0/operator"),
    ({"blocks": {"all": [{"any": [5]}]}}, "model_type", "/blocks/all/0/any/0"),
    ({"blocks": {"all": [{"field": 5, "operator": "equals"}]}}, "string_type", "/blocks/all/0/field"),
    ({"blocks": {"all": [{"all": 5}]}}, "list_type", "/blocks/all/0/all"),
    ({"blocks": {"all": []}}, "too_short", "/blocks/all"),
    ({"blocks": 5}, "model_type", "/blocks"),
    ({"jsonlogic": [1]}, "dict_type", "/jsonlogic"),
    (5, "string_type", ""),
]


class TestConditions:
    @pytest.mark.parametrize(("condition", "code", "pointer"), CONDITIONS)
    def test_a_fault_points_to_where_it_was_written(self, condition: Any, code: str, pointer: str) -> None:
        holders: list[tuple[dict[str, Any], str]] = [
            (definition({**send(), "when": condition}), "/steps/0/when"),
            (definition({"kind": "branch", "id": "way", "cases": [{"when": condition, "steps": []}]}), "/steps/0/cases/0/when"),
            (definition(wait_for({"event": BOOKED, "when": condition})), "/steps/0/events/0/when"),
            (definition() | {"exit": [{"event": BOOKED, "when": condition}]}, "/exit/0/when"),
            (definition() | {"condition": condition}, "/condition"),
        ]
        for written, place in holders:
            assert [(one.code, one.pointer) for one in findings(written)] == [(code, place + pointer)]

    @pytest.mark.parametrize(
        ("condition", "hints"),
        [
            ({"blocks": {"all": [{"feld": "event.title", "operator": "equals"}]}}, ["there is 'feld': did you mean 'field'?", "did you mean 'field'?"]),
            ({"blocks": {"al": [{"field": "event.title", "operator": "equals"}]}}, ["there is 'al': did you mean 'all'?", "did you mean 'all'?"]),
            ({"blocks": {"field": "a", "operator": "b"}}, ["it takes: all, any", "it takes: all, any", "it takes: all, any"]),
            ({"block": {"all": []}}, ["it takes: blocks, jsonlogic", "did you mean 'blocks'?"]),
            ({"blocks": {"all": [{"field": "a", "operator": "b", "foo": 1}]}}, ["it takes: field, operator, value, ignore_case"]),
        ],
    )  # fmt: skip
    def test_a_hint_says_what_may_have_been_meant(self, condition: Any, hints: list[str]) -> None:
        assert [one.hint for one in findings(definition() | {"condition": condition})] == hints

    def test_what_is_no_condition_at_all_hears_what_one_is(self) -> None:
        (found,) = findings(definition() | {"condition": 5})
        assert found.message == "A condition is a text (CEL), or an object with blocks or jsonlogic."


class TestPlaces:
    def test_what_is_written_well_is_read(self) -> None:
        assert findings(WHOLE) == []

    @pytest.mark.parametrize(
        ("written", "pointer"),
        [
            (definition({**send(), "action": {"id": 1}, "surprise": 1}), "/steps/0/surprise"),
            (definition({**wait(), "wait": {"id": 1}}), "/steps/0/wait"),
            ({"trigger": {"event": {"bulk": 1}, "bulk": "x"}, "steps": [send()]}, "/trigger/bulk"),
        ],
    )
    def test_a_field_that_is_called_like_a_kind_leads_nowhere_else(self, written: Any, pointer: str) -> None:
        assert pointer in [one.pointer for one in findings(written)]

    @settings(max_examples=300, deadline=None)
    @given(st.data())
    def test_every_finding_points_into_what_was_written(self, data: st.DataObject) -> None:
        whole = data.draw(st.sampled_from([WHOLE, *(filled(entry, {}) for entry in GALLERY.values())]))
        for _ in range(data.draw(st.integers(1, 3))):
            path = data.draw(st.sampled_from(places(whole)))
            whole = changed(whole, path, data.draw(st.sampled_from(["replace", "remove", "add"])), data.draw(st.sampled_from(ODD)))
            if not isinstance(whole, (dict, list)):
                break
        for one in findings(whole):
            path = parts(one.pointer)
            assert resolves(whole, path if one.code not in MISSING else path[:-1]), one
            assert "Input" not in one.message
            assert "valid dictionary" not in one.message
