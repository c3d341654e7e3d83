"""Why and why not: for events of a span, what became of every workflow of the practice and what runs under way made of them.

Decisions are those written down when the event was handled, and what became of runs is what their records say. Conditions are
evaluated again, under the version that asked, from the events and what was known then: nothing is written for their sake.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from libs.common.errors import Refused
from libs.common.work import Tx
from libs.contracts.workflows import ExplanationsViewed
from services.workflows.commands.dry_run import ReasonView
from services.workflows.commands.explained import Considered, ExplainedRun, Explanation
from services.workflows.commands.history import KEPT, STARTED_ALREADY
from services.workflows.commands.published import PublishedWorkflows
from services.workflows.commands.recalling import NO_LONGER_COMPILES, Recalled, recall
from services.workflows.queries.history import events_about, events_of_run, triggers
from services.workflows.queries.runs import run_by_id
from services.workflows.rules.conditions.explaining import SubValue
from services.workflows.rules.conditions.explaining import explain as reasons
from services.workflows.rules.definitions.compiling import CompiledDefinition
from services.workflows.rules.definitions.steps import LONGEST_LOOK_BACK
from services.workflows.rules.definitions.triggers import seen_as, trigger_name
from services.workflows.rules.runs.considering import NOT_IN_FORCE, OTHER_TRIGGER, published_after, read_trigger, takes, trigger_at
from services.workflows.rules.simulation.occurred import Occurred
from services.workflows.rules.simulation.recalling import DIFFERS, came_to
from services.workflows.rules.simulation.running import Running

MOST_WORKFLOWS = 1000
_UNASKED = frozenset({"bulk", "definition_invalid", "loop_stopped", "overlap", STARTED_ALREADY})
"""Verdicts that say nothing of the filter."""


class SubjectNeeded(Refused):
    """Say about which patient, which event or which run."""


class SpanTooLong(Refused):
    """The span ends before it begins, or is longer than what is remembered."""


@dataclass(frozen=True)
class About:
    """Whom or what to explain; what is None does not count."""

    patient_id: UUID | None = None
    event_id: UUID | None = None
    run_id: UUID | None = None


async def explain(
    published: PublishedWorkflows,
    tx: Tx,
    about: About,
    *,
    span: tuple[datetime | None, datetime | None],
    after: tuple[str, ...] | None,
    limit: int,
) -> list[Explanation]:
    """Newest first, one more than ``limit`` when there is more. Without a span all that is remembered counts.

    Of a run: the event that started it, and those it listened for. That it was read is said in the same transaction.
    Raises ``SubjectNeeded``, ``SpanTooLong``.
    """
    if about == About():
        raise SubjectNeeded(pointer="/patient_id")
    until = span[1] or tx.now + timedelta(seconds=1)
    since = span[0] or until - KEPT
    if not timedelta() < until - since <= KEPT:
        raise SpanTooLong(pointer="/from")
    if about.run_id is not None:
        rows = await _events_of_run(about.run_id, (since, until), after, limit, published, tx)
    else:
        who = {"patient_id": about.patient_id, "event_id": about.event_id}
        rows = await events_about(tx, **who, since=since, until=until, after=after, limit=limit)
    if not rows:
        return []
    shown = [row["event_id"] for row in rows[:limit]]
    tx.emit(ExplanationsViewed(event_ids=shown, patient_id=about.patient_id, view="explanations"))
    happened = {row["event_id"]: Occurred.logged(row) for row in rows}
    named = {UUID(run_id) for row in rows for *_, run_id in row["decisions"] if run_id}
    recalled = await recall(rows, named, list(happened.values()), published, tx)
    workflows = await triggers(tx)
    return [await _explained(row, happened[row["event_id"]], workflows, recalled, published, tx) for row in rows]


async def _events_of_run(
    run_id: UUID, span: tuple[datetime, datetime], after: tuple[str, ...] | None, limit: int, published: PublishedWorkflows, tx: Tx
) -> list[Any]:
    run = await run_by_id(run_id, tx)
    if run is None:
        return []
    try:
        compiled = await published.version(run["practice_id"], run["workflow_id"], run["version"], tx)
    except ValueError:  # what it listened for cannot be read any more; what started it can
        return await events_of_run(run, [], timedelta(), span, after, limit, tx)
    types = [rule.event for rules in compiled.awaited.values() for rule in rules]
    return await events_of_run(run, types, LONGEST_LOOK_BACK, span, after, limit, tx)


async def _explained(
    row: Any, occurred: Occurred, workflows: list[Any], recalled: Recalled, published: PublishedWorkflows, tx: Tx
) -> Explanation:
    decisions = {UUID(workflow_id): (version, verdict) for workflow_id, version, verdict, _ in row["decisions"]}
    runs = _runs(row, recalled)
    views: list[Considered] = []
    for workflow in workflows[:MOST_WORKFLOWS]:
        version, verdict = decisions.get(workflow["id"], (None, None))
        trigger = read_trigger(trigger_at(workflow["versions"], workflow["draft_trigger"], version, row["recorded_at"]))
        matches = verdict is not None or (trigger is not None and takes(trigger, occurred.event, workflow["id"]) is not None)
        why = _Why() if version is None else await _why(row["practice_id"], workflow["id"], version, verdict, occurred, published, tx)
        view = Considered(
            workflow_id=workflow["id"], workflow_name=workflow["name"], version=version, trigger=trigger_name(trigger) if trigger else "",
            trigger_matches=matches, verdict=verdict or (NOT_IN_FORCE if matches else OTHER_TRIGGER),
            filter=[ReasonView.of(reason) for reason in why.filter], key=[ReasonView.of(reason) for reason in why.key], unsure=why.unsure,
            published_at=published_after(workflow["versions"], row["recorded_at"]) if verdict is None and matches else None,
            runs=runs.get(workflow["id"], []),
        )  # fmt: skip
        views.append(view)
    return Explanation(
        **{name: row[name] for name in ("event_id", "type", "at", "recorded_at", "patient_id", "appointment_id", "seen")},
        event=row["data"], workflows=views, heard_by=recalled.heard_by(occurred),
    )  # fmt: skip


def _runs(row: Any, recalled: Recalled) -> Mapping[UUID, list[ExplainedRun]]:
    """By workflow: runs the event started, and those a decision names (started by an earlier event about the same booking)."""
    named = {UUID(run_id) for *_, run_id in row["decisions"] if run_id}
    found: dict[UUID, list[ExplainedRun]] = defaultdict(list)
    for run_id, run in sorted(recalled.rows.items(), key=lambda one: (one[1]["started_at"], one[0])):
        if run["trigger_event_id"] == row["event_id"] or run_id in named:
            found[run["workflow_id"]].append(recalled.view(run_id))
    return found


@dataclass(frozen=True)
class _Why:
    filter: tuple[SubValue, ...] = ()
    key: tuple[SubValue, ...] = ()
    unsure: str | None = None


async def _why(
    practice_id: UUID, workflow_id: UUID, version: int, verdict: str, occurred: Occurred, published: PublishedWorkflows, tx: Tx
) -> _Why:
    """The filter and the key, as this version saw the event. An anchored workflow asks its filter later, of what it knows then."""
    try:
        compiled = await published.version(practice_id, workflow_id, version, tx)
    except ValueError:
        return _Why(unsure=NO_LONGER_COMPILES)
    name = takes(compiled.definition.trigger, occurred.event, workflow_id)
    if name is None:
        return _Why()
    event = seen_as(name, occurred.event, occurred.known.patient)
    run = Running(compiled, occurred.id, event.model_dump(), occurred.known, now=occurred.at)
    return _judged(compiled, verdict, run.bind({}))


def _judged(compiled: CompiledDefinition, verdict: str, bound: Any) -> _Why:
    """A key is asked of whom the filter lets through."""
    definition, asked = compiled.definition, compiled.expressions
    why = reasons(definition.condition, asked, bound) if definition.condition is not None and not compiled.anchored else ()
    let_in = not why or came_to(why[0]) is True
    key = reasons(definition.enrolment.key, asked, bound) if let_in and definition.enrolment and definition.enrolment.key else ()
    failed = verdict.startswith("condition_error:")
    expected = False if verdict == "filtered" else None if failed else True
    differs = bool(why) and verdict not in _UNASKED and came_to(why[0]) is not expected
    wrong_key = bool(key) and verdict not in _UNASKED and (key[0].error is not None) != verdict.startswith("key_error:")
    return _Why(why, key, DIFFERS if differs or (wrong_key and verdict != "key_error:not_text") else None)
