"""The compiled workflows of each practice, kept in memory and thrown away when the practice publishes.

Which revision is in force is read in the same transaction that uses it: a run never starts from an outdated definition.
"""

from __future__ import annotations

from collections import OrderedDict, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from libs.common.logging import get_logger
from libs.common.work import Tx
from services.workflows.queries.definitions import published, revisions, version_of
from services.workflows.rules.definitions.compiling import CompiledDefinition, compile_definition
from services.workflows.rules.definitions.definition import Definition
from services.workflows.rules.definitions.triggers import started_types
from services.workflows.rules.expressions.cel_cpp import CelCpp
from services.workflows.rules.expressions.engines import Engine
from services.workflows.rules.runs.orchestration import BUILTIN, EngineName, Orchestration

log = get_logger()

MAX_PRACTICES = 2000
MAX_VERSIONS = 5000


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

    @property
    def engine(self) -> Engine:
        """What evaluates them."""
        return self._engine

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
        """The version a run started with, published or not by now."""
        if (workflow_id, version) in self._versions:
            return self._versions[workflow_id, version]
        return self._compiled(workflow_id, version, await version_of(practice_id, workflow_id, version, tx))

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
