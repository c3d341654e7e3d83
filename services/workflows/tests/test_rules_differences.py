"""What two definitions differ in: nothing exactly when they say the same, each step once, wherever it moved."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from services.workflows.rules.definitions.definition import Definition
from services.workflows.rules.definitions.differences import differences
from services.workflows.tests.engine.world import definition, send, wait


def stored(data: dict[str, Any]) -> dict[str, Any]:
    return Definition.model_validate(data).model_dump(mode="json", exclude_none=True)


def branch(step: str, *ways: list[dict[str, Any]], otherwise: list[dict[str, Any]] | None = None) -> dict[str, Any]:
    return {"kind": "branch", "id": step, "cases": [{"when": "true", "steps": way} for way in ways], "otherwise": otherwise or []}


def said(before: dict[str, Any], after: dict[str, Any]) -> list[tuple[str, str, str | None]]:
    return [(one.change, one.pointer, one.step) for one in differences(stored(before), stored(after))]


@st.composite
def definitions(draw: st.DrawFn) -> dict[str, Any]:
    """Steps out of a few ids, so that two of them have some in common."""
    names = draw(st.lists(st.sampled_from("abcdef"), unique=True, min_size=1))
    steps: list[dict[str, Any]] = []
    for name in names:
        made = send(name, text=draw(st.sampled_from(["One", "Two"]))) if draw(st.booleans()) else wait("PT2H", name)
        inside = steps[-1] if steps and steps[-1]["kind"] == "branch" else None
        match draw(st.integers(0, 2)):
            case 1 if inside is not None:
                inside["otherwise"].append(made)
            case 2:
                steps.append(branch(f"way-{name}", [made]))
            case _:
                steps.append(made)
    return stored(definition(*steps, condition=draw(st.sampled_from([None, "true", "event.double_booked"]))))


class TestDifferences:
    @given(definitions(), definitions())
    def test_there_are_none_exactly_when_both_say_the_same(self, before: dict[str, Any], after: dict[str, Any]) -> None:
        assert differences(before, before) == []
        assert (differences(before, after) == []) == (before == after)

    @given(definitions(), definitions())
    def test_what_is_added_one_way_is_removed_the_other_way(self, before: dict[str, Any], after: dict[str, Any]) -> None:
        there = {(one.pointer, one.step) for one in differences(before, after) if one.change == "added"}
        back = {(one.pointer, one.step) for one in differences(after, before) if one.change == "removed"}
        assert {step for _, step in there if step} == {step for _, step in back if step}

    def test_a_step_that_went_into_a_branch_moved_and_is_not_new(self) -> None:
        assert said(definition(send("a"), branch("b", [])), definition(branch("b", [send("a")]))) == [
            ("moved", "/steps/0/cases/0/steps/0", "a")
        ]

    def test_only_the_step_that_changed_its_place_moved(self) -> None:
        before, after = [send(name) for name in "abcd"], [send(name) for name in "bcda"]
        assert said(definition(*before), definition(*after)) == [("moved", "/steps/3", "a")]

    def test_outside_of_the_steps_it_is_by_field(self) -> None:
        before, after = definition(condition="true"), definition(condition="false")
        assert said(before, after) == [("changed", "/condition", None)]
        assert said(definition(), before) == [("added", "/condition", None)]

    def test_a_condition_of_a_case_is_the_branchs(self) -> None:
        changed = branch("b", [send("a")])
        changed["cases"][0]["when"] = "false"
        assert said(definition(branch("b", [send("a")])), definition(changed)) == [("changed", "/steps/0/cases/0/when", "b")]
