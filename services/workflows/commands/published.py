"""The compiled workflows of each practice, kept in memory and thrown away when the practice publishes.

Which revision is in force is read in the same transaction that uses it: a run never starts from an outdated definition.
"""

from __future__ import annotations

from collections import OrderedDict, defaultdict
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from libs.common.errors import Refused
from libs.common.logging import get_logger
from libs.common.work import Tx
from services.workflows.queries.definitions import published, revisions, version_of
from services.workflows.queries.world import Key
from services.workflows.rules.definitions.compiling import CompiledDefinition, compile_definition
from services.workflows.rules.definitions.definition import Definition
from services.workflows.rules.definitions.triggers import started_types
from services.workflows.rules.expressions.cel_cpp import CelCpp
from services.workflows.rules.expressions.engines import Engine
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


class PublishedWorkflows:
    """One per process. Memory is bounded; what falls out is compiled again when needed."""

    def __init__(self, engine: Engine = CelCpp, orchestration: Orchestration | None = None) -> None:
        self._engine = engine
        self.orchestration = orchestration or Orchestration()
        self._practices: OrderedDict[UUID, tuple[int, dict[str, list[InForce]]]] = OrderedDict()
        self._versions: OrderedDict[tuple[UUID, int], CompiledDefinition] = OrderedDict()
        self._broken: set[tuple[UUID, int]] = set()

    async def in_force(self, practice_ids: Iterable[UUID], tx: Tx) -> dict[UUID, dict[str, list[InForce]]]:
        """Per practice and trigger event type, what is published as of this transaction."""
        current = await revisions(practice_ids, tx)
        outdated = [practice for practice, number in current.items() if self._practices.get(practice, (-1, {}))[0] != number]
        if outdated:
            await self._load(outdated, current, tx)
        for practice in current:
            self._practices.move_to_end(practice)
        found = {practice: self._practices[practice][1] for practice in current}
        while len(self._practices) > MAX_PRACTICES:
            self._practices.popitem(last=False)
        return found

    async def _load(self, practice_ids: list[UUID], current: dict[UUID, int], tx: Tx) -> None:
        by_practice: dict[UUID, dict[str, list[InForce]]] = {practice: defaultdict(list) for practice in practice_ids}
        for row in await published(practice_ids, tx):
            try:
                compiled = self._compiled(row["workflow_id"], row["version"], row["definition"])
            except ValueError as error:  # it was valid when it was published: our code has changed since
                log.error("definition.broken", workflow_id=str(row["workflow_id"]), version=row["version"], exc_info=error)
                compiled = None
            workflow = InForce(row["workflow_id"], row["version"], row["name"], compiled, row["paused"], self.orchestration.begins_on)
            for trigger in _events(compiled, row["definition"]):
                by_practice[row["practice_id"]][trigger].append(workflow)
        for practice, workflows in by_practice.items():
            self._practices[practice] = current[practice], workflows

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


def _events(compiled: CompiledDefinition | None, definition: dict[str, Any]) -> tuple[str, ...]:
    """The event types that start it; of one that no longer compiles, those it names."""
    if compiled is not None:
        return started_types(compiled.definition.trigger)
    event = definition["trigger"].get("event")
    return (event,) if event else ()
