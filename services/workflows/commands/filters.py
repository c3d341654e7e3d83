"""Which patients somebody means: a filter written with the wish, or one kept under a name by the patients service.

A saved filter is known here from what its events say, a moment after it was saved. What was asked for is answered with the filter as
it is known at that moment, and says which version that was.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Self
from uuid import UUID

from pydantic import BaseModel, TypeAdapter

from libs.common.errors import Refused, Stale, Unavailable
from libs.common.work import Tx
from libs.contracts.patients import FilterVisibility
from services.workflows.queries.world import saved_filter
from services.workflows.rules.conditions.selecting import NoFilter, PatientFilter, patient_filter
from services.workflows.rules.conditions.written import Condition
from services.workflows.rules.definitions.definition import ScheduleTrigger, Trigger
from services.workflows.rules.expressions.cel_cpp import CelCpp
from services.workflows.rules.expressions.engines import Engine
from services.workflows.rules.findings import Finding

ON_ITS_WAY = timedelta(minutes=10)
"""How long after it was saved a filter that is not known here may still be on its way."""

CONDITION: TypeAdapter[Condition] = TypeAdapter(Condition)


class FilterInvalid(Refused):
    """The filter is no condition on a patient."""


class SavedFilterUnknown(Refused):
    """No such saved filter is known here, or it is somebody else's own."""


class SavedFilterNotYet(Unavailable):
    """The saved filter, or its newest version, is on its way here; try again in a moment."""


class SavedFilterChanged(Stale):
    """The saved filter has another version by now; look at whom it finds again."""


class FilterUsed(BaseModel):
    """The saved filter that was meant, as it is known here."""

    id: UUID
    name: str
    version: int


@dataclass(frozen=True)
class Wanted:
    """``condition`` as it was written, to be kept; ``used`` says where it was kept before, if it was."""

    condition: Condition
    compiled: PatientFilter
    used: FilterUsed | None = None

    @classmethod
    def written(cls, condition: Condition, engine: Engine) -> Self:
        """Raises ``FilterInvalid`` with the place in what was written."""
        try:
            return cls(condition, patient_filter(condition, engine))
        except NoFilter as error:
            raise FilterInvalid(pointer=f"/filter{error.pointer}", reason=str(error), column=error.column) from None

    @property
    def wish(self) -> dict[str, Any]:
        """What a job keeps of it."""
        saved = {} if self.used is None else {"saved_filter": self.used.model_dump(mode="json")}
        return {"filter": CONDITION.dump_python(self.condition, mode="json"), **saved}


async def saved(filter_id: UUID, version: int | None, engine: Engine, tx: Tx) -> Wanted:
    """A saved filter as it is known now; with a ``version``, that one or none.

    Raises ``SavedFilterUnknown``, ``SavedFilterNotYet``, ``SavedFilterChanged``, ``FilterInvalid``.
    """
    row = await saved_filter(tx.practice_id, filter_id, tx)
    if row is None or (row["visibility"] != FilterVisibility.SHARED and row["owned_by"] != tx.principal.actor):
        # Somebody else's own one is answered as one nobody has: by its id alone.
        raise SavedFilterNotYet(pointer="/saved_filter") if _young(filter_id, tx.now) else SavedFilterUnknown(pointer="/saved_filter")
    if row["removed"]:
        raise SavedFilterUnknown(pointer="/saved_filter")
    if version is not None and version != row["version"]:
        raise (SavedFilterNotYet if version > row["version"] else SavedFilterChanged)(pointer="/filter_version")
    condition = CONDITION.validate_python(row["condition"])
    try:
        compiled = patient_filter(condition, engine)
    except NoFilter as error:
        raise FilterInvalid(pointer="/saved_filter", reason=str(error), at=f"/condition{error.pointer}") from None
    return Wanted(condition, compiled, FilterUsed(id=filter_id, name=row["name"], version=row["version"]))


async def filter_findings(trigger: Trigger, tx: Tx) -> list[Finding]:
    """What stops a schedule from starting runs for the patients of its saved filter."""
    if not isinstance(trigger, ScheduleTrigger) or trigger.saved_filter is None:
        return []
    row = await saved_filter(tx.practice_id, trigger.saved_filter, tx)
    if row is None or row["removed"] or row["visibility"] != FilterVisibility.SHARED:
        hint = "a shared one; news of one that was saved just now takes a moment"
        return [Finding("unknown_filter", "/trigger/saved_filter", "No shared filter of this id is known here.", hint=hint)]
    try:
        patient_filter(CONDITION.validate_python(row["condition"]), CelCpp)
    except NoFilter as error:
        return [Finding("unusable_filter", "/trigger/saved_filter", f"The saved filter cannot be evaluated here: {error}")]
    return []


def _young(made: UUID, now: datetime) -> bool:
    """Whether an id was made so lately that news of what has it may be on its way. Ids tell when they were made (UUID version 7)."""
    if made.version != 7:
        return False
    since = now - datetime.fromtimestamp((made.int >> 80) / 1000, UTC)
    return -ON_ITS_WAY < since < ON_ITS_WAY
