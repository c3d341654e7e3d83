"""A definition is data: trigger, condition, enrolment, exit conditions, steps. This module says what may be written down."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated, Any, Literal, Self
from uuid import UUID

from pydantic import Discriminator, Field, StringConstraints, Tag, model_validator
from pydantic_core import PydanticCustomError

from services.workflows.rules.conditions.written import Condition
from services.workflows.rules.definitions.steps import (
    LONGEST_WAIT,
    MAX_DEPTH,
    MAX_STEPS,
    Anchor,
    Duration,
    EventType,
    Exit,
    Expression,
    Part,
    PastDue,
    Step,
    walk,
)

MAX_EXITS = 10


class EventTrigger(Part):
    """The event type that starts a run, for example ``vantage.scheduling.appointment-booked.v1``.

    Bulk changes, such as an import, start nothing unless ``bulk`` says so.
    """

    kind: Literal["event"] = "event"
    event: EventType
    bulk: bool = False


class AnchoredTrigger(Part):
    """A time before or after every appointment. It follows an appointment that moves and vanishes with one that is cancelled.

    The condition is asked when the time has come. ``past_due`` decides for appointments booked inside the window.
    """

    kind: Literal["anchored"]
    anchor: Anchor
    past_due: PastDue


class ScheduleTrigger(Part):
    """A cron expression of five fields, in a time zone (the practice's without). One run for the practice, or for each patient.

    ``catch_up``: of the times missed while nothing ran, start for none, the latest, or all (at most 100). ``overlap`` "skip" starts
    nothing while a run of this workflow (for that patient) goes on. ``saved_filter`` is a shared one of the patients service: each
    time the patients it finds then, as it is then; the others are not considered.
    """

    kind: Literal["schedule"]
    cron: Annotated[str, StringConstraints(max_length=100)]
    time_zone: Annotated[str, StringConstraints(max_length=64)] | None = None
    for_each: Literal["practice", "patient"] = "practice"
    saved_filter: UUID | None = None
    catch_up: Literal["none", "latest", "all"] = "latest"
    overlap: Literal["skip", "allow"] = "skip"


class ManualTrigger(Part):
    """Started by a person, for one patient or for those a filter finds, or by another workflow."""

    kind: Literal["manual"]


class WebhookTrigger(Part):
    """Started by a signed call from outside, with a secret of this workflow."""

    kind: Literal["webhook"]


def _kind(trigger: Any) -> str:
    """A trigger that names no kind is an event: how definitions were written first."""
    return str(trigger.get("kind", "event") if isinstance(trigger, dict) else getattr(trigger, "kind", ""))


Trigger = Annotated[
    Annotated[EventTrigger, Tag("event")]
    | Annotated[AnchoredTrigger, Tag("anchored")]
    | Annotated[ScheduleTrigger, Tag("schedule")]
    | Annotated[ManualTrigger, Tag("manual")]
    | Annotated[WebhookTrigger, Tag("webhook")],
    Discriminator(_kind),
]


class Enrolment(Part):
    """How often a patient goes through: at every event, once, once while a run is active, or once per value of ``key``.

    ``again_after`` lets them in again after that time. What names no patient (no key) is not limited.
    """

    policy: Literal["every", "once", "once_while_active", "by_key"] = "every"
    key: Expression | None = None
    again_after: Annotated[Duration, Field(ge=timedelta(minutes=1), le=10 * LONGEST_WAIT)] | None = None

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if (self.policy == "by_key") != (self.key is not None):
            message = 'key belongs to the policy "by_key", and it needs one'
            raise ValueError(message)
        if self.again_after is not None and self.policy not in {"once", "by_key"}:
            message = 'again_after belongs to the policies "once" and "by_key"'
            raise ValueError(message)
        return self


class Definition(Part):
    """What a workflow does. Frozen when published; a run keeps the version it started with.

    An event of ``exit`` about the run's patient or appointment ends the run wherever it is.
    """

    trigger: Trigger
    condition: Condition | None = None
    enrolment: Enrolment | None = None
    exit: Annotated[list[Exit], Field(max_length=MAX_EXITS)] | None = None
    steps: Annotated[list[Step], Field(min_length=1, max_length=MAX_STEPS)]

    @model_validator(mode="after")
    def _fits(self) -> Self:
        seen: set[str] = set()
        for number, (step, pointer, depth) in enumerate(walk(self.steps), 1):
            place = {"pointer": pointer, "step": step.id}
            if step.id in seen:
                raise PydanticCustomError("duplicate_id", "Another step has this id already.", place | {"pointer": f"{pointer}/id"})
            if number > MAX_STEPS:
                raise PydanticCustomError("too_many_steps", f"A definition has at most {MAX_STEPS} steps in all.", place)
            if depth > MAX_DEPTH:
                raise PydanticCustomError("nested_too_deeply", f"Branches stand at most {MAX_DEPTH} deep.", place)
            seen.add(step.id)
        return self
