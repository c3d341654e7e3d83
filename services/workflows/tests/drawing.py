"""Definitions at random, of every kind of step, and what a run of one must do: told by the tree of steps, not by the program."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from hypothesis import strategies as st

from services.workflows.rules.definitions.steps import ActionStep, BranchStep, Step, StopStep
from services.workflows.tests.engine.world import CONFIRMED, UPDATED, anchor, definition, heard, past_due, send, until, wait, wait_for

POLICIES = st.sampled_from(["proceed", "skip", "PT2H"])
OFFSETS = st.sampled_from(["-P1D", "-PT1H", "PT0S", "PT3H"])
LOCAL: list[dict[str, Any]] = [{"at": "09:00"}, {"opening": True}, {"not_between": ["20:00", "08:00"]}]
WHENS = st.sampled_from([None, None, "true", "false", "patient.email != null"])
RETRY = {"attempts": 3, "first": "PT1M", "factor": 2.0, "limit": "PT1H"}


@st.composite
def _step(draw: st.DrawFn, depth: int) -> dict[str, Any]:
    kinds = ["action", "action", "wait", "until", "anchored", "events", "stop"] + ["branch", "branch"] * (depth > 0)
    match draw(st.sampled_from(kinds)):
        case "wait":
            return wait("PT2H")
        case "until":
            return until(**draw(st.sampled_from(LOCAL)))
        case "anchored":
            return {"kind": "wait_until", "anchor": anchor(draw(OFFSETS)), "past_due": past_due(draw(POLICIES))}
        case "events":
            return wait_for(heard(CONFIRMED), heard(UPDATED), timeout="PT6H", look_back=draw(st.sampled_from(["PT0S", "PT1H"])))
        case "stop":
            return {"kind": "stop"}
        case "branch":
            cases = [
                {"when": draw(st.sampled_from(["true", "false"])), "steps": draw(_steps(depth - 1))} for _ in range(draw(st.integers(1, 2)))
            ]
            return {"kind": "branch", "cases": cases, "otherwise": draw(_steps(depth - 1))}
    action = send(when=draw(WHENS)) | ({"retry": RETRY} if draw(st.booleans()) else {})
    on_error = draw(st.sampled_from([None, "fail", "skip", "branch", "branch"]))
    if on_error == "branch" and depth:
        return action | {"on_error": "branch", "error_steps": draw(_steps(depth - 1, least=1))}
    return action | ({"on_error": on_error} if on_error not in {None, "branch"} else {})


def _steps(depth: int, least: int = 0) -> st.SearchStrategy[list[dict[str, Any]]]:
    return st.lists(_step(depth), min_size=least, max_size=3).map(_up_to_a_stop)


def _up_to_a_stop(steps: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """What stands behind a stop is refused when it is saved."""
    stops = [place for place, step in enumerate(steps) if step["kind"] == "stop"]
    return steps[: stops[0] + 1] if stops else steps


@st.composite
def definitions(draw: st.DrawFn) -> dict[str, Any]:
    """A whole definition; steps are named in the order they are written."""
    steps = draw(st.lists(_step(2), min_size=1, max_size=4).map(_up_to_a_stop))
    _name(steps, 0)
    if draw(st.booleans()):
        return definition(*steps)
    trigger = {"kind": "anchored", "anchor": anchor(draw(OFFSETS)), "past_due": past_due(draw(POLICIES))}
    condition = {} if draw(st.booleans()) else {"condition": draw(st.sampled_from(["true", "patient.email != null"]))}
    return {"trigger": trigger, "steps": steps, **condition}


def _name(steps: list[dict[str, Any]], number: int) -> int:
    for step in steps:
        step["id"] = f"s{number}"
        number += 1
        for inner in (*(case["steps"] for case in step.get("cases", ())), step.get("otherwise", []), step.get("error_steps", [])):
            number = _name(inner, number)
    return number


def path(steps: Sequence[Step], outcomes: Mapping[str, str], holds: Mapping[str | None, bool]) -> tuple[list[str], bool]:
    """The steps a run takes, in order, given how its actions ended and which conditions hold; and whether it goes on behind them.

    An action whose outcome nobody knows yet, or that failed the run, is the last one.
    """
    taken: list[str] = []
    for step in steps:
        taken.append(step.id)
        inner: Sequence[Step] = ()
        if isinstance(step, StopStep):
            return taken, False
        if isinstance(step, BranchStep):
            inner = next((case.steps for case in step.cases if holds[str(case.when)]), step.otherwise)
        elif isinstance(step, ActionStep) and (step.when is None or holds[str(step.when)]):
            outcome = outcomes.get(step.id)
            if outcome != "succeeded" and not (outcome == "failed" and step.on_error in {"skip", "branch"}):
                return taken, False
            inner = step.error_steps or () if outcome == "failed" else ()
        more, goes_on = path(inner, outcomes, holds)
        taken += more
        if not goes_on:
            return taken, False
    return taken, True
