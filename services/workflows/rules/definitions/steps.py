"""The steps of a definition: act, branch, wait for a duration, a time or an event, stop. What may be written down."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from datetime import time, timedelta
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, Strict, StringConstraints, model_validator
from pydantic_core import PydanticCustomError

from services.workflows.rules.conditions.written import Condition
from services.workflows.rules.expressions.interface import MAX_SOURCE

MAX_STEPS = 50
MAX_DEPTH = 5
MAX_PARAMETER_DEPTH = 8
MAX_PARAMETER_VALUES = 500
MAX_PARAMETER_CHARACTERS = 20_000
LONGEST_WAIT = timedelta(days=400)
SHORTEST_WAIT = timedelta(milliseconds=100)
LONGEST_LOOK_BACK = timedelta(days=7)

Expression = Annotated[str, StringConstraints(min_length=1, max_length=MAX_SOURCE)]
"""A CEL expression, bounded in length."""

STEP_ID = r"^[a-z][a-z0-9_-]{0,49}$"
StepId = Annotated[str, StringConstraints(pattern=STEP_ID)]
EventType = Annotated[str, StringConstraints(max_length=200)]


_MONTHS = re.compile(r"[+-]?P[^T]*M", re.IGNORECASE)


def _a_duration(value: Any) -> Any:
    """True would pass for one second, P5M (meant as PT5M) for a hundred and fifty days, 12:00 (meant as noon) for twelve hours."""
    if isinstance(value, bool):
        raise PydanticCustomError("boolean_for_number", "A duration belongs here, not true or false.")
    if isinstance(value, str) and _MONTHS.match(value):
        raise PydanticCustomError("month_for_minutes", "Months differ in length: write days (P30D). Five minutes are PT5M.")
    if isinstance(value, str) and ":" in value:
        raise PydanticCustomError("clock_for_duration", "This reads like a time of day. Twelve hours are PT12H.")
    return value


def _of_the_clock(value: Any) -> Any:
    """A number would pass for seconds since midnight: 9 for nine seconds past."""
    if isinstance(value, int | float):
        raise PydanticCustomError("time_not_text", "A local time is a text such as '18:00'.")
    return value


Duration = Annotated[timedelta, BeforeValidator(_a_duration)]
Clock = Annotated[time, BeforeValidator(_of_the_clock)]


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


class Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)


class Retry(Part):
    """Ask again after a failure that may pass: ``attempts`` in all, the first pause growing by ``factor`` up to ``limit``, a fifth of it jitter."""

    attempts: Annotated[int, Strict(), Field(ge=1, le=10)] = 3
    first: Annotated[Duration, Field(ge=timedelta(seconds=1), le=timedelta(days=1))] = timedelta(minutes=1)
    factor: Annotated[float, Strict(), Field(ge=1, le=10)] = 2.0
    limit: Annotated[Duration, Field(ge=timedelta(seconds=1), le=timedelta(days=7))] = timedelta(hours=6)


class ActionStep(Part):
    """Ask the owner of an action to perform it. Text parameters may hold ``{{ CEL }}``. ``when`` false skips the step.

    ``on_error``: a failure that stays fails the run, skips the step, or takes the steps of ``error_steps`` and then goes on. So
    does a condition or a text of the step that fails to evaluate. ``steps.<id>.outcome`` is ``succeeded`` with the action's answer in
    ``steps.<id>.result``, or ``failed`` with ``steps.<id>.error_code``; a step that was skipped leaves nothing. Times in it are texts.
    """

    kind: Literal["action"]
    id: StepId
    action: Annotated[str, StringConstraints(min_length=1, max_length=100)]
    parameters: Annotated[dict[str, Any], AfterValidator(_bounded)] = Field(default_factory=dict)
    when: Condition | None = None
    retry: Retry | None = None
    on_error: Literal["fail", "skip", "branch"] | None = None
    error_steps: Annotated[list[Step], Field(max_length=MAX_STEPS)] | None = None

    @model_validator(mode="after")
    def _a_branch_has_steps(self) -> Self:
        if (self.on_error == "branch") != bool(self.error_steps):
            message = 'error_steps belong to on_error "branch", and it needs them'
            raise ValueError(message)
        return self


class WaitStep(Part):
    """Go on after a duration (ISO 8601, for example ``PT2H``), 0.1 seconds to 400 days."""

    kind: Literal["wait"]
    id: StepId
    duration: Annotated[Duration, Field(ge=SHORTEST_WAIT, le=LONGEST_WAIT)]


class Anchor(Part):
    """A time that follows the appointment: so long before (negative ``offset``) or after it starts or ends.

    With ``at`` it is that local time on the day the offset leads to, in the appointment's time zone.
    """

    of: Literal["appointment.starts_at", "appointment.ends_at"]
    offset: Annotated[Duration, Field(ge=-LONGEST_WAIT, le=LONGEST_WAIT)] = timedelta()
    at: Clock | None = None

    @model_validator(mode="after")
    def _local(self) -> Self:
        if self.at is not None and self.at.tzinfo is not None:
            message = "at is a local time, without an offset"
            raise ValueError(message)
        return self


class PastDue(Part):
    """What happens when the time is over already: go on, skip what was waited for (the run ends), or go on while ``left`` remains to the appointment."""

    policy: Literal["proceed", "skip", "proceed_if_left"]
    left: Annotated[Duration, Field(ge=timedelta(0), le=LONGEST_WAIT)] | None = None

    @model_validator(mode="after")
    def _left_belongs(self) -> Self:
        if (self.policy == "proceed_if_left") != (self.left is not None):
            message = 'left belongs to the policy "proceed_if_left", and it needs it'
            raise ValueError(message)
        return self


class LocalTime(Part):
    """The next moment it is ``at`` o'clock, on one of ``days`` (all without), in the practice's or the patient's time zone.

    ``opening`` moves it to when the practice is open: not on holidays, not outside its hours. A patient whose zone nobody
    knows lives in the practice's.
    """

    at: Clock | None = None
    days: Annotated[list[Annotated[int, Strict(), Field(ge=1, le=7, description="1 is Monday.")]], Field(max_length=7)] | None = None
    opening: bool = False
    not_between: tuple[Clock, Clock] | None = Field(default=None, description="Quiet hours: from, to; they may span midnight.")
    zone: Literal["practice", "patient"] = "practice"

    @model_validator(mode="after")
    def _local(self) -> Self:
        times = [one for one in (self.at, *(self.not_between or ())) if one is not None]
        if any(one.tzinfo is not None for one in times):
            message = "these are local times, without an offset"
            raise ValueError(message)
        if self.at is None and not self.opening and self.not_between is None:
            message = "one of at, opening and not_between is needed"
            raise ValueError(message)
        if self.at is not None and not self.opening and self.quiet(self.at):
            message = "at lies in the quiet hours: this time never comes"
            raise ValueError(message)
        return self

    def quiet(self, at: time) -> bool:
        """Whether this local time lies in the quiet hours."""
        if self.not_between is None:
            return False
        begin, end = self.not_between
        return begin <= at < end if begin <= end else (at >= begin or at < end)


class WaitUntilStep(Part):
    """Go on at a time. An anchored one follows its appointment when it moves; the run ends when it is cancelled."""

    kind: Literal["wait_until"]
    id: StepId
    anchor: Anchor | None = None
    past_due: PastDue | None = None
    local: LocalTime | None = None

    @model_validator(mode="after")
    def _one_of(self) -> Self:
        if (self.anchor is None) == (self.local is None):
            message = "either anchor or local says until when"
            raise ValueError(message)
        if (self.anchor is None) != (self.past_due is None):
            message = "past_due belongs to an anchored time, and it needs one"
            raise ValueError(message)
        return self


class Awaited(Part):
    """An event that is waited for. ``when`` sees it as ``event``, and what started the run as ``trigger``."""

    event: EventType
    when: Condition | None = None


class Exit(Awaited):
    """An event that ends the run: ``about`` its own appointment, or anything of its patient.

    Left out, saving decides: the run's own appointment for news of one (confirmed, moved, completed and so on, not booked) where a
    run can be about an appointment, unless ``when`` compares with ``trigger.appointment_id``; else the patient. A run about no appointment goes by its patient.
    """

    about: Literal["patient", "appointment"] | None = None


class WaitForStep(Part):
    """Go on with the first of several events about the same patient or appointment, or after ``timeout``.

    ``about`` left out, saving decides: the run's own appointment when each event is news of one (confirmed, moved, completed
    and so on, not booked) and none compares with ``trigger.appointment_id``, where a run is about an appointment; else the patient.
    ``look_back`` counts events from before the step as well, but none twice. ``steps.<id>.outcome`` is ``event`` or ``timed_out``,
    ``steps.<id>.number`` which of the events came first (from 0), ``steps.<id>.event`` its data (as JSON: times are texts),
    ``steps.<id>.id`` its id; all three are null after a time-out.
    """

    kind: Literal["wait_for"]
    id: StepId
    events: Annotated[list[Awaited], Field(min_length=1, max_length=10)]
    about: Literal["patient", "appointment"] = "patient"
    look_back: Annotated[Duration, Field(ge=timedelta(0), le=LONGEST_LOOK_BACK)] = timedelta()
    timeout: Annotated[Duration, Field(ge=SHORTEST_WAIT, le=LONGEST_WAIT)]


class Case(Part):
    """One way of a branch, taken when ``when`` is true."""

    when: Condition
    steps: Annotated[list[Step], Field(max_length=MAX_STEPS)]


class BranchStep(Part):
    """Take the first case that holds, else ``otherwise``; then go on behind the branch."""

    kind: Literal["branch"]
    id: StepId
    cases: Annotated[list[Case], Field(min_length=1, max_length=10)]
    otherwise: Annotated[list[Step], Field(max_length=MAX_STEPS, default_factory=list)]


class StopStep(Part):
    """The run is complete here, whatever stands behind."""

    kind: Literal["stop"]
    id: StepId


Step = Annotated[ActionStep | WaitStep | WaitUntilStep | WaitForStep | BranchStep | StopStep, Field(discriminator="kind")]
for _model in (ActionStep, Case, BranchStep):
    _model.model_rebuild()


def ways(step: Step, pointer: str = "") -> list[tuple[Sequence[Step], str]]:
    """The steps inside a step, with the JSON pointer of each list: cases, what else, what to do about a failure."""
    if isinstance(step, BranchStep):
        cases = [(case.steps, f"{pointer}/cases/{number}/steps") for number, case in enumerate(step.cases)]
        return [*cases, (step.otherwise, f"{pointer}/otherwise")]
    if isinstance(step, ActionStep) and step.error_steps:
        return [(step.error_steps, f"{pointer}/error_steps")]
    return []


def walk(steps: Sequence[Step], pointer: str = "/steps", depth: int = 1) -> Iterator[tuple[Step, str, int]]:
    """Every step with its JSON pointer and how deep it stands, in the order they are written."""
    for index, step in enumerate(steps):
        here = f"{pointer}/{index}"
        yield step, here, depth
        for inner, where in ways(step, here):
            yield from walk(inner, where, depth + 1)
