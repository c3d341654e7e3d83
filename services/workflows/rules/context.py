"""What expressions may name: the fields of the trigger event, of the patient, the appointment and the practice."""

from __future__ import annotations

import types
from collections.abc import Iterator, Mapping
from datetime import date, datetime
from enum import Enum
from typing import Any, Union, get_args, get_origin
from uuid import UUID

from pydantic import AwareDatetime, BaseModel

from libs.contracts.envelope import Message
from services.workflows.rules.expressions import Fields, FieldType, Values
from services.workflows.rules.states import NOTHING

PATIENT = ("id", "given_name", "family_name", "email", "phone", "birth_date", "time_zone")
APPOINTMENT: dict[str, FieldType] = {
    "id": FieldType.STRING,
    "status": FieldType.STRING,
    "title": FieldType.STRING,
    "source": FieldType.STRING,
    "starts_at": FieldType.TIMESTAMP,
    "ends_at": FieldType.TIMESTAMP,
    "time_zone": FieldType.STRING,
}
PRACTICE = ("id", "name", "time_zone")
_SCALARS: dict[Any, FieldType] = {
    bool: FieldType.BOOL,
    int: FieldType.INT,
    float: FieldType.DOUBLE,
    str: FieldType.STRING,
    UUID: FieldType.STRING,
    AwareDatetime: FieldType.TIMESTAMP,
}


def fields_for(event: type[Message], *, awaiting: bool = False) -> Fields:
    """Every dotted name an expression of a workflow triggered by ``event`` may use, with its type.

    A patient's fields are dynamic: all are null while nobody was matched. So are optional fields of the event. ``steps`` holds
    what earlier steps left; ``awaiting`` an event, ``trigger`` is the data of the one that started the run.
    """
    fields = {f"event.{name}": kind for name, kind in _model_fields(event)}
    if "patient_id" in event.model_fields:
        fields |= {f"patient.{name}": FieldType.DYN for name in PATIENT}
    if "appointment_id" in event.model_fields:
        fields |= {f"appointment.{name}": kind for name, kind in APPOINTMENT.items()}
    whole = {"steps": FieldType.DYN} | ({"trigger": FieldType.DYN} if awaiting else {})
    return fields | {f"practice.{name}": FieldType.DYN for name in PRACTICE} | whole


def _model_fields(model: type[BaseModel], prefix: str = "") -> Iterator[tuple[str, FieldType]]:
    for name, field in model.model_fields.items():
        annotation = field.annotation
        if isinstance(annotation, type) and issubclass(annotation, BaseModel):
            yield from _model_fields(annotation, f"{prefix}{name}.")
        else:
            yield prefix + name, _kind(annotation)


def _kind(annotation: Any) -> FieldType:
    origin = get_origin(annotation)
    if origin in {Union, types.UnionType}:
        return FieldType.DYN
    if origin is list:
        return FieldType.LIST
    if hasattr(annotation, "__metadata__"):
        return _kind(get_args(annotation)[0])
    if isinstance(annotation, type):
        if issubclass(annotation, datetime):
            return FieldType.TIMESTAMP
        if issubclass(annotation, Enum):
            return FieldType.STRING
        return _SCALARS.get(annotation, FieldType.DYN)
    return FieldType.DYN


def values_for(
    fields: Fields,
    event: Mapping[str, Any],
    patient: Mapping[str, Any] | None,
    appointment: Mapping[str, Any] | None,
    practice: Mapping[str, Any],
    steps: Mapping[str, Any] = NOTHING,
    trigger: Mapping[str, Any] = NOTHING,
) -> Values:
    """The value of every declared name; what is not known is null."""
    sources: dict[str, Mapping[str, Any]] = {
        "event": event,
        "patient": patient or {},
        "appointment": appointment or {},
        "practice": practice,
    }
    values: dict[str, Any] = {}
    for name in fields:
        root, _, rest = name.partition(".")
        if not rest:
            values[name] = _plain(dict(steps if root == "steps" else trigger))
            continue
        value = sources[root].get(rest) if "." not in rest else _deep(sources[root], rest)
        values[name] = value if value is None or type(value) in _PLAIN else _plain(value)
    return values


_PLAIN = frozenset({str, bool, int, float, datetime})


def _deep(value: Any, path: str) -> Any:
    for part in path.split("."):
        value = value.get(part) if isinstance(value, Mapping) else None
    return value


def _plain(value: Any) -> Any:
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, UUID):
        return str(value)
    if isinstance(value, date) and not isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if isinstance(value, dict):
        return {str(name): _plain(item) for name, item in value.items()}
    return value
