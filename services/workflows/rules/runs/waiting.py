"""Waits of a run: for a duration, for a time that may move, for an event. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime, tzinfo
from typing import Any

from services.workflows.rules.definitions.calendar import LATE, anchored, calendar_of, goes_on, may_be, next_local, zone_of
from services.workflows.rules.definitions.program import Waiting
from services.workflows.rules.definitions.steps import LocalTime, WaitForStep, WaitStep, WaitUntilStep
from services.workflows.rules.runs.ending import end, passed
from services.workflows.rules.runs.states import (
    Effect,
    EventArrived,
    Moved,
    OpenWait,
    SetTimer,
    State,
    Status,
    StepEnded,
    Surroundings,
)

APPOINTMENT_CANCELLED = "appointment_cancelled"
NO_APPOINTMENT = "no_appointment"
NO_SUCH_TIME = "no_such_time"
TIMED_OUT: Mapping[str, Any] = {"outcome": "timed_out", "number": None, "event": None, "id": None}


def begin_wait(step: Waiting, state: State, around: Surroundings, now: datetime) -> Moved:
    """A wait begins. One for events counts those that came while the run was held, as it would have been waiting by then."""
    match step:
        case WaitStep():
            return _until(step.id, "wait", state, now + step.duration)
        case WaitForStep():
            events = tuple(awaited.event for awaited in step.events)
            moved, effects = _until(step.id, "wait_for", state, now + step.timeout)
            return moved, [*effects, OpenWait(step.id, events, step.about, min(state.held or now, now - step.look_back))]
        case WaitUntilStep() if step.anchor is not None:
            return re_anchor(step, state, around, now)
        case WaitUntilStep():
            return _until_local(step, state, around, now)


def _until_local(step: WaitUntilStep, state: State, around: Surroundings, now: datetime) -> Moved:
    assert step.local is not None
    due = next_local(step.local, calendar_of(around.practice), now, _zone(step.local, around))
    if due is None:
        return end(state, Status.FAILED, NO_SUCH_TIME, [StepEnded(step.id, "failed", NO_SUCH_TIME, "wait_until")])
    return _until(step.id, "wait_until", state, due)


def _zone(local: LocalTime, around: Surroundings) -> tzinfo | None:
    """The patient's zone where it counts and is known; None for the practice's."""
    name = (around.patient or {}).get("time_zone") if local.zone == "patient" else None
    return zone_of(name) if name else None


def rang(step: Waiting, state: State, around: Surroundings, now: datetime) -> Moved:
    """The timer of a wait rang. One for a local time that rings late, outside the hours it may be, waits for the next one."""
    if isinstance(step, WaitForStep):
        return _heard(step, state, TIMED_OUT)
    if isinstance(step, WaitUntilStep) and step.anchor is not None:
        return _anchor_rang(step, state, around, now)
    if isinstance(step, WaitUntilStep) and step.local is not None and _too_late(step.local, state, around, now):
        return _until_local(step, state, around, now)
    return passed(state, state.cursor + 1), [StepEnded(step.id, "succeeded", kind=step.kind)]


def _too_late(local: LocalTime, state: State, around: Surroundings, now: datetime) -> bool:
    late = state.due is not None and now > state.due + LATE
    return late and not may_be(local, calendar_of(around.practice), now, _zone(local, around))


def arrived(step: WaitForStep, state: State, event: EventArrived, now: datetime) -> Moved:
    """One of the events came; after the time-out it does not count, though nobody has rung the timer yet."""
    if is_over(state.due, event.at or now):
        return _heard(step, state, TIMED_OUT)
    return _heard(step, state, {"outcome": "event", "number": event.number, "event": dict(event.data), "id": event.id})


def is_over(due: datetime | None, came: datetime) -> bool:
    """Whether what came then came after the end of a wait. At the very end it counts."""
    return due is not None and came > due


def _heard(step: WaitForStep, state: State, output: Mapping[str, Any]) -> Moved:
    ended: list[Effect] = [StepEnded(step.id, "succeeded", kind="wait_for", output=output)]
    return passed(state, state.cursor + 1, step.id, output), ended


def re_anchor(step: WaitUntilStep, state: State, around: Surroundings, now: datetime) -> Moved:
    """When it is due now that the appointment is where it is. The same as before changes nothing, and is still met for a moment.

    Of a paused run only the time is kept up to date: what becomes of one that is over is decided when it is resumed.
    """
    assert step.anchor is not None
    assert step.past_due is not None
    appointment = around.appointment or {}
    found = anchored(step.anchor, appointment)
    if appointment.get("status") == "cancelled":
        return end(state, Status.CANCELLED, APPOINTMENT_CANCELLED, [StepEnded(step.id, "cancelled", kind="wait_until")])
    if found is None:
        return end(state, Status.FAILED, NO_APPOINTMENT, [StepEnded(step.id, "failed", NO_APPOINTMENT, "wait_until")])
    due, held = found
    if due > now or state.paused:
        return (state, []) if due == state.due else _until(step.id, "wait_until", state, due)
    met = due == state.due and now <= due + LATE  # the timer is about to ring
    return _over(step, state, met or goes_on(step.past_due, held, now))


def lies_ahead(step: WaitUntilStep, around: Surroundings, now: datetime) -> bool:
    """Whether the time a step hangs on an appointment is still to come, or to come again."""
    found = anchored(step.anchor, around.appointment or {}) if step.anchor is not None else None
    return found is not None and found[0] > now


def _anchor_rang(step: WaitUntilStep, state: State, around: Surroundings, now: datetime) -> Moved:
    """On time: go on. Late, or for a time that is no longer right: what the step says of times that are over, or the right time."""
    assert step.anchor is not None
    found = anchored(step.anchor, around.appointment or {})
    on_time = found is not None and found[0] <= now <= found[0] + LATE
    cancelled = (around.appointment or {}).get("status") == "cancelled"
    return _over(step, state, on=True) if on_time and not cancelled else re_anchor(step, replace(state, due=None), around, now)


def _over(step: WaitUntilStep, state: State, on: bool) -> Moved:
    if on:
        met = replace(passed(state, state.cursor + 1), attempt=state.attempt, retried=state.retried)
        return met, [StepEnded(step.id, "succeeded", kind="wait_until")]
    return end(state, Status.COMPLETED, None, [StepEnded(step.id, "skipped", "past_due", "wait_until")])


def _until(step_id: str, kind: str, state: State, due: datetime) -> Moved:
    return replace(state, waiting=True, due=due, held=None), [SetTimer(step_id, due, kind)]
