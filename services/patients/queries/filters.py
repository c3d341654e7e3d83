"""Named selects over saved filters, and what a filter means in SQL: the same patients as whoever evaluates it elsewhere finds."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, Text, and_, cast, column, exists, false, func, not_, or_, select, table, tuple_

from libs.common.work import Tx
from libs.contracts.conditions import EMPTINESS, OPPOSITES, PATIENT_FIELDS, AllOf, AnyOf, Block, Blocks
from libs.contracts.patients import FilterVisibility
from services.patients.model import Patient, SavedFilter
from services.patients.rules.filters import folded_pattern

Test = ColumnElement[bool]
_TAG = table("tag", column("practice_id"), column("id"), column("name"), schema="patients")
_GIVEN = table("patient_tag", column("practice_id"), column("patient_id"), column("tag_id"), schema="patients")
_TEXTS: dict[str, ColumnElement[Any]] = {
    "patient.id": cast(Patient.id, Text),
    "patient.given_name": Patient.given_name.expression,
    "patient.family_name": Patient.family_name.expression,
    "patient.email": Patient.email.expression,
    "patient.phone": Patient.phone.expression,
    "patient.birth_date": func.to_char(Patient.birth_date, "YYYY-MM-DD"),
    "patient.time_zone": Patient.time_zone.expression,
}
_PLAIN: dict[str, Callable[[ColumnElement[Any], str], Test]] = {
    "equals": lambda text, value: text == value,
    "contains": lambda text, value: func.strpos(text, value) > 0,
    "starts_with": func.starts_with,
    "before": lambda text, value: text.collate("C") < value,
    "after": lambda text, value: text.collate("C") > value,
    "ends_with": lambda text, value: func.right(text, len(value)) == value,
}
_FOLDED = {"equals": "^(?:{})$", "contains": "{}", "starts_with": "^(?:{})", "ends_with": "(?:{})$"}


def found_by(condition: Blocks) -> Test:
    """True for the patients the filter finds, false for the others; never null. Every value is a bound parameter."""
    return _group(condition.blocks)


def _group(group: AllOf | AnyOf) -> Test:
    members = group.all if isinstance(group, AllOf) else group.any
    tests = [_block(member) if isinstance(member, Block) else _group(member) for member in members]
    return and_(*tests) if isinstance(group, AllOf) else or_(*tests)


def _block(block: Block) -> Test:
    positive = OPPOSITES.get(block.operator, block.operator)
    test = _tags(positive, block.value) if PATIENT_FIELDS[block.field] == "texts" else _text(positive, block)
    return test if positive == block.operator else not_(test)


def _text(operator: str, block: Block) -> Test:
    text = _TEXTS[block.field]
    if operator == EMPTINESS:
        return or_(text.is_(None), func.coalesce(text, "") == "")
    values, test = (block.value, "equals") if operator == "one_of" else ([block.value], operator)
    return and_(text.is_not(None), or_(false(), *(_compared(text, test, value, ignore_case=block.ignore_case) for value in values)))


def _compared(text: ColumnElement[Any], operator: str, value: str, *, ignore_case: bool) -> Test:
    if ignore_case:
        return text.regexp_match(_FOLDED[operator].format(folded_pattern(value)))
    return _PLAIN[operator](text, value)


def _tags(operator: str, value: Any) -> Test:
    if operator == EMPTINESS:
        return not_(_tagged(None))
    if operator == "contains_all":
        return and_(*(_tagged([one]) for one in value))
    return _tagged(value if operator == "contains_any" else [value])


def _tagged(names: list[str] | None) -> Test:
    """Whether the patient has one of these tags, or any at all."""
    given = select(_GIVEN.c.tag_id).where(_GIVEN.c.practice_id == Patient.practice_id, _GIVEN.c.patient_id == Patient.id)
    if names is not None:
        given = given.join(_TAG, and_(_TAG.c.practice_id == _GIVEN.c.practice_id, _TAG.c.id == _GIVEN.c.tag_id))
        given = given.where(_TAG.c.name.in_(names))
    return exists(given)


def _seen(tx: Tx) -> Test:
    """Shared filters, and the caller's own."""
    mine = or_(SavedFilter.visibility == FilterVisibility.SHARED, SavedFilter.owned_by == tx.principal.actor)
    return and_(SavedFilter.practice_id == tx.practice_id, mine)


async def filter_by_id(filter_id: UUID, tx: Tx, *, for_update: bool = False) -> SavedFilter | None:
    """One that the caller may see."""
    query = select(SavedFilter).where(_seen(tx), SavedFilter.id == filter_id)
    return (await tx.session.execute(query.with_for_update() if for_update else query)).scalar_one_or_none()


async def filters_by_name(tx: Tx, *, after: tuple[str, ...] | None, limit: int) -> list[SavedFilter]:
    """Those the caller may see, by name; one more than ``limit`` when there is more."""
    query = select(SavedFilter).where(_seen(tx))
    if after is not None:
        query = query.where(tuple_(SavedFilter.name, SavedFilter.id) > (after[0], UUID(after[1])))
    return list((await tx.session.execute(query.order_by(SavedFilter.name, SavedFilter.id).limit(limit + 1))).scalars())


async def names_beside(visibility: str, owned_by: str, tx: Tx) -> dict[UUID, str]:
    """The keys of the names among which one has to be its own: those of the shared filters, or of the owner's private ones."""
    query = select(SavedFilter.id, SavedFilter.key).where(SavedFilter.practice_id == tx.practice_id, SavedFilter.visibility == visibility)
    if visibility == FilterVisibility.PRIVATE:
        query = query.where(SavedFilter.owned_by == owned_by)
    return {row.id: row.key for row in await tx.session.execute(query)}
