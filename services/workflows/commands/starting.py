"""Start runs: every happening meets every published workflow with that trigger, all of a batch in one go."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID

from libs.common.work import Tx
from libs.contracts.envelope import Event
from services.workflows.commands.enrolling import TOO_OFTEN, Candidate, admissions_for
from services.workflows.commands.happening import Happening, run_row
from services.workflows.commands.history import NOTHING_MET, STARTED_ALREADY, Decision, record
from services.workflows.commands.published import InForce, PublishedWorkflows
from services.workflows.commands.rows import RunRow
from services.workflows.commands.world import World, world_of
from services.workflows.commands.writes import Change, Writes
from services.workflows.queries.current import Current, current_of
from services.workflows.queries.decided import BULK, FILTERED
from services.workflows.queries.runs import depths_of
from services.workflows.rules.definitions.triggers import seen_as, started_by
from services.workflows.rules.expressions.interface import FALSE, TRUE, Expressions
from services.workflows.rules.expressions.templates import as_text
from services.workflows.rules.runs.interpreter import advance
from services.workflows.rules.runs.orchestration import TEMPORAL
from services.workflows.rules.runs.states import NEVER_BEGAN, Finished, Moved, Started, State, Status

MAX_CHAIN = 8
"""Runs that may cause each other one after another, through the events of their actions."""

LOOP_STOPPED = "loop_stopped"


@dataclass(frozen=True)
class Occasion:
    """A happening as one trigger, and the workflows that have it."""

    happening: Happening
    trigger: str
    workflows: Sequence[InForce]


@dataclass(frozen=True)
class _Chance:
    """A candidate, and the event as it sees it: itself, its data, the values of its expressions."""

    candidate: Candidate
    seen: Event
    data: dict[str, Any]
    values: Any
    depth: int


@dataclass
class _Gathered:
    """What a batch comes to before anybody is let in. ``met``: see ``record``."""

    met: Mapping[UUID, int]
    chances: list[_Chance] = field(default_factory=list)
    rerun: int = 0
    decisions: dict[UUID, list[Decision]] = field(default_factory=lambda: defaultdict(list))
    writes: Writes = field(default_factory=Writes)

    def decide(self, happening: Happening, workflow: InForce, verdict: str, run_id: UUID | None = None) -> None:
        self.decisions[happening.id].append(Decision(workflow.workflow_id, workflow.version, verdict, run_id))


async def start_runs(happenings: list[Happening], published: PublishedWorkflows, tx: Tx) -> list[Change]:
    """Start the runs events call for; returns those that began.

    A condition that fails to evaluate makes a failed run that says so: it is not the same as false. At most one run per
    workflow and event, whatever is delivered twice. Raises ``PatientNotYet`` or ``PracticeNotYet`` while news an event
    depends on is on its way over another topic: the event waits and comes again. Runs that go on causing each other are
    stopped after ``MAX_CHAIN``: a failed run that says ``loop_stopped``. So does a workflow that a patient comes to more
    than ``OFTEN`` times in an hour, or that runs about nobody come to more than ``OFTEN_NOBODY`` times: a loop that goes round outside.
    """
    current = await current_of({one.practice_id for one in happenings}, tx)
    in_force = await published.in_force(current.revisions, tx)
    met = Current({practice_id: listening.revision for practice_id, listening in in_force.items()}, current.practices)
    occasions = [
        Occasion(one, trigger, workflows)
        for one in happenings
        for trigger in started_by(one.data)
        if (workflows := in_force[one.practice_id].workflows.get(trigger))
    ]
    return await start_occasions(occasions, happenings, tx, met=met)


async def start_occasions(
    occasions: list[Occasion],
    happenings: list[Happening],
    tx: Tx,
    rerun: int = 0,
    decided: Mapping[UUID, list[Decision]] | None = None,
    met: Current | None = None,
) -> list[Change]:
    """Start these, and remember all happenings with what was decided, here or (``decided``) before.

    ``met``: the practices, when the happenings meet all that is in force in them.
    """
    world = await world_of([(one.practice_id, one.ids()) for one in happenings], tx, practices=met.practices if met is not None else None)
    depths = await _depths([occasion.happening for occasion in occasions], tx)
    revisions = met.revisions if met is not None else NOTHING_MET
    gathered = _Gathered(revisions, rerun=rerun)
    gathered.decisions.update(decided or {})
    for occasion in occasions:
        world.require_patient(occasion.happening.practice_id, occasion.happening.ids())
        _consider_all(occasion, depths.get(occasion.happening.id, 0), world, gathered)
    await _let_in(gathered, world, tx)
    changes = await gathered.writes.flush(tx)
    await record(happenings, gathered.decisions, {change.run.id for change in changes}, world, tx, revisions)
    return changes


async def _depths(happenings: list[Happening], tx: Tx) -> dict[UUID, int]:
    """How deep a run stands that an event starts: one deeper than the run whose action caused the event."""
    causes = {one.id: (one.practice_id, UUID(one.causation_id)) for one in happenings if _is_uuid(one.causation_id)}
    found = await depths_of(list(set(causes.values())), tx)
    return {event_id: found[cause] + 1 for event_id, cause in causes.items() if cause in found}


def _is_uuid(text: str) -> bool:
    try:
        UUID(text)
    except ValueError:
        return False
    return True


def _consider_all(occasion: Occasion, depth: int, world: World, gathered: _Gathered) -> None:
    """Every workflow of the occasion. A thousand cost one evaluation each: what is kept out leaves no trace of its own (``record``)."""
    happening, bulk = occasion.happening, occasion.happening.bulk
    seen = seen_as(occasion.trigger, happening.data, world.patients.get((happening.practice_id, happening.ids()["patient_id"])))
    named = bulk or happening.practice_id not in gathered.met
    practice_known = False
    data = seen.model_dump()
    bound: dict[Expressions, Any] = {}
    for workflow in occasion.workflows:
        compiled = workflow.compiled
        if compiled is None or depth > MAX_CHAIN:
            _fail(happening, seen, workflow, "definition_invalid" if compiled is None else LOOP_STOPPED, gathered, depth)
            continue
        if bulk and not workflow.takes_bulk:
            if happening.practice_id not in gathered.met:
                gathered.decide(happening, workflow, BULK)
            continue
        if workflow.asks_practice and not practice_known:
            world.require_practice(happening.practice_id)
            practice_known = True
        values = bound.get(compiled.expressions)
        if values is None:
            values = bound[compiled.expressions] = world.bind(compiled, happening.practice_id, data)
        passed = TRUE if workflow.filter is None else workflow.filter.evaluate(values)
        if passed is FALSE and not named:
            continue
        verdict = passed.verdict
        if verdict.error is not None:
            _fail(happening, seen, workflow, f"condition_error:{verdict.error}", gathered, depth)
        elif verdict.value:
            key = _key(happening, seen, workflow, values, gathered, depth)
            if key is not None:
                patient_id, appointment_id = getattr(seen, "patient_id", None), getattr(seen, "appointment_id", None)
                candidate = Candidate(happening, workflow, patient_id, appointment_id, key or None)
                gathered.chances.append(_Chance(candidate, seen, data, values, depth))
        elif named:
            gathered.decide(happening, workflow, FILTERED)


def _key(happening: Happening, seen: Event, workflow: InForce, values: Any, gathered: _Gathered, depth: int) -> str | None:
    """The key its enrolment goes by, empty for none; None when the key cannot be told: that is a failed run."""
    compiled = workflow.compiled
    assert compiled is not None
    policy = compiled.definition.enrolment.policy if compiled.definition.enrolment else "every"
    if policy == "once":
        return str(getattr(seen, "patient_id", None) or "")
    if policy != "by_key":
        return ""
    assert compiled.key is not None
    found = compiled.key.evaluate(values)
    key = as_text(found.value) if found.error is None else None
    if key is None:
        _fail(happening, seen, workflow, f"key_error:{found.error or 'not_text'}", gathered, depth)
    return key


async def _let_in(gathered: _Gathered, world: World, tx: Tx) -> None:
    candidates = [one.candidate for one in gathered.chances]
    runs = [run_row(one.candidate.happening, one.seen, one.candidate.workflow, one.depth, gathered.rerun) for one in gathered.chances]
    admissions = await admissions_for(candidates, [run.id for run in runs], tx)
    known = admissions.begun
    for run, one, candidate in zip(runs, gathered.chances, candidates, strict=True):
        happening, workflow = candidate.happening, candidate.workflow
        if run.id in known:  # by an earlier event about the same: nobody goes through a second time
            admissions.owns(candidate, run.id, known[run.id])
            gathered.decide(happening, workflow, STARTED_ALREADY, run.id)
            continue
        refusal = None if gathered.rerun else admissions.refusal(candidate, tx.now)
        if refusal == TOO_OFTEN and admissions.count(candidate) == candidate.often + 1:
            _fail(happening, one.seen, workflow, LOOP_STOPPED, gathered, one.depth)  # seen once, as a run; what follows only in the history
            continue
        decision = Decision(workflow.workflow_id, workflow.version, refusal or "started")
        if refusal is None:
            assert workflow.compiled is not None
            state, effects = _first_steps(run, workflow, world, one, tx.now)
            new = gathered.writes.start(Change(run, state, effects, happening.cause, workflow.compiled, unsaid=_unsaid(happening)))
            if new:
                known[run.id] = tx.now
                admissions.enter(candidate, run.id, tx.now)
            decision = Decision(workflow.workflow_id, workflow.version, "started" if new else STARTED_ALREADY, run.id)
        gathered.decisions[happening.id].append(decision)
    await admissions.flush(tx)


def _first_steps(run: RunRow, workflow: InForce, world: World, chance: _Chance, now: datetime) -> Moved:
    """As far as a run comes when it starts. One of the durable engine begins in its own time."""
    assert workflow.compiled is not None
    state = State(paused=workflow.paused)
    if run.engine == TEMPORAL:
        return state, []
    around = world.around(workflow.compiled, run.practice_id, chance.data, chance.values)
    return advance(workflow.compiled, state, Started(), around, now)


def _fail(happening: Happening, seen: Event, workflow: InForce, code: str, gathered: _Gathered, depth: int = 0) -> None:
    failed = State(status=Status.FAILED, cursor=NEVER_BEGAN, error_code=code)
    run = run_row(happening, seen, workflow, depth, gathered.rerun)
    change = Change(run, failed, [Finished(Status.FAILED, code)], happening.cause, workflow.compiled, unsaid=_unsaid(happening))
    verdict = code if gathered.writes.start(change) else STARTED_ALREADY
    gathered.decide(happening, workflow, verdict, run.id)


def _unsaid(happening: Happening) -> Happening | None:
    return None if happening.said else happening


__all__ = ["LOOP_STOPPED", "MAX_CHAIN", "Occasion", "start_occasions", "start_runs"]
