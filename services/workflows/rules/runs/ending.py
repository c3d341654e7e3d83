"""How a run ends, and how a step leaves something behind."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from services.workflows.rules.runs.states import Effect, Finished, Moved, State, Status


def end(state: State, status: Status, error_code: str | None, effects: list[Effect]) -> Moved:
    """The run ends. The answer to what a cancelled run asked for may still come."""
    waiting = state.waiting and status is Status.CANCELLED
    ended = replace(state, status=status, waiting=waiting, retrying=False, paused=False, due=None, error_code=error_code)
    return ended, [*effects, Finished(status, error_code)]


def passed(state: State, cursor: int, step_id: str | None = None, output: Mapping[str, Any] | None = None) -> State:
    """The state behind a step, with what it left for later ones."""
    outputs = state.outputs if step_id is None or output is None else {**state.outputs, step_id: dict(output)}
    return replace(state, cursor=cursor, waiting=False, attempt=0, retried=0, retrying=False, due=None, outputs=outputs)
