"""What a batch of runs changes, gathered and written in a fixed number of statements, messages included."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from uuid import UUID

from libs.common.telemetry import Cause
from libs.common.work import Tx
from services.workflows.commands import messages
from services.workflows.commands.counting import count_runs
from services.workflows.commands.handover import begin
from services.workflows.commands.happening import Happening
from services.workflows.commands.rows import RunRow, StepRow, failed_step, is_anchored, jittered, memory_of, step_row
from services.workflows.queries.definitions import action_owners
from services.workflows.rules.definitions.compiling import EXITS, CompiledDefinition
from services.workflows.rules.runs.orchestration import BUILTIN, TEMPORAL
from services.workflows.rules.runs.states import Effect, Finished, OpenWait, Perform, SetTimer, State, Status, StepEnded

_INSERT_RUNS = """
INSERT INTO run (practice_id, id, workflow_id, workflow_name, version, trigger_event_id, trigger_type, event, patient_id, appointment_id,
  status, cursor, waiting, error_code, correlation_id, traceparent, depth, memory, paused, held, anchored, rerun, failed_step, bulk, started_at, finished_at)
SELECT p, i, w, n, v, te, tt, e, pt, ap, s, c, wa, er, co, tp, dp, me, pa, pa, an, rr, fs, bu, $17, CASE WHEN s = 'running' THEN NULL ELSE $17::timestamptz END
FROM unnest($1::uuid[], $2::uuid[], $3::uuid[], $4::text[], $5::int[], $6::uuid[], $7::text[], $8::jsonb[], $9::uuid[], $10::uuid[], $11::text[],
  $12::int[], $13::bool[], $14::text[], $15::text[], $16::text[], $18::int[], $19::jsonb[], $20::bool[], $21::bool[], $22::int[], $23::text[], $24::bool[])
  AS t (p, i, w, n, v, te, tt, e, pt, ap, s, c, wa, er, co, tp, dp, me, pa, an, rr, fs, bu)
ON CONFLICT DO NOTHING RETURNING id
"""
_UPDATE_RUNS = """
UPDATE run r SET status = t.s, cursor = t.c, waiting = t.w, error_code = t.e, memory = t.m, paused = t.pa, anchored = t.a, failed_step = t.f,
  finished_at = CASE WHEN t.s = 'running' THEN NULL ELSE coalesce(r.finished_at, $7::timestamptz) END
FROM unnest($1::uuid[], $2::uuid[], $3::text[], $4::int[], $5::bool[], $6::text[], $8::jsonb[], $9::bool[], $10::bool[], $11::text[])
  AS t (p, i, s, c, w, e, m, pa, a, f)
WHERE r.practice_id = t.p AND r.id = t.i
"""
_STEPS = """
INSERT INTO step (practice_id, run_id, step_id, kind, status, action, effect_key, due_at, error_code, detail, input, output, attempt, started_at, finished_at)
SELECT p, r, i, k, s, a, e, d, er, de, ip, op, at, $10, CASE WHEN s IN ('requested', 'waiting', 'retrying', 'unknown') THEN NULL ELSE $10::timestamptz END
FROM unnest($1::uuid[], $2::uuid[], $3::text[], $4::text[], $5::text[], $6::text[], $7::uuid[], $8::timestamptz[], $9::text[], $11::text[],
  $12::jsonb[], $13::jsonb[], $14::int[]) AS t (p, r, i, k, s, a, e, d, er, de, ip, op, at)
ON CONFLICT (practice_id, run_id, step_id) DO UPDATE SET status = excluded.status, error_code = excluded.error_code,
  started_at = CASE WHEN excluded.status = 'requested' AND excluded.attempt > step.attempt THEN excluded.started_at ELSE step.started_at END,
  finished_at = excluded.finished_at, due_at = coalesce(excluded.due_at, step.due_at), effect_key = coalesce(excluded.effect_key, step.effect_key),
  input = coalesce(excluded.input, step.input), output = coalesce(excluded.output, step.output), attempt = greatest(excluded.attempt, step.attempt)
