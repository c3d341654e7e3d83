"""Made-up values of the right kinds, so that an expression is tried once before anybody relies on it."""

from __future__ import annotations

import types
from collections.abc import Mapping
from datetime import UTC, date, datetime
from enum import Enum
from typing import Any, Union, get_args, get_origin
from uuid import UUID

from pydantic import BaseModel

from libs.contracts.envelope import Event, Message
from services.workflows.rules.expressions.context import APPOINTMENT, values_for
from services.workflows.rules.expressions.interface import NOTHING, Fields, FieldType, Values
from services.workflows.rules.expressions.shapes import MAX_ITEM_TEXT, MAX_ITEMS, MAX_TEXT, MAX_VALUES_TEXT, Shape, Shapes

TAGS = "patient.tags"
_AT = datetime(2030, 1, 31, 9, 30, tzinfo=UTC)
_BY_KIND: dict[FieldType, Any] = {FieldType.STRING: "text", FieldType.TIMESTAMP: _AT}
_PERSON = {
    "id": "0190a0a0-0000-7000-8000-000000000001", "given_name": "Sam", "family_name": "Sample", "email": "sam.sample@patients.example",
    "phone": "+4930901820", "birth_date": "1980-01-31", "time_zone": "Europe/Berlin",
    "tags": ["Recall"],
}  # fmt: skip
_PRACTICE = {"id": "0190a0a0-0000-7000-8000-000000000002", "name": "Sample practice", "time_zone": "Europe/Berlin"}
_APPOINTMENT = {name: shape.members[0] if shape.members else _BY_KIND[shape.kind] for name, shape in APPOINTMENT.items()} | {
    "time_zone": "Europe/Berlin"
}


def example_of(event: type[Event]) -> Event:
    """An event of this type with every field set to something made up."""
    return event.model_validate(_of_model(event))


def example_patient() -> dict[str, Any]:
    """Somebody who does not exist."""
    return dict(_PERSON)


def full_sample(event: type[Message], fields: Fields, trigger: type[Message] | None = None) -> Values:
    """Every field set; of an event that is waited for, those of what started the run as well."""
    started_by = _of_model(trigger) if trigger is not None else NOTHING
    return values_for(fields, _of_model(event), _PERSON, _APPOINTMENT, _PRACTICE, trigger=started_by, now=_AT)


def empty_sample(event: type[Message], fields: Fields, trigger: type[Message] | None = None) -> Values:
    """Every field that may be empty is null, and nobody has a tag; the practice is known, and a map is there without anything in it."""
    full = {name: [] if name == TAGS else value for name, value in full_sample(event, fields, trigger).items()}
    return {name: None if _may_be_empty(name, kind, full[name]) else full[name] for name, kind in fields.items()}


def largest_sample(shapes: Shapes) -> Values:
    """Every field at the largest size it may have."""
    return {name: _largest(shape) for name, shape in shapes.items()}


def _largest(shape: Shape) -> Any:
    if shape.members:
        return shape.members[0]
    match shape.kind:
        case FieldType.STRING:
            # Two bytes each, and the last one another: what is compared or searched is so to the end.
            return "é" * (shape.most - 1) + "a"
        case FieldType.TEXTS | FieldType.LIST:
            length = MAX_ITEM_TEXT if shape.kind is FieldType.TEXTS else MAX_VALUES_TEXT // MAX_ITEMS
            return ["é" * length] * MAX_ITEMS
        case FieldType.DYN:
            return {"items": [{"n": number, "t": ["a"] * 6} for number in range(MAX_ITEMS - 10)], "text": "a" * MAX_TEXT}
        case FieldType.TIMESTAMP:
            return _AT
        case FieldType.DOUBLE:
            return 1e300
        case FieldType.INT:
            return 2**62
    return True


def _may_be_empty(name: str, kind: FieldType, value: Any) -> bool:
    return kind is FieldType.DYN and "." in name and not name.startswith("practice.") and not isinstance(value, dict)


def _of_model(model: type[BaseModel]) -> Mapping[str, Any]:
    return {name: "Europe/Berlin" if name == "time_zone" else _of(field.annotation) for name, field in model.model_fields.items()}


def _of(annotation: Any) -> Any:
    origin = get_origin(annotation)
    if origin in {Union, types.UnionType}:
        return _of(next(kind for kind in get_args(annotation) if kind is not type(None)))
    if origin in {list, dict}:
        return origin()
    if not isinstance(annotation, type):
        return "text"
    if issubclass(annotation, BaseModel):
        return _of_model(annotation)
    if issubclass(annotation, Enum):
        return next(iter(annotation)).value
    scalars: dict[type, Any] = {bool: False, int: 1, float: 1.5, str: "text", date: date(1980, 1, 31), UUID: UUID(int=1)}
    return scalars.get(annotation, _AT)
