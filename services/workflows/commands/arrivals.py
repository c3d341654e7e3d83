"""Events that runs wait for: those that come, and those that came just before the wait began."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from libs.common.logging import get_logger
from libs.common.telemetry import Cause
from libs.common.work import Tx
from services.workflows.commands.handover import hand_over_events, keep_events
from services.workflows.commands.happening import Happening
from services.workflows.commands.published import PublishedWorkflows
from services.workflows.commands.rows import RunRow, run_of, state_of
from services.workflows.commands.runs import move_runs, parsed, raise_broken
from services.workflows.commands.world import World, world_of
from services.workflows.commands.writes import Change, exits_of
from services.workflows.queries.runs import events_since, open_waits, runs_for_change
from services.workflows.queries.world import Key
from services.workflows.rules.definitions.compiling import EXITS, CompiledDefinition
from services.workflows.rules.definitions.triggers import BY_TYPE
from services.workflows.rules.runs.orchestration import BUILTIN
from services.workflows.rules.runs.states import Cancelled, EventArrived, Input, OpenWait, Status
from services.workflows.rules.runs.waiting import is_over

log = get_logger()

EXIT = "exit_condition"
NO_EVENT = UUID(int=0)
MAX_ROUNDS = 60
"""Waits a run may pass at once: more than a definition has steps."""


@dataclass(frozen=True)
class _Meeting:
    """An event and a wait it may be for: of a step, of an exit condition, or (without either) one a run may yet come to."""

    place: int
    happening: Happening
    key: Key
    wait: Any
    run: Any


async def deliver(happenings: list[Happening], published: PublishedWorkflows, tx: Tx, moved: Sequence[Change] = ()) -> list[Change]:
    """Tell runs that wait what happened, in the order it came: a run meets each event where the ones before it have left it.

    ``moved`` is what these happenings have done already: what started a run, or moved it on, is not what it then waits for.
    Runs of the durable engine meet them in the same order, when they come to it. For those whose version compiles no more they are
    kept likewise, and the runs are raised.
    """
    places = {str(happening.id): place for place, happening in enumerate(happenings)}
    reached = {change.run.key: places.get(change.cause.causation_id, -1) for change in moved}
    meetings = await _meetings(happenings, reached, tx)
    later = _met_later([one for one in meetings if one.run["engine"] != BUILTIN], happenings)
    if later:
        await hand_over_events(later, tx)
    await _keep_for_broken([one for one in meetings if one.run["engine"] == BUILTIN], happenings, published, tx)
    changes: list[Change] = []
    for _ in range(MAX_ROUNDS):
        inputs = await _next_that_fit([one for one in meetings if one.run["engine"] == BUILTIN], published, tx)
        if not inputs:
            break
        reached |= {key: place for place, (key, _, _) in inputs}
        changes += await move_runs([arrived for _, arrived in inputs], published, tx)
        meetings = await _meetings(happenings, reached, tx)
    return changes


async def _keep_for_broken(meetings: list[_Meeting], happenings: list[Happening], published: PublishedWorkflows, tx: Tx) -> None:
    runs = {one.key: one.run for one in meetings if one.run["status"] == Status.RUNNING}
    usable = await published.usable(runs, tx)
    broken = {key: row for key, row in runs.items() if key not in usable}
    if broken:
        await keep_events(_met_later([one for one in meetings if one.key in broken], happenings), tx)
        await raise_broken(broken.values(), tx)


def _met_later(meetings: list[_Meeting], happenings: list[Happening]) -> list[tuple[Key, Happening]]:
    """For runs that meet them later, in the order things happened: what they wait for now, and all about them that comes behind it.

    Each event may bring such a run to a wait for the next one, and by then this batch is over.
    """
    about: dict[tuple[UUID, UUID], list[tuple[int, Happening]]] = {}
    for place, happening in enumerate(happenings):
        for subject in filter(None, happening.ids().values()):
            about.setdefault((happening.practice_id, subject), []).append((place, happening))
    first: dict[Key, _Meeting] = {}
    for one in meetings:
        first.setdefault(one.key, one)
    found = [
        (place, key, happening)
        for key, one in first.items()
        for subject in {one.wait["subject"], one.run["patient_id"], one.run["appointment_id"]}
        for place, happening in about.get((key[0], subject), ())
        if place >= one.place
    ]
    return [(key, happening) for _, key, happening in sorted(found, key=lambda one: one[0])]


async def deliver_to(key: Key, happening: Happening, published: PublishedWorkflows, tx: Tx, *, at: datetime) -> list[Change]:
    """Tell one run of the durable engine, as of when we heard of it."""
    changes: list[Change] = []
    for _ in range(MAX_ROUNDS):
        meetings = [one for one in await _meetings([happening], {}, tx) if one.key == key and one.wait["step_id"]]
        inputs = await _next_that_fit(meetings, published, tx, at=at)
        changes += await move_runs([arrived for _, arrived in inputs], published, tx, at=at) if inputs else []
        if all(place == 0 for place, _ in inputs):
            break
    return changes


async def _meetings(happenings: list[Happening], reached: Mapping[Key, int], tx: Tx) -> list[_Meeting]:
    """In the order things happened; of one event exits come first."""
    waits = await open_waits(_subjects(happenings), tx)
    if not waits:
        return []
    by_subject: dict[tuple[UUID, str, UUID], list[Any]] = {}
    for row in waits:
        by_subject.setdefault((row["practice_id"], row["event_type"], row["subject"]), []).append(row)
    runs = await runs_for_change(list({(row["practice_id"], row["run_id"]) for row in waits}), tx)
    found: list[_Meeting] = []
    for place, happening in enumerate(happenings):
        subjects = filter(None, happening.ids().values())
        told = [row for subject in subjects for row in by_subject.get((happening.practice_id, happening.data.type, subject), ())]
        for row in sorted(told, key=lambda row: row["step_id"] != EXITS):
            key = row["practice_id"], row["run_id"]
            if key in runs and place > reached.get(key, -1):
                found.append(_Meeting(place, happening, key, row, runs[key]))
    return found


async def _next_that_fit(
    meetings: list[_Meeting], published: PublishedWorkflows, tx: Tx, *, at: datetime | None = None
) -> list[tuple[int, tuple[Key, Input, Cause]]]:
    """For each run that waits the first event that counts for it, with its place. Of one event an exit counts first.

    One that came after a time-out that nobody has rung yet makes the run go on from there, and is still to come: its place is the one before.
    """
    if not meetings:
        return []
    judge = await _Judge.of([one.happening for one in meetings], {one.key: one.run for one in meetings}, published, tx)
    found: dict[Key, tuple[int, tuple[Key, Input, Cause]]] = {}
    for one in meetings:
        if one.key not in found and judge.fits(one.happening, one.key, one.wait):
            late = one.wait["step_id"] != EXITS and is_over(state_of(one.run).due, at or tx.now)
            found[one.key] = (
                one.place - late,
                (one.key, _input(one.wait["step_id"], one.wait["number"], one.happening), one.happening.cause),
            )
    return list(found.values())


async def bring_to_rest(changes: list[Change], published: PublishedWorkflows, tx: Tx) -> None:
    """Look back for waits that have just begun, and for those that begin because of what was found."""
    for _ in range(MAX_ROUNDS):
        opened = [
            (change, effect)
            for change in changes
            if change.run.awaits and change.state.status is Status.RUNNING and change.state.waiting
            for effect in change.effects[-1:]
            if isinstance(effect, OpenWait) and effect.since < (change.at or tx.now)
        ]
        if not opened:
            return
        inputs = [found for change, effect in opened if (found := await _looked_back(change, effect, published, tx)) is not None]
        changes = await move_runs(inputs, published, tx, at=opened[0][0].at) if inputs else []


async def _looked_back(change: Change, effect: OpenWait, published: PublishedWorkflows, tx: Tx) -> tuple[Key, Input, Cause] | None:
    """The oldest event that counts, page by page: what does not fit may be many."""
    run, subject = change.run, change.run.about(effect.about)
    if subject is None:
        return None
    counted = {output.get("id") for output in change.state.outputs.values()}
    span = effect.since, change.state.due
    async for page in _logged(run, subject, list(effect.events), span, change.cause, tx):
        judge = await _Judge.of([one for one, _ in page], await runs_for_change([run.key], tx), published, tx)
        for happening, came in (one for one in page if str(one[0].id) not in counted):
            for number, event_type in enumerate(effect.events):
                wait = {"step_id": effect.step_id, "number": number}
                if event_type == happening.data.type and judge.fits(happening, run.key, wait):
                    return run.key, _input(effect.step_id, number, happening, came), change.cause
    return None


async def left_since(row: Mapping[str, Any], since: datetime, published: PublishedWorkflows, tx: Tx) -> bool:
    """Whether an exit condition came true for a run that nobody told because it had ended, as far as events are remembered."""
    run = run_of(row, awaits=True)
    told: dict[UUID, dict[str, list[int]]] = {}
    for _, _, number, event_type, subject in exits_of(run, await published.version(run.practice_id, run.workflow_id, run.version, tx)):
        told.setdefault(subject, {}).setdefault(event_type, []).append(number)
    for subject, numbers in told.items():
        async for page in _logged(run, subject, list(numbers), (since, None), tx.cause, tx):
            judge = await _Judge.of([one for one, _ in page], {run.key: {**row, "status": Status.RUNNING}}, published, tx)
            for happening, _ in page:
                waits = ({"step_id": EXITS, "number": number} for number in numbers[happening.data.type])
                if any(judge.fits(happening, run.key, wait) for wait in waits):
                    return True
    return False


async def _logged(
    run: RunRow, subject: UUID, types: list[str], span: tuple[datetime, datetime | None], cause: Cause, tx: Tx
) -> AsyncIterator[list[tuple[Happening, datetime]]]:
    """What is remembered of a subject, page by page, without what started the run and what it has yet to come to; and when it came here."""
    after, until = (span[0], NO_EVENT), span[1]
    while rows := await events_since(run.key, subject, types, after, until, run.trigger_event_id, tx):
        data = [BY_TYPE[row["type"]].model_validate(row["data"], extra="ignore") for row in rows]
        yield [
            (Happening(run.practice_id, row["event_id"], event, "", row["at"], cause), row["recorded_at"])
            for row, event in zip(rows, data, strict=True)
        ]
        after = rows[-1]["recorded_at"], rows[-1]["event_id"]


class _Judge:
    """Whether an event is one a run waits for. An expression that fails is no match, and is written down."""

    def __init__(self, runs: Mapping[Key, Any], versions: Mapping[Key, CompiledDefinition], world: World) -> None:
        self._runs, self._versions, self._world = runs, versions, world
        self._events: dict[Key, dict[str, Any]] = {}

    @classmethod
    async def of(cls, happenings: list[Happening], runs: Mapping[Key, Any], published: PublishedWorkflows, tx: Tx) -> _Judge:
        versions = await published.usable(runs, tx)
        world = await world_of([(one.practice_id, one.ids()) for one in happenings], tx)
        return cls(runs, versions, world)

    def fits(self, happening: Happening, key: Key, wait: Mapping[str, Any]) -> bool:
        row = self._runs.get(key)
        if row is None or row["status"] != Status.RUNNING or key not in self._versions:
            return False
        rule = self._versions[key].awaited[wait["step_id"]][wait["number"]]
        if rule.when is None:
            return True
        if key not in self._events:
            self._events[key] = parsed(row["event"], row["trigger_type"])
        outputs = row["memory"].get("outputs", {})
        bound = self._world.bind_awaited(rule, key[0], happening.data.model_dump(), self._events[key], outputs)
        verdict = rule.when.evaluate(bound).verdict
        if verdict.error is not None:
            log.warning("wait.condition_error", run_id=str(key[1]), step=wait["step_id"], error=verdict.error)
        return bool(verdict.is_true)


def _subjects(happenings: list[Happening]) -> list[tuple[UUID, str, UUID]]:
    return [(one.practice_id, one.data.type, subject) for one in happenings for subject in filter(None, one.ids().values())]


def _input(step_id: str, number: int, happening: Happening, came: datetime | None = None) -> Input:
    if step_id == EXITS:
        return Cancelled(EXIT)
    return EventArrived(step_id, number, happening.data.model_dump(mode="json"), str(happening.id), came)