"""
_RUNG_BY = {BUILTIN: "timer", TEMPORAL: "durable_timer"}
_TIMERS = """
INSERT INTO {table} (practice_id, run_id, step_id, due_at, held)
SELECT * FROM unnest($1::uuid[], $2::uuid[], $3::text[], $4::timestamptz[], $5::bool[])
ON CONFLICT (practice_id, run_id, step_id) DO UPDATE SET due_at = excluded.due_at, held = excluded.held
"""
_WAITS = """
INSERT INTO event_wait SELECT * FROM unnest($1::uuid[], $2::uuid[], $3::text[], $4::int[], $5::text[], $6::uuid[]) ON CONFLICT DO NOTHING
"""
_NO_TIMERS = "DELETE FROM {table} t USING unnest($1::uuid[], $2::uuid[]) AS e (p, r) WHERE t.practice_id = e.p AND t.run_id = e.r"
_NO_WAITS = """
DELETE FROM event_wait w USING unnest($1::uuid[], $2::uuid[], $3::text[]) AS e (p, r, s)
WHERE w.practice_id = e.p AND w.run_id = e.r AND (e.s = '' OR w.step_id = e.s)
"""


Wait = tuple[RunRow, str, int, str, UUID]
"""A run that waits, its step, which of the step's events, the event's type, and the patient or appointment it has to be about."""


@dataclass(frozen=True)
class Change:
    """A run, where it stands now, and what led there. ``was``: its status before; ``unsaid``: the occasion of our own that starts it."""

    run: RunRow
    state: State
    effects: list[Effect]
    cause: Cause
    compiled: CompiledDefinition | None
    was: str = Status.RUNNING
    unsaid: Happening | None = None
    at: datetime | None = None
    """As of when it counts; None: now."""

    @property
    def revived(self) -> bool:
        """It had ended, and goes on: what ends it has to be told to it again."""
        return self.was != Status.RUNNING


@dataclass
class Writes:
    """Gather with ``start`` and ``advance``, then ``flush`` once. Of two starts of one run the first counts."""

    started: list[Change] = field(default_factory=list)
    advanced: list[Change] = field(default_factory=list)

    _known: set[UUID] = field(default_factory=set)

    def start(self, change: Change) -> bool:
        """False when this run was started before in this batch."""
        if change.run.id in self._known:
            return False
        self._known.add(change.run.id)
        self.started.append(change)
        return True

    def advance(self, change: Change) -> None:
        self.advanced.append(change)

    async def flush(self, tx: Tx) -> list[Change]:
        """Write everything and say it; returns what took effect. A run that exists already starts no second time."""
        new = await self._insert_runs(tx)
        durable = [change for change in self.started if change.run.engine == TEMPORAL and change.run.id in new]
        if durable:
            await begin([(change.run.key, change.cause) for change in durable], tx)
        await self._update_runs(tx)
        changes = [change for change in self.started if change.run.id in new] + self.advanced
        if changes:
            await _write_steps(changes, tx)
            await _write_timers(changes, tx)
            await _write_waits(changes, new, tx)
            await count_runs([(change.run, change.run.id in new, change.was, change.state.status) for change in changes], tx)
            await _say(changes, new, tx)
        return changes

    async def _insert_runs(self, tx: Tx) -> set[UUID]:
        if not self.started:
            return set()
        runs = [change.run for change in self.started]
        states = [change.state for change in self.started]
        rows = await tx.rows(
            _INSERT_RUNS, [r.practice_id for r in runs], [r.id for r in runs], [r.workflow_id for r in runs], [r.workflow_name for r in runs],
            [r.version for r in runs], [r.trigger_event_id for r in runs], [r.trigger_type for r in runs], [r.event for r in runs],
            [r.patient_id for r in runs], [r.appointment_id for r in runs], [s.status for s in states], [s.cursor for s in states],
            [s.waiting for s in states], [s.error_code for s in states], [r.correlation_id for r in runs], [r.traceparent for r in runs], tx.now,
            [r.depth for r in runs], [memory_of(s) for s in states], [s.paused for s in states],
            [is_anchored(change.compiled, change.state) for change in self.started], [r.rerun for r in runs],
            [failed_step(change.compiled, change.state) for change in self.started], [r.bulk for r in runs],
        )  # fmt: skip
        return {row["id"] for row in rows}

    async def _update_runs(self, tx: Tx) -> None:
        if not self.advanced:
            return
        runs = [change.run for change in self.advanced]
        states = [change.state for change in self.advanced]
        await tx.execute(
            _UPDATE_RUNS, [r.practice_id for r in runs], [r.id for r in runs], [s.status for s in states], [s.cursor for s in states],
            [s.waiting for s in states], [s.error_code for s in states], tx.now, [memory_of(s) for s in states],
            [s.paused for s in states], [is_anchored(change.compiled, change.state) for change in self.advanced],
            [failed_step(change.compiled, change.state) for change in self.advanced],
        )  # fmt: skip


async def _write_steps(changes: list[Change], tx: Tx) -> None:
    latest: dict[tuple[UUID, str], StepRow] = {}
    for change in changes:
        for effect in change.effects:
            step = step_row(change.run, effect)
            if step is not None:
                latest[change.run.id, step.step_id] = _after(latest.get((change.run.id, step.step_id)), step)
    rows = list(latest.values())
    if rows:
        await tx.execute(
            _STEPS, [s.practice_id for s in rows], [s.run_id for s in rows], [s.step_id for s in rows], [s.kind for s in rows],
            [s.status for s in rows], [s.action for s in rows], [s.effect_key for s in rows], [s.due_at for s in rows],
            [s.error_code for s in rows], tx.now, [s.detail for s in rows], [s.input for s in rows], [s.output for s in rows],
            [s.attempt for s in rows],
        )  # fmt: skip


def _after(before: StepRow | None, step: StepRow) -> StepRow:
    """Two effects on one step in one batch: the later one's status, what only the earlier one knew kept."""
    if before is not None:
        step.action = step.action or before.action
        step.effect_key = step.effect_key or before.effect_key
        step.due_at = step.due_at or before.due_at
        step.input, step.output = step.input or before.input, step.output or before.output
        step.error_code = step.error_code or (before.error_code if step.status == "retrying" else None)
        step.attempt = max(step.attempt, before.attempt)
    return step


