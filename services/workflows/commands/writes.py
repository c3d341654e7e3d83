"""What a batch of runs changes, gathered and written in a fixed number of statements, messages included."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import cast
from uuid import UUID

from libs.common.ids import derived_id
from libs.common.telemetry import Cause
from libs.common.work import Tx
from libs.contracts.actions import ActionRequest
from libs.contracts.envelope import MESSAGES
from libs.contracts.workflows import RunFinished, RunOutcome, RunStarted
from services.workflows.queries.definitions import action_owners
from services.workflows.rules.interpreter import Branched, Effect, Finished, Perform, SetTimer, Skipped, State, Status, StepEnded, Stopped

_INSERT_RUNS = """
INSERT INTO run (practice_id, id, workflow_id, workflow_name, version, trigger_event_id, trigger_type, event, patient_id, appointment_id,
  status, cursor, waiting, error_code, correlation_id, traceparent, depth, started_at, finished_at)
SELECT p, i, w, n, v, te, tt, e, pt, ap, s, c, wa, er, co, tp, dp, $17, CASE WHEN s = 'running' THEN NULL ELSE $17::timestamptz END
FROM unnest($1::uuid[], $2::uuid[], $3::uuid[], $4::text[], $5::int[], $6::uuid[], $7::text[], $8::jsonb[], $9::uuid[], $10::uuid[], $11::text[],
  $12::int[], $13::bool[], $14::text[], $15::text[], $16::text[], $18::int[]) AS t (p, i, w, n, v, te, tt, e, pt, ap, s, c, wa, er, co, tp, dp)
ON CONFLICT DO NOTHING RETURNING id
"""
_UPDATE_RUNS = """
UPDATE run r SET status = t.s, cursor = t.c, waiting = t.w, error_code = t.e, finished_at = CASE WHEN t.s = 'running' THEN NULL ELSE coalesce(r.finished_at, $7::timestamptz) END
FROM unnest($1::uuid[], $2::uuid[], $3::text[], $4::int[], $5::bool[], $6::text[]) AS t (p, i, s, c, w, e)
WHERE r.practice_id = t.p AND r.id = t.i
"""
_STEPS = """
INSERT INTO step (practice_id, run_id, step_id, kind, status, action, effect_key, due_at, error_code, detail, started_at, finished_at)
SELECT p, r, i, k, s, a, e, d, er, de, $10, CASE WHEN s IN ('requested', 'waiting', 'unknown') THEN NULL ELSE $10::timestamptz END
FROM unnest($1::uuid[], $2::uuid[], $3::text[], $4::text[], $5::text[], $6::text[], $7::uuid[], $8::timestamptz[], $9::text[], $11::text[])
  AS t (p, r, i, k, s, a, e, d, er, de)
