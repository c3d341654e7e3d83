"""Events that runs wait for: those that come, and those that came just before the wait began."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any
from uuid import UUID

from libs.common.logging import get_logger
from libs.common.telemetry import Cause
from libs.common.work import Tx
from services.workflows.commands.handover import hand_over_events
from services.workflows.commands.happening import Happening
from services.workflows.commands.published import PublishedWorkflows
from services.workflows.commands.runs import move_runs, parsed
from services.workflows.commands.world import World, world_of
from services.workflows.commands.writes import Change
from services.workflows.queries.runs import events_since, open_waits, runs_for_change
from services.workflows.queries.world import Key
from services.workflows.rules.compiling import EXITS, CompiledDefinition
from services.workflows.rules.orchestration import BUILTIN
from services.workflows.rules.states import Cancelled, EventArrived, Input, OpenWait, Status
from services.workflows.rules.triggers import BY_TYPE

log = get_logger()

EXIT = "exit_condition"
MAX_ROUNDS = 60
"""Waits a run may pass at once with events from before: more than a definition has steps."""


async def deliver(happenings: list[Happening], published: PublishedWorkflows, tx: Tx) -> list[Change]:
    """Tell runs that wait what happened; the first event that fits counts, in the order they came.

    Runs of the durable engine are told too, and judge it themselves when they come to it.
    """
    waits = await open_waits(_subjects(happenings), tx)
    runs = await _runs_of(waits, tx)
    elsewhere = {key: run for key, run in runs.items() if run["engine"] != BUILTIN}
    if elsewhere:
        met = dict.fromkeys((key, happening.id) for happening, key, _ in _meetings(happenings, waits, elsewhere))
        by_id = {happening.id: happening for happening in happenings}
        await hand_over_events([(key, by_id[event_id]) for key, event_id in met], tx)
    inputs = await _fitting(happenings, waits, {key: run for key, run in runs.items() if run["engine"] == BUILTIN}, published, tx)
    return await move_runs(inputs, published, tx) if inputs else []


async def deliver_to(key: Key, happening: Happening, published: PublishedWorkflows, tx: Tx, *, at: datetime) -> list[Change]:
    """Tell one run of the durable engine, as of when it happened to us."""
    waits = [row for row in await open_waits(_subjects([happening]), tx) if row["run_id"] == key[1] and row["step_id"]]
    inputs = await _fitting([happening], waits, await _runs_of(waits, tx), published, tx)
    return await move_runs(inputs, published, tx, at=at) if inputs else []


async def _runs_of(waits: list[Any], tx: Tx) -> dict[Key, Any]:
    keys = {(row["practice_id"], row["run_id"]) for row in waits}
    return dict(await runs_for_change(list(keys), tx)) if keys else {}


async def _fitting(
    happenings: list[Happening], waits: list[Any], runs: dict[Key, Any], published: PublishedWorkflows, tx: Tx
) -> list[tuple[Key, Input, Cause]]:
    """What the runs hear: of every wait the first event that fits."""
    if not runs:
        return []
    judge = await _Judge.of(happenings, runs, published, tx)
    inputs: dict[tuple[Key, str], tuple[Key, Input, Cause]] = {}
    for happening, key, row in _meetings(happenings, waits, runs):
        if (key, row["step_id"]) not in inputs and judge.fits(happening, key, row):
            inputs[key, row["step_id"]] = key, _input(row["step_id"], row["number"], happening), happening.cause
    return list(inputs.values())


def _meetings(happenings: list[Happening], waits: list[Any], runs: Mapping[Key, Any]) -> Iterator[tuple[Happening, Key, Any]]:
    """Every event with every wait it may be for, in order. What a run began with, and what came before, is none."""
    places = {happening.id: place for place, happening in enumerate(happenings)}
    by_subject: dict[tuple[UUID, str, UUID], list[Any]] = {}
    for row in waits:
        by_subject.setdefault((row["practice_id"], row["event_type"], row["subject"]), []).append(row)
    for happening in happenings:
        for subject in filter(None, happening.ids().values()):
            for row in by_subject.get((happening.practice_id, happening.data.type, subject), ()):
                key = row["practice_id"], row["run_id"]
                if key in runs and places[happening.id] > places.get(runs[key]["trigger_event_id"], -1):
                    yield happening, key, row


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
    run, subject = change.run, change.run.about(effect.about)
    if subject is None:
        return None
    rows = await events_since(run.key, subject, list(effect.events), effect.since, run.trigger_event_id, tx)
    if not rows:
        return None
    runs = await runs_for_change([run.key], tx)
    happenings = [
        Happening(
            run.practice_id, row["event_id"], BY_TYPE[row["type"]].model_validate(row["data"], extra="ignore"), "", row["at"], change.cause
        )
        for row in rows
    ]
    judge = await _Judge.of(happenings, runs, published, tx)
    for happening in happenings:
        for number, event_type in enumerate(effect.events):
            wait = {"step_id": effect.step_id, "number": number}
            if event_type == happening.data.type and judge.fits(happening, run.key, wait):
                return run.key, _input(effect.step_id, number, happening), change.cause
    return None


class _Judge:
    """Whether an event is one a run waits for. An expression that fails is no match, and is written down."""

    def __init__(self, runs: Mapping[Key, Any], versions: Mapping[Key, CompiledDefinition], world: World) -> None:
        self._runs, self._versions, self._world = runs, versions, world
        self._events: dict[Key, dict[str, Any]] = {}

    @classmethod
    async def of(cls, happenings: list[Happening], runs: Mapping[Key, Any], published: PublishedWorkflows, tx: Tx) -> _Judge:
        versions = {key: await published.version(key[0], row["workflow_id"], row["version"], tx) for key, row in runs.items()}
        world = await world_of([(one.practice_id, one.ids()) for one in happenings], tx)
        return cls(runs, versions, world)

    def fits(self, happening: Happening, key: Key, wait: Mapping[str, Any]) -> bool:
        row = self._runs.get(key)
        if row is None or row["status"] != Status.RUNNING:
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


def _input(step_id: str, number: int, happening: Happening) -> Input:
    if step_id == EXITS:
        return Cancelled(EXIT)
    return EventArrived(step_id, number, happening.data.model_dump(mode="json"))
