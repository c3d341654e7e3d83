"""The compiled workflows of each practice, kept in memory and thrown away when the practice publishes.

Which revision is in force is read in the same transaction that uses it: a run never starts from an outdated definition.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from typing import Any
from uuid import UUID

from libs.common.errors import Refused
from libs.common.logging import get_logger
from libs.common.work import Tx
from services.workflows.queries.definitions import Version, frozen, published, state_of_practices, version_of
from services.workflows.queries.world import Key
from services.workflows.rules.definitions.compiling import CompiledDefinition, compile_definition
from services.workflows.rules.definitions.definition import Definition, EventTrigger
from services.workflows.rules.definitions.triggers import APPOINTMENT_NEWS, started_types
from services.workflows.rules.expressions.cel_cpp import CelCpp
from services.workflows.rules.expressions.engines import Engine
from services.workflows.rules.expressions.interface import Compiled
from services.workflows.rules.runs.orchestration import BUILTIN, EngineName, Orchestration

log = get_logger()

MAX_PRACTICES = 2000
MAX_VERSIONS = 5000


class VersionBroken(Refused, ValueError):
    """The version this run keeps compiles no more; run it again on another version."""


@dataclass(frozen=True)
class InForce:
    """A published workflow, ready to run; without ``compiled`` when it no longer compiles: its runs fail and say so."""

    workflow_id: UUID
    version: int
    name: str
    compiled: CompiledDefinition | None
    paused: bool = False
    engine: EngineName = BUILTIN

    @cached_property
    def filter(self) -> Compiled | None:
        """What an event has to pass. An anchored workflow asks later, of what it knows then."""
        return None if self.compiled is None or self.compiled.anchored else self.compiled.condition

    @cached_property
    def takes_bulk(self) -> bool:
        """Whether changes that are many at once start it as well."""
        trigger = self.compiled.definition.trigger if self.compiled is not None else None
        return isinstance(trigger, EventTrigger) and bool(trigger.bulk)

    @cached_property
    def asks_practice(self) -> bool:
        return self.compiled is not None and "practice" in self.compiled.names


@dataclass(frozen=True)
class Listening:
    """What is in force in a practice as of a revision, by the types of the events that start it."""

    revision: int
    workflows: Mapping[str, Sequence[InForce]]


class PublishedWorkflows:
    """One per process. Memory is bounded; what falls out is compiled again when needed."""

    def __init__(self, engine: Engine = CelCpp, orchestration: Orchestration | None = None) -> None:
        self._engine = engine
        self.orchestration = orchestration or Orchestration()
        self._practices: OrderedDict[UUID, Listening] = OrderedDict()
        self._versions: OrderedDict[tuple[UUID, int], CompiledDefinition] = OrderedDict()
        self._broken: set[tuple[UUID, int]] = set()

    @property
    def engine(self) -> Engine:
        """What evaluates them."""
        return self._engine

    async def in_force(self, current: Mapping[UUID, int], tx: Tx) -> dict[UUID, Listening]:
        """Per practice what is published as of this transaction, which found its practices at these revisions, or since."""
        outdated = [practice for practice, number in current.items() if not self._knows(practice, number)]
        if outdated:
            await self._load(outdated, tx)
        for practice in current:
            self._practices.move_to_end(practice)
        found = {practice: self._practices[practice] for practice in current}
        while len(self._practices) > MAX_PRACTICES:
            self._practices.popitem(last=False)
        return found

    def _knows(self, practice: UUID, number: int) -> bool:
        return practice in self._practices and self._practices[practice].revision == number

    async def _load(self, practice_ids: list[UUID], tx: Tx) -> None:
        rows = await state_of_practices(practice_ids, tx)
        compiled = await self._all_compiled([_version(row) for row in rows if row["workflow_id"] is not None], tx)
        by_practice: dict[UUID, tuple[int, dict[str, list[InForce]]]] = {}
        for row in rows:
            _, workflows = by_practice.setdefault(row["practice_id"], (row["revision"], {}))
            if row["workflow_id"] is None:
                continue
            ready, events = compiled[_version(row)]
            workflow = InForce(row["workflow_id"], row["version"], row["name"], ready, row["paused"], self.orchestration.begins_on)
            for event in events:
                workflows.setdefault(event, []).append(workflow)
        self._practices |= {practice: Listening(*state) for practice, state in by_practice.items()}

    async def _all_compiled(self, versions: list[Version], tx: Tx) -> dict[Version, tuple[CompiledDefinition | None, Sequence[str]]]:
        """Each with the event types that start it. Only what was never compiled here is read."""
        found: dict[Version, tuple[CompiledDefinition | None, Sequence[str]]] = {}
        for version in versions:
            known = self._versions.get(version[1:])
            if known is not None:
                self._versions.move_to_end(version[1:])
                found[version] = known, started_types(known.definition.trigger)
        unknown = [version for version in versions if version not in found]
        for version, definition in (await frozen(unknown, tx)).items() if unknown else ():
            try:
                compiled = self._compiled(*version[1:], definition)
            except ValueError as error:  # it was valid when it was published: our code has changed since
                log.error("definition.broken", workflow_id=str(version[1]), version=version[2], exc_info=error)
                found[version] = None, _named(definition)
            else:
                found[version] = compiled, started_types(compiled.definition.trigger)
        return found

    async def workflow(self, practice_id: UUID, workflow_id: UUID, tx: Tx) -> InForce | None:
        """One published workflow, whatever starts it."""
        row = next((row for row in await published([practice_id], tx, workflow_id)), None)
        if row is None:
            return None
        compiled = self._compiled(workflow_id, row["version"], row["definition"])
        return InForce(workflow_id, row["version"], row["name"], compiled, row["paused"], self.orchestration.begins_on)

    async def version(self, practice_id: UUID, workflow_id: UUID, version: int, tx: Tx) -> CompiledDefinition:
        """The version a run started with, published or not by now. Raises ``VersionBroken`` for one that compiles no more."""
        if (workflow_id, version) in self._versions:
            return self._versions[workflow_id, version]
        if (workflow_id, version) in self._broken:
            raise VersionBroken(workflow_id=workflow_id, version=version)
        definition = await version_of(practice_id, workflow_id, version, tx)
        try:
            return self._compiled(workflow_id, version, definition)
        except ValueError as error:  # it was valid when it was published: our code has changed since, and does not while we run
            log.error("definition.broken", workflow_id=str(workflow_id), version=version, exc_info=error)
            self._broken = {*self._broken, (workflow_id, version)} if len(self._broken) < MAX_VERSIONS else {(workflow_id, version)}
            raise VersionBroken(workflow_id=workflow_id, version=version) from error

    async def usable(self, runs: Mapping[Key, Mapping[str, Any]], tx: Tx) -> dict[Key, CompiledDefinition]:
        """The versions of these runs, without those that compile no more."""
        found: dict[Key, CompiledDefinition] = {}
        for key, row in runs.items():
            with suppress(VersionBroken):
                found[key] = await self.version(key[0], row["workflow_id"], row["version"], tx)
        return found

    def _compiled(self, workflow_id: UUID, version: int, definition: dict[str, object]) -> CompiledDefinition:
        """A version never changes: compiled once, whatever else the practice publishes."""
        known = self._versions.get((workflow_id, version))
        if known is not None:
            self._versions.move_to_end((workflow_id, version))
            return known
        compiled = compile_definition(Definition.model_validate(definition), self._engine)
        self._versions[workflow_id, version] = compiled
        while len(self._versions) > MAX_VERSIONS:
            self._versions.popitem(last=False)
        return compiled


def _version(row: Mapping[str, Any]) -> Version:
    return row["practice_id"], row["workflow_id"], row["version"]


def _named(definition: Mapping[str, Any]) -> tuple[str, ...]:
    """The event types that one that no longer compiles names."""
    event, kind = (definition["trigger"].get(name) for name in ("event", "kind"))
    return (event,) if event else APPOINTMENT_NEWS if kind == "anchored" else ()