ON CONFLICT (practice_id, run_id, step_id) DO UPDATE SET status = excluded.status, error_code = excluded.error_code, finished_at = excluded.finished_at
"""
_TIMERS = """
INSERT INTO timer SELECT * FROM unnest($1::uuid[], $2::uuid[], $3::text[], $4::timestamptz[]) ON CONFLICT DO NOTHING
"""
_OUTCOMES = {Status.COMPLETED: RunOutcome.COMPLETED, Status.FAILED: RunOutcome.FAILED, Status.CANCELLED: RunOutcome.CANCELLED}


@dataclass(frozen=True)
class RunRow:
    """A run as the engine sees it."""

    practice_id: UUID
    id: UUID
    workflow_id: UUID
    workflow_name: str
    version: int
    trigger_event_id: UUID
    trigger_type: str
    event: str
    patient_id: UUID | None
    appointment_id: UUID | None
    correlation_id: str
    traceparent: str
    depth: int = 0


@dataclass
class _StepRow:
    practice_id: UUID
    run_id: UUID
    step_id: str
    kind: str
    status: str
    action: str | None = None
    effect_key: UUID | None = None
    due_at: datetime | None = None
    error_code: str | None = None
    detail: str | None = None


@dataclass
class Writes:
    """Gather with ``start`` and ``advance``, then ``flush`` once. Of two starts of one run the first counts."""

    started: list[tuple[RunRow, State, list[Effect], Cause]] = field(default_factory=list)
    advanced: list[tuple[RunRow, State, list[Effect], Cause]] = field(default_factory=list)

    _known: set[UUID] = field(default_factory=set)

    def start(self, run: RunRow, state: State, effects: list[Effect], cause: Cause) -> None:
        if run.id not in self._known:
            self._known.add(run.id)
            self.started.append((run, state, effects, cause))

    def advance(self, run: RunRow, state: State, effects: list[Effect], cause: Cause) -> None:
        self.advanced.append((run, state, effects, cause))

    async def flush(self, tx: Tx) -> int:
        """Write everything and say it; returns how many runs are new. A run that exists already starts no second time."""
        new = await self._insert_runs(tx)
        await self._update_runs(tx)
        changes = [entry for entry in self.started if entry[0].id in new] + self.advanced
        if changes:
            await self._write_steps(changes, tx)
            await self._say(changes, new, tx)
        return len(new)

    async def _insert_runs(self, tx: Tx) -> set[UUID]:
        if not self.started:
            return set()
        runs = [run for run, _, _, _ in self.started]
        states = [state for _, state, _, _ in self.started]
        rows = await tx.rows(
            _INSERT_RUNS, [r.practice_id for r in runs], [r.id for r in runs], [r.workflow_id for r in runs], [r.workflow_name for r in runs],
            [r.version for r in runs], [r.trigger_event_id for r in runs], [r.trigger_type for r in runs], [r.event for r in runs],
            [r.patient_id for r in runs], [r.appointment_id for r in runs], [s.status for s in states], [s.cursor for s in states],
            [s.waiting for s in states], [s.error_code for s in states], [r.correlation_id for r in runs], [r.traceparent for r in runs], tx.now,
            [r.depth for r in runs],
        )  # fmt: skip
        return {row["id"] for row in rows}

    async def _update_runs(self, tx: Tx) -> None:
        if not self.advanced:
            return
        runs = [run for run, _, _, _ in self.advanced]
        states = [state for _, state, _, _ in self.advanced]
        await tx.execute(
            _UPDATE_RUNS, [r.practice_id for r in runs], [r.id for r in runs], [s.status for s in states], [s.cursor for s in states],
            [s.waiting for s in states], [s.error_code for s in states], tx.now,
        )  # fmt: skip

    async def _write_steps(self, changes: list[tuple[RunRow, State, list[Effect], Cause]], tx: Tx) -> None:
        latest: dict[tuple[UUID, str], _StepRow] = {}
        for run, _, effects, _ in changes:
            for effect in effects:
                step = _step_row(run, effect)
                if step is not None:
                    latest[run.id, step.step_id] = step
        rows = list(latest.values())
        if rows:
            await tx.execute(
                _STEPS, [s.practice_id for s in rows], [s.run_id for s in rows], [s.step_id for s in rows], [s.kind for s in rows],
                [s.status for s in rows], [s.action for s in rows], [s.effect_key for s in rows], [s.due_at for s in rows],
                [s.error_code for s in rows], tx.now, [s.detail for s in rows],
            )  # fmt: skip
        timers = [step for step in rows if step.due_at is not None]
        if timers:
            await tx.execute(
                _TIMERS,
                [s.practice_id for s in timers],
                [s.run_id for s in timers],
                [s.step_id for s in timers],
                [s.due_at for s in timers],
            )

    async def _say(self, changes: list[tuple[RunRow, State, list[Effect], Cause]], new: set[UUID], tx: Tx) -> None:
        asked = {effect.action for _, _, effects, _ in changes for effect in effects if isinstance(effect, Perform)}
        owners = await action_owners(asked, tx) if asked else {}
        for run, _, effects, cause in changes:
            if run.id in new:
                tx.emit(_started(run), because=cause, practice_id=run.practice_id)
            for effect in effects:
                if isinstance(effect, Perform):
                    tx.emit(_request(run, effect, owners[effect.action]), because=cause, practice_id=run.practice_id)
                elif isinstance(effect, Finished):
                    tx.emit(_finished(run, effect), because=cause, practice_id=run.practice_id)


def effect_key(run_id: UUID, step_id: str) -> UUID:
    """The one name of an action of a run, from here to the provider."""
    return derived_id("effect", run_id, step_id)


def _step_row(run: RunRow, effect: Effect) -> _StepRow | None:
    where = run.practice_id, run.id
    match effect:
        case Perform(step_id, action, _):
            return _StepRow(*where, step_id, "action", "requested", action, effect_key(run.id, step_id))
        case SetTimer(step_id, due_at):
            return _StepRow(*where, step_id, "wait", "waiting", due_at=due_at)
        case Skipped(step_id):
            return _StepRow(*where, step_id, "action", "skipped")
        case Branched(step_id, number):
            return _StepRow(*where, step_id, "branch", "succeeded", detail="otherwise" if number is None else f"case {number + 1}")
        case Stopped(step_id):
            return _StepRow(*where, step_id, "stop", "succeeded")
        case StepEnded(step_id, outcome, error_code):
            return _StepRow(*where, step_id, "action", outcome, error_code=error_code)
        case Finished():
            return None


def _started(run: RunRow) -> RunStarted:
    return RunStarted(
        run_id=run.id, workflow_id=run.workflow_id, workflow_name=run.workflow_name, version=run.version,
        trigger_event_id=run.trigger_event_id, patient_id=run.patient_id,
    )  # fmt: skip


def _finished(run: RunRow, effect: Finished) -> RunFinished:
    return RunFinished(
        run_id=run.id, workflow_id=run.workflow_id, workflow_name=run.workflow_name, version=run.version,
        outcome=_OUTCOMES[effect.status], patient_id=run.patient_id, error_code=effect.error_code,
    )  # fmt: skip


def _request(run: RunRow, effect: Perform, owner: str) -> ActionRequest:
    """The command to the action's owner. The catalogue knew the action when the version was published."""
    request = cast("type[ActionRequest]", MESSAGES[f"vantage.{owner}.perform-action.v1"])
    return request(
        effect_key=effect_key(run.id, effect.step_id), action=effect.action, run_id=run.id, step_id=effect.step_id,
        patient_id=run.patient_id, parameters=effect.parameters,
    )  # fmt: skip
