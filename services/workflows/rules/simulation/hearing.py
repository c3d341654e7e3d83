"""What an event meant to a run of the past that waited, or could be ended by it. Pure.

Whether it counted is told from the records; the values of its condition are found again from what was known then.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from services.workflows.rules.conditions.explaining import SubValue, explain
from services.workflows.rules.conditions.written import Condition
from services.workflows.rules.definitions.compiling import EXITS, AwaitedRule
from services.workflows.rules.definitions.steps import WaitForStep, walk
from services.workflows.rules.runs.states import Status
from services.workflows.rules.simulation.occurred import Known, Occurred
from services.workflows.rules.simulation.recalling import CONDITION_ERROR, DIFFERS, FORGOTTEN, PastRun, PastStep, came_to
from services.workflows.rules.simulation.running import EXIT

COUNTED = "counted"
DID_NOT_MATCH = "did_not_match"
ABOUT_ANOTHER = "about_another"
TOO_EARLY = "too_early"
TOO_LATE = "too_late"
PASSED_OVER = "passed_over"
Recall = Callable[[datetime], Known | None]
"""What was known at a moment of those an event is about; None when it is forgotten."""


@dataclass(frozen=True)
class Heard:
    """One event and one thing a run listened for: a step that waited, or (``@exit``) an exit condition, the ``number``-th of each.

    ``verdict``: ``counted``; ``did_not_match`` or ``condition_error:…`` (its condition); ``about_another`` (appointment or patient than
    it has to be); ``too_early`` (before the wait, further than it looks back) or ``too_late`` (the wait was over); ``passed_over``: it
    holds and did not count, as what moves a run on is not what it then waits for, and of several the first counts. What is
    forgotten, and did not count, ``did_not_match`` as far as is known.
    """

    step_id: str
    number: int
    verdict: str
    reasons: tuple[SubValue, ...] = ()
    unsure: str | None = None


@dataclass(frozen=True)
class _Listening:
    """From when until when, about whom. ``step``: the step that waited."""

    name: str
    condition: Condition | None
    subject: UUID | None
    since: datetime
    until: datetime | None
    step: PastStep | None = None


def heard(run: PastRun, occurred: Occurred, recall: Recall) -> Iterator[Heard]:
    """What the event meant to the run: nothing, if the run listened for no such event or had not come to where it does."""
    if occurred.id == run.event_id or (run.finished_at is not None and occurred.at > run.finished_at):
        return
    for name, rules in run.compiled.awaited.items():
        for number, rule in enumerate(rules):
            listening = _listening(run, name, number, rule) if rule.event == occurred.event.type else None
            if listening is not None and not (listening.since > occurred.at < run.started_at):
                yield _heard(run, occurred, rule, number, listening, recall)


def looks_back_at(run: PastRun, occurred: Occurred) -> Iterator[datetime]:
    """When waits of the run began that looked back at the event: what was known then counts for them."""
    for name, rules in run.compiled.awaited.items() if run.remembers else ():
        step = run.steps.get(name)
        if step is not None and step.started_at > occurred.at and any(rule.event == occurred.event.type for rule in rules):
            yield step.started_at


def longest_look_back(run: PastRun) -> timedelta:
    """How long before it began an event may have come that counted for it."""
    steps = (step for step, _, _ in walk(run.compiled.definition.steps))
    return max((step.look_back for step in steps if isinstance(step, WaitForStep)), default=timedelta())


def _listening(run: PastRun, name: str, number: int, rule: AwaitedRule) -> _Listening | None:
    if name == EXITS:
        anything = run.patient_id or run.appointment_id
        subject = run.appointment_id or anything if rule.about == "appointment" else anything
        return _Listening(name, (run.compiled.definition.exit or ())[number].when, subject, run.started_at, run.finished_at)
    written = next(step for step, _, _ in walk(run.compiled.definition.steps) if step.id == name)
    step = run.steps.get(name)
    if step is None or not isinstance(written, WaitForStep):
        return None
    subject = run.appointment_id if written.about == "appointment" else run.patient_id
    return _Listening(name, written.events[number].when, subject, step.started_at - written.look_back, step.finished_at, step)


def _heard(run: PastRun, occurred: Occurred, rule: AwaitedRule, number: int, listening: _Listening, recall: Recall) -> Heard:
    counted = _counted(occurred, number, listening)
    if not counted and (away := _away(occurred, listening)) is not None:
        return Heard(listening.name, number, away)
    reasons, came, unsure = _asked(run, occurred, rule, listening, recall)
    if listening.step is None:  # that an exit condition came true the end of the run says, not which
        counted = came is True and run.status == Status.CANCELLED and run.error_code == EXIT
    if counted:
        return Heard(listening.name, number, COUNTED, reasons, unsure or (None if came is True else DIFFERS))
    if unsure is not None or came is False:
        return Heard(listening.name, number, DID_NOT_MATCH, reasons, unsure)
    if came is None:
        return Heard(listening.name, number, f"{CONDITION_ERROR}:{reasons[0].error or 'not_boolean'}", reasons)
    return Heard(listening.name, number, PASSED_OVER, reasons)


def _counted(occurred: Occurred, number: int, listening: _Listening) -> bool:
    """Whether a step says that it was this one."""
    output = (listening.step.output if listening.step is not None else None) or {}
    return output.get("id") == str(occurred.id) and output.get("number") == number


def _away(occurred: Occurred, listening: _Listening) -> str | None:
    """About somebody else, or at another time."""
    if listening.subject is None or listening.subject not in occurred.subjects:
        return ABOUT_ANOTHER
    if listening.until is not None and occurred.at > listening.until:
        return TOO_LATE
    return TOO_EARLY if occurred.at < listening.since else None


def _asked(
    run: PastRun, occurred: Occurred, rule: AwaitedRule, listening: _Listening, recall: Recall
) -> tuple[tuple[SubValue, ...], bool | None, str | None]:
    """Its condition at the moment the event met the wait: when it came, or when the wait looked back."""
    if rule.when is None or listening.condition is None:
        return (), True, None
    looked_back = listening.step is not None and listening.step.started_at > occurred.at
    moment = listening.step.started_at if looked_back and listening.step is not None else occurred.at
    known = recall(moment) if looked_back else occurred.known
    if known is None and run.remembers:
        return (), None, FORGOTTEN
    known = known or Known()
    then = run.at(moment, known, before=None if listening.step is None else listening.name, but=occurred.id)
    bound = then.bind_awaited(rule, Occurred(occurred.id, occurred.event, moment, occurred.said, known))
    reasons = explain(listening.condition, rule.expressions, bound)
    return reasons, came_to(reasons[0]), None
