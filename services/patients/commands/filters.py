"""Saved filters: conditions over patients that somebody keeps under a name, alone or for the whole practice."""

from __future__ import annotations

from dataclasses import asdict
from datetime import datetime
from typing import Annotated, Any, Self
from uuid import UUID

from pydantic import BaseModel, Field, model_validator

from libs.common.auth import Role
from libs.common.command import Command, Line
from libs.common.errors import Conflict, Forbidden, NotFound, Refused, VersionMismatch
from libs.common.work import Tx
from libs.contracts.conditions import Blocks
from libs.contracts.patients import (
    FilterVisibility,
    PatientFilterChanged,
    PatientFilterRemoved,
    PatientFilterSaved,
    PatientFiltersViewed,
)
from services.patients.model import SavedFilter
from services.patients.queries.filters import filter_by_id, filters_by_name, names_beside
from services.patients.rules.details import tag_key
from services.patients.rules.filters import faults

MAX_FILTERS = 200
_ONE_AT_A_TIME = "SELECT pg_advisory_xact_lock(hashtextextended($1, 7))"


class FilterNotFound(NotFound):
    """No such saved filter."""


class SavedFilterUnknown(Refused):
    """No such saved filter is known here, or it is somebody else's own."""


class FilterNameTaken(Conflict):
    """There is a filter of this name already."""


class SharedByAdmins(Forbidden):
    """Shared filters are kept by practice admins: workflows go to the patients they find. One's own may be private."""


class FilterOfAnother(Forbidden):
    """Only who saved a filter makes it private."""


class TooManyFilters(Refused):
    """A practice keeps at most 200 shared filters, and each of its people 200 private ones."""


class ConditionInvalid(Refused):
    """The condition is none on a patient."""


Written = Annotated[Blocks, Field(title="Condition", description="Blocks over fields of a patient, in groups of all and any.")]


class SaveFilter(Command):
    name: Line
    visibility: FilterVisibility = FilterVisibility.PRIVATE
    condition: Written


class ChangeFilter(Command):
    """Only the fields given change."""

    name: Line | None = None
    visibility: FilterVisibility | None = None
    condition: Written | None = None

    @model_validator(mode="after")
    def _nothing_is_emptied(self) -> Self:
        if any(getattr(self, name) is None for name in self.model_fields_set):
            message = "a field that stays is left out, not emptied"
            raise ValueError(message)
        return self

    def changes(self) -> dict[str, Any]:
        return self.model_dump(mode="json", exclude_unset=True)


class FilterView(BaseModel):
    """A saved filter. ``owned_by`` saved it first; a private one is seen by nobody else. Times are UTC."""

    id: UUID
    version: int
    name: str
    visibility: FilterVisibility
    owned_by: str
    condition: Blocks
    created_at: datetime
    updated_at: datetime

    @classmethod
    def of(cls, saved: SavedFilter) -> Self:
        return cls.model_validate(saved, from_attributes=True)


async def save_filter(cmd: SaveFilter, tx: Tx) -> FilterView:
    """Raises ``SharedByAdmins``, ``ConditionInvalid``, ``FilterNameTaken``, ``TooManyFilters``."""
    _may_keep(cmd.visibility, tx)
    _check(cmd.condition)
    saved = SavedFilter(
        practice_id=tx.practice_id, id=tx.new_id(), version=1, owned_by=tx.principal.actor, key=tag_key(cmd.name), **cmd.model_dump(mode="json"),
        created_at=tx.now, updated_at=tx.now,
    )  # fmt: skip
    await _in_turn(tx)
    await _check_name(saved.id, saved.name, saved.visibility, saved.owned_by, tx)
    tx.session.add(saved)
    tx.emit(PatientFilterSaved(**_state(saved)))
    return FilterView.of(saved)


