"""A definition is data: trigger, condition, steps. This module says what may be written down."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import timedelta
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints, model_validator

from services.workflows.rules.expressions import MAX_SOURCE

MAX_STEPS = 50
MAX_DEPTH = 5
MAX_PARAMETER_DEPTH = 8
MAX_PARAMETER_VALUES = 500
MAX_PARAMETER_CHARACTERS = 20_000
LONGEST_WAIT = timedelta(days=400)
SHORTEST_WAIT = timedelta(milliseconds=100)

Expression = Annotated[str, StringConstraints(min_length=1, max_length=MAX_SOURCE)]
"""A CEL expression, bounded in length."""

StepId = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_-]{0,49}$")]


def _bounded(parameters: dict[str, Any]) -> dict[str, Any]:
    """Refuses what would be a load to walk, not only to keep."""
    values = characters = 0
    todo: list[tuple[Any, int]] = [(parameters, 1)]
    while todo:
        value, depth = todo.pop()
        values += 1
        inner: list[Any] = []
        if isinstance(value, dict):
            inner = [*value.keys(), *value.values()]
        elif isinstance(value, list):
            inner = value
        elif isinstance(value, str):
            characters += len(value)
        if depth > MAX_PARAMETER_DEPTH or values > MAX_PARAMETER_VALUES or characters > MAX_PARAMETER_CHARACTERS:
            message = "parameters are too large or too deeply nested"
            raise ValueError(message)
        todo += [(part, depth + 1) for part in inner]
    return parameters


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)


class Trigger(_Part):
    """The event type that starts a run, for example ``vantage.scheduling.appointment-booked.v1``."""

    event: Annotated[str, StringConstraints(max_length=200)]


class ActionStep(_Part):
    """Ask the owner of an action to perform it. Text parameters may hold ``{{ CEL }}``. ``when`` false skips the step."""

    kind: Literal["action"]
    id: StepId
    action: Annotated[str, StringConstraints(min_length=1, max_length=100)]
    parameters: Annotated[dict[str, Any], AfterValidator(_bounded)] = Field(default_factory=dict)
    when: Expression | None = None


class WaitStep(_Part):
    """Go on after a duration (ISO 8601, for example ``PT2H``), 0.1 seconds to 400 days."""

    kind: Literal["wait"]
    id: StepId
    duration: Annotated[timedelta, Field(ge=SHORTEST_WAIT, le=LONGEST_WAIT)]


class Case(_Part):
    """One way of a branch, taken when ``when`` is true."""

    when: Expression
    steps: Annotated[list[Step], Field(max_length=MAX_STEPS)]


class BranchStep(_Part):
    """Take the first case that holds, else ``otherwise``; then go on behind the branch."""

    kind: Literal["branch"]
    id: StepId
    cases: Annotated[list[Case], Field(min_length=1, max_length=10)]
    otherwise: Annotated[list[Step], Field(max_length=MAX_STEPS, default_factory=list)]


class StopStep(_Part):
    """The run is complete here, whatever stands behind."""

    kind: Literal["stop"]
    id: StepId


Step = Annotated[ActionStep | WaitStep | BranchStep | StopStep, Field(discriminator="kind")]
Case.model_rebuild()
BranchStep.model_rebuild()


def walk(steps: Sequence[Step], pointer: str = "/steps", depth: int = 1) -> Iterator[tuple[Step, str, int]]:
    """Every step with its JSON pointer and how deep it stands, in the order they are written."""
    for index, step in enumerate(steps):
        here = f"{pointer}/{index}"
        yield step, here, depth
        if isinstance(step, BranchStep):
            for number, case in enumerate(step.cases):
                yield from walk(case.steps, f"{here}/cases/{number}/steps", depth + 1)
            yield from walk(step.otherwise, f"{here}/otherwise", depth + 1)


class Definition(_Part):
    """What a workflow does. Frozen when published; a run keeps the version it started with."""

    trigger: Trigger
    condition: Expression | None = None
    steps: Annotated[list[Step], Field(min_length=1, max_length=MAX_STEPS)]

    @model_validator(mode="after")
    def _ids_differ(self) -> Self:
        found = list(walk(self.steps))
        if len({step.id for step, _, _ in found}) != len(found):
            message = "two steps have the same id"
            raise ValueError(message)
        if len(found) > MAX_STEPS or any(depth > MAX_DEPTH for _, _, depth in found):
            message = f"at most {MAX_STEPS} steps in all, branches at most {MAX_DEPTH} deep"
            raise ValueError(message)
        return self