async def _write_timers(changes: list[Change], tx: Tx) -> None:
    """A run waits for one timer at most. One it does not wait for any more is gone. Each engine rings its own."""
    for engine, table in _RUNG_BY.items():
        if own := [change for change in changes if change.run.engine == engine]:
            await _write_timers_in(table, own, tx)


async def _write_timers_in(table: str, changes: list[Change], tx: Tx) -> None:
    set_: dict[UUID, tuple[Change, SetTimer]] = {}
    over: dict[UUID, RunRow] = {}
    for change in changes:
        for effect in change.effects:
            if isinstance(effect, SetTimer):
                set_[change.run.id] = change, effect
            elif isinstance(effect, Finished) or (isinstance(effect, StepEnded) and effect.kind != "action"):
                over[change.run.id] = change.run
                set_.pop(change.run.id, None)
    if over:
        await tx.execute(_NO_TIMERS.format(table=table), [run.practice_id for run in over.values()], [run.id for run in over.values()])
    if set_:
        timers = list(set_.values())
        await tx.execute(
            _TIMERS.format(table=table), [change.run.practice_id for change, _ in timers], [change.run.id for change, _ in timers],
            [timer.step_id for _, timer in timers], [jittered(change.run, timer, change.at or tx.now) for change, timer in timers],
            [change.state.paused for change, _ in timers],
        )  # fmt: skip


async def _write_waits(changes: list[Change], new: set[UUID], tx: Tx) -> None:
    """Which events to tell whom: of steps that wait, and the exit conditions of runs that begin, or begin again."""
    opened: list[Wait] = []
    closed: list[tuple[RunRow, str]] = []
    for change in changes:
        run = change.run
        if not run.awaits:
            continue
        if (run.id in new or change.revived) and change.state.status is Status.RUNNING and change.compiled is not None:
            opened += exits_of(run, change.compiled)
        for effect in change.effects:
            if isinstance(effect, OpenWait) and (subject := run.about(effect.about)) is not None:
                opened += [(run, effect.step_id, number, event, subject) for number, event in enumerate(effect.events)]
            elif isinstance(effect, StepEnded) and effect.kind == "wait_for":
                opened = [one for one in opened if (one[0].id, one[1]) != (run.id, effect.step_id)]
                closed.append((run, effect.step_id))
            elif isinstance(effect, Finished):
                opened = [one for one in opened if one[0].id != run.id]
                closed.append((run, ""))
    if closed:
        await tx.execute(_NO_WAITS, [run.practice_id for run, _ in closed], [run.id for run, _ in closed], [step for _, step in closed])
    await _open(opened, tx)


def exits_of(run: RunRow, compiled: CompiledDefinition) -> list[Wait]:
    """An exit about the appointment is told of it; a run about none goes by its patient."""
    anything = run.patient_id or run.appointment_id
    own = run.appointment_id or anything
    subjects = [
        (number, rule.event, own if rule.about == "appointment" else anything)
        for number, rule in enumerate(compiled.awaited.get(EXITS, ()))
    ]
    return [(run, EXITS, number, event, subject) for number, event, subject in subjects if subject]


async def _open(opened: list[Wait], tx: Tx) -> None:
    if opened:
        await tx.execute(
            _WAITS, [run.practice_id for run, *_ in opened], [run.id for run, *_ in opened], [step for _, step, *_ in opened],
            [number for _, _, number, _, _ in opened], [event for *_, event, _ in opened], [subject for *_, subject in opened],
        )  # fmt: skip


async def _say(changes: list[Change], new: set[UUID], tx: Tx) -> None:
    asked = {effect.action for change in changes for effect in change.effects if isinstance(effect, Perform)}
    owners = await action_owners(asked, tx) if asked else {}
    for change in changes:
        run = change.run
        if run.id in new:
            _say_occasion(change, tx)
            tx.emit(messages.started(run), because=change.cause, practice_id=run.practice_id)
        for effect in change.effects:
            if isinstance(effect, Perform):
                tx.emit(messages.request(run, effect, owners[effect.action]), because=change.cause, practice_id=run.practice_id)
            elif isinstance(effect, Finished):
                tx.emit(messages.finished(run, effect), because=change.cause, practice_id=run.practice_id)


def _say_occasion(change: Change, tx: Tx) -> None:
    """Only with a run that is new: an occasion handled before is not said again. Its id is its own."""
    occasion = change.unsaid
    if occasion is not None:
        because = Cause(occasion.cause.correlation_id, occasion.causation_id, occasion.cause.traceparent, occasion.cause.tracestate)
        tx.emit(occasion.data, because=because, practice_id=occasion.practice_id, message_id=occasion.id)