async def change_filter(filter_id: UUID, cmd: ChangeFilter, tx: Tx, *, if_version: int | None = None) -> FilterView:
    """Raises ``FilterNotFound``, ``VersionMismatch``, ``SharedByAdmins``, ``FilterOfAnother``, ``ConditionInvalid``, ``FilterNameTaken``, ``TooManyFilters``."""
    if cmd.condition is not None:
        _check(cmd.condition)
    saved = await _held(filter_id, tx, if_version)
    changes = cmd.changes()
    visibility = changes.get("visibility", saved.visibility)
    _may_keep(visibility, tx)
    if visibility != saved.visibility and saved.owned_by != tx.principal.actor:
        raise FilterOfAnother(pointer="/visibility")
    await _check_name(saved.id, changes.get("name", saved.name), visibility, saved.owned_by, tx)
    changed = saved.change(changes, tx.now)
    if changed:
        tx.emit(PatientFilterChanged(**_state(saved), changed=changed))
    return FilterView.of(saved)


async def remove_filter(filter_id: UUID, tx: Tx, *, if_version: int | None = None) -> None:
    """Raises ``FilterNotFound``, ``VersionMismatch``, ``SharedByAdmins``."""
    saved = await _held(filter_id, tx, if_version)
    await tx.session.delete(saved)
    tx.emit(PatientFilterRemoved(filter_id=saved.id, version=saved.version))


async def show_filter(filter_id: UUID, tx: Tx) -> FilterView:
    """Raises ``FilterNotFound``."""
    saved = await filter_by_id(filter_id, tx)
    if saved is None:
        raise FilterNotFound
    tx.emit(PatientFiltersViewed(filter_ids=[saved.id]))
    return FilterView.of(saved)


async def list_filters(tx: Tx, *, after: tuple[str, ...] | None, limit: int) -> list[FilterView]:
    """Shared ones and the caller's own by name, one more than ``limit`` when there is more."""
    found = await filters_by_name(tx, after=after, limit=limit)
    if found:
        tx.emit(PatientFiltersViewed(filter_ids=[saved.id for saved in found[:limit]]))
    return [FilterView.of(saved) for saved in found]


async def used_filter(filter_id: UUID, tx: Tx) -> SavedFilter:
    """One the caller may use. Raises ``SavedFilterUnknown``, for somebody else's private one as for none at all."""
    saved = await filter_by_id(filter_id, tx)
    if saved is None:
        raise SavedFilterUnknown(pointer="/saved_filter")
    return saved


async def _held(filter_id: UUID, tx: Tx, if_version: int | None) -> SavedFilter:
    """One the caller may change, locked until the commit."""
    await _in_turn(tx)
    saved = await filter_by_id(filter_id, tx, for_update=True)
    if saved is None:
        raise FilterNotFound
    _may_keep(saved.visibility, tx)
    if if_version is not None and saved.version != if_version:
        raise VersionMismatch
    return saved


def _may_keep(visibility: str, tx: Tx) -> None:
    if visibility == FilterVisibility.SHARED and tx.principal.role not in {Role.PRACTICE_ADMIN, Role.VANTAGE_ADMIN}:
        raise SharedByAdmins(pointer="/visibility")


async def _in_turn(tx: Tx) -> None:
    """Filters of a practice change one after the other: of two that take a name at once, the second one sees the first."""
    await tx.execute(_ONE_AT_A_TIME, f"patient-filters/{tx.practice_id}")


async def _check_name(filter_id: UUID, name: str, visibility: str, owned_by: str, tx: Tx) -> None:
    beside = await names_beside(visibility, owned_by, tx)
    new = beside.pop(filter_id, None) is None
    if tag_key(name) in beside.values():
        raise FilterNameTaken(pointer="/name")
    if new and len(beside) >= MAX_FILTERS:
        raise TooManyFilters


def _check(condition: Blocks) -> None:
    """Every fault with its place and what may help; the author's words are not repeated."""
    found = faults(condition)
    if found:
        said = [{name: value for name, value in asdict(fault).items() if value is not None} for fault in found]
        raise ConditionInvalid(errors=[fault | {"pointer": f"/condition{fault['pointer']}"} for fault in said])


def _state(saved: SavedFilter) -> dict[str, Any]:
    return {
        "filter_id": saved.id, "version": saved.version, "owned_by": saved.owned_by, "visibility": FilterVisibility(saved.visibility),
        "name": saved.name, "condition": saved.blocks,
    }  # fmt: skip
