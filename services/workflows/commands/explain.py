"""Why and why not: for events of a span, what became of every workflow of the practice, with the value of each part of its filter.

Decisions are those written down when the event was handled. Filters are evaluated again, from the event and what was known
then, under the version that decided.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from pydantic import BaseModel

from libs.common.errors import Refused
from libs.common.work import Tx
from libs.contracts.workflows import ExplanationsViewed
from services.workflows.commands.dry_run import ReasonView
from services.workflows.commands.history import KEPT
from services.workflows.commands.published import PublishedWorkflows
from services.workflows.queries.history import events_about, runs_of_events, steps_of_runs, triggers
from services.workflows.rules.conditions.explaining import explain as reasons
from services.workflows.rules.definitions.triggers import seen_as, trigger_name
from services.workflows.rules.runs.considering import NOT_IN_FORCE, OTHER_TRIGGER, published_after, read_trigger, takes, trigger_at
from services.workflows.rules.simulation.occurred import Occurred
from services.workflows.rules.simulation.running import Running

MOST_WORKFLOWS = 1000


class SubjectNeeded(Refused):
    """Say about which patient or which event."""


class SpanTooLong(Refused):
    """The span ends before it begins, or is longer than what is remembered."""


class ExplainedStep(BaseModel):
    step_id: str
    kind: str
    status: str
    action: str | None
    due_at: datetime | None
    error_code: str | None
    started_at: datetime
    finished_at: datetime | None


class ExplainedRun(BaseModel):
    """What came of a decision. ``error_code`` is ``suppressed`` when it ended because its patient was put on the suppression list."""

    id: UUID
    status: str
    paused: bool
    error_code: str | None
    started_at: datetime
    finished_at: datetime | None
    steps: list[ExplainedStep]


class Considered(BaseModel):
    """One workflow at one event.

    ``verdict``: ``started``; ``started_already`` (by an earlier event about the same booking); ``filtered``; ``suppressed``,
    ``enrolled_already``, ``active_already``, ``waits_already``, ``bulk``, ``overlap`` (a run of the schedule goes on), ``too_often``;
    ``loop_stopped``, ``condition_error:…``, ``key_error:…``, ``definition_invalid`` (a failed run says so);
    ``not_in_force`` (it would have been started by such an event, but was not published then); ``other_trigger``.
    ``version`` is the one that decided. ``published_at`` is when a workflow not in force was published afterwards.
    """

    workflow_id: UUID
    workflow_name: str
    version: int | None
    trigger: str
    trigger_matches: bool
    verdict: str
    filter: list[ReasonView]
    published_at: datetime | None = None
    runs: list[ExplainedRun]


class Explanation(BaseModel):
    """One event. ``at`` is when it happened, ``recorded_at`` when it was handled; what was known then is in ``seen`` (null: not known)."""

    event_id: UUID
    type: str
    at: datetime
    recorded_at: datetime
    patient_id: UUID | None
    appointment_id: UUID | None
    event: dict[str, Any]
    seen: dict[str, Any]
    workflows: list[Considered]


async def explain(
    published: PublishedWorkflows,
    tx: Tx,
    *,
    patient_id: UUID | None,
    event_id: UUID | None,
    span: tuple[datetime | None, datetime | None],
    after: tuple[str, ...] | None,
    limit: int,
) -> list[Explanation]:
    """Newest first, one more than ``limit`` when there is more. Without a span all that is remembered counts.

    That it was read is said in the same transaction. Raises ``SubjectNeeded``, ``SpanTooLong``.
    """
    if patient_id is None and event_id is None:
        raise SubjectNeeded(pointer="/patient_id")
    until = span[1] or tx.now + timedelta(seconds=1)
    since = span[0] or until - KEPT
    if not timedelta() < until - since <= KEPT:
        raise SpanTooLong(pointer="/from")
    rows = await events_about(tx, patient_id=patient_id, event_id=event_id, since=since, until=until, after=after, limit=limit)
    if not rows:
        return []
    shown = [row["event_id"] for row in rows[:limit]]
    tx.emit(ExplanationsViewed(event_ids=shown, patient_id=patient_id, view="explanations"))
    workflows = await triggers(tx)
    runs = await _runs(rows, tx)
    return [await _explained(row, workflows, runs, published, tx) for row in rows]


async def _runs(rows: list[Any], tx: Tx) -> dict[tuple[UUID, UUID], list[ExplainedRun]]:
    """Runs by event and workflow: those an event started, and those a decision names (started by an earlier event about the same booking)."""
    named: dict[UUID, set[UUID]] = defaultdict(set)
    for row in rows:
        for *_, run_id in row["decisions"]:
            if run_id:
                named[UUID(run_id)].add(row["event_id"])
    found = await runs_of_events([row["event_id"] for row in rows], list(named), tx)
    steps: dict[UUID, list[ExplainedStep]] = defaultdict(list)
    for step in await steps_of_runs([run["id"] for run in found], tx):
        steps[step["run_id"]].append(ExplainedStep.model_validate(dict(step)))
    by_event: dict[tuple[UUID, UUID], list[ExplainedRun]] = defaultdict(list)
    for run in found:
        view = ExplainedRun(**{name: run[name] for name in ExplainedRun.model_fields if name != "steps"}, steps=steps[run["id"]])
        for event_id in {run["trigger_event_id"], *named[run["id"]]}:
            by_event[event_id, run["workflow_id"]].append(view)
    return by_event


async def _explained(
    row: Any, workflows: list[Any], runs: Mapping[tuple[UUID, UUID], list[ExplainedRun]], published: PublishedWorkflows, tx: Tx
) -> Explanation:
    occurred = Occurred.logged(row)
    decisions = {UUID(workflow_id): (version, verdict) for workflow_id, version, verdict, _ in row["decisions"]}
    views: list[Considered] = []
    for workflow in workflows[:MOST_WORKFLOWS]:
        version, verdict = decisions.get(workflow["id"], (None, None))
        trigger = read_trigger(trigger_at(workflow["versions"], workflow["draft_trigger"], version, row["recorded_at"]))
        matches = verdict is not None or (trigger is not None and takes(trigger, occurred.event, workflow["id"]) is not None)
        why = [] if version is None else await _filter(row["practice_id"], workflow["id"], version, occurred, published, tx)
        view = Considered(
            workflow_id=workflow["id"], workflow_name=workflow["name"], version=version, trigger=trigger_name(trigger) if trigger else "",
            trigger_matches=matches, verdict=verdict or (NOT_IN_FORCE if matches else OTHER_TRIGGER), filter=why,
            published_at=published_after(workflow["versions"], row["recorded_at"]) if verdict is None and matches else None,
            runs=runs.get((row["event_id"], workflow["id"]), []),
        )  # fmt: skip
        views.append(view)
    return Explanation(
        **{name: row[name] for name in ("event_id", "type", "at", "recorded_at", "patient_id", "appointment_id", "seen")},
        event=row["data"], workflows=views,
    )  # fmt: skip


async def _filter(
    practice_id: UUID, workflow_id: UUID, version: int, occurred: Occurred, published: PublishedWorkflows, tx: Tx
) -> list[ReasonView]:
    """The filter's value and that of its parts, as this version saw the event. An anchored workflow asks later, of what it knows then."""
    try:
        compiled = await published.version(practice_id, workflow_id, version, tx)
    except ValueError:  # it no longer compiles; the verdict says so
        return []
    if compiled.definition.condition is None or compiled.anchored:
        return []
    name = takes(compiled.definition.trigger, occurred.event, workflow_id)
    if name is None:
        return []
    event = seen_as(name, occurred.event, occurred.known.patient)
    run = Running(compiled, occurred.id, event.model_dump(), occurred.known)
    return [ReasonView.of(reason) for reason in reasons(compiled.definition.condition, compiled.expressions, run.bind({}))]
