"""Which workflows an event concerns, told from their triggers as they are stored. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from pydantic import TypeAdapter, ValidationError

from libs.contracts.envelope import Event
from libs.contracts.workflows import AppointmentIncluded
from services.workflows.rules.definitions.definition import AnchoredTrigger, Trigger
from services.workflows.rules.definitions.triggers import event_of, started_by, started_types

NOT_IN_FORCE = "not_in_force"
OTHER_TRIGGER = "other_trigger"
_TRIGGER: TypeAdapter[Trigger] = TypeAdapter(Trigger)


def takes(trigger: Trigger, event: Event, workflow_id: UUID) -> str | None:
    """The trigger type this event is for such a trigger; None when it does not start it. An occasion starts the workflow it names."""
    types = started_types(trigger)
    for name in started_by(event):
        if name in types:
            return name
    included = isinstance(trigger, AnchoredTrigger) and isinstance(event, AppointmentIncluded)
    own = included or (not types and event_of(trigger) is type(event))
    return event.type if own and getattr(event, "workflow_id", None) == workflow_id else None


def read_trigger(stored: Mapping[str, Any]) -> Trigger | None:
    """None for one that is no trigger any more."""
    try:
        return _TRIGGER.validate_python(stored)
    except ValidationError:
        return None


def trigger_at(versions: Sequence[Any], draft: Mapping[str, Any], decided: int | None, at: datetime) -> Mapping[str, Any]:
    """The trigger of the version that decided, else of the newest one published by then, else of the draft.

    ``versions``: ``[version, published_at, trigger]``, oldest first.
    """
    for version, _, trigger in versions:
        if version == decided:
            return dict(trigger)
    before = [trigger for _, published_at, trigger in versions if datetime.fromisoformat(published_at) <= at]
    return dict(before[-1] if before else draft)


def published_after(versions: Sequence[Any], at: datetime) -> datetime | None:
    """When a version was first published after this."""
    times = [datetime.fromisoformat(published_at) for _, published_at, _ in versions]
    return next((one for one in times if one > at), None)
