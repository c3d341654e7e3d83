"""What expressions may name: the fields of the trigger event, of the patient, the appointment and the practice."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, datetime
from enum import Enum
from typing import Any
from uuid import UUID

from libs.contracts.envelope import Message
from libs.contracts.scheduling import AppointmentSource, AppointmentStatus
from services.workflows.rules.expressions.interface import NOTHING, Fields, FieldType, Values
from services.workflows.rules.expressions.shapes import SHORT, Shape, Shapes, shape_of, shapes_of

_TEXT = Shape(FieldType.STRING, nullable=True)
_NAME = Shape(FieldType.STRING, nullable=True, most=800)
"""A name has 200 characters as it is typed, an address fewer than 400; in one spelling it may become longer."""

PATIENT: dict[str, Shape] = {
    "id": Shape(FieldType.STRING, nullable=True, most=36),
    "given_name": _NAME,
    "family_name": _NAME,
    "email": _NAME,
    "phone": Shape(FieldType.STRING, nullable=True, most=SHORT),
    "birth_date": Shape(FieldType.STRING, nullable=True, most=10, day=True),
    "time_zone": Shape(FieldType.STRING, nullable=True, most=SHORT),
    "tags": Shape(FieldType.TEXTS),
}
APPOINTMENT: dict[str, Shape] = {
    "id": Shape(FieldType.STRING, most=36),
    "status": shape_of(AppointmentStatus),
    "title": Shape(FieldType.STRING),
    "source": shape_of(AppointmentSource),
    "starts_at": Shape(FieldType.TIMESTAMP),
    "ends_at": Shape(FieldType.TIMESTAMP),
    "time_zone": Shape(FieldType.STRING, most=SHORT),
}
PRACTICE: dict[str, Shape] = {
    "id": Shape(FieldType.STRING, nullable=True, most=36),
    "name": _TEXT,
    "time_zone": Shape(FieldType.STRING, nullable=True, most=SHORT),
}
NOW = "now"
"""The time at which an expression is evaluated."""


def fields_for(event: type[Message], *, awaiting: bool = False) -> Fields:
    """Every dotted name an expression of a workflow triggered by ``event`` may use, with its type.

    A patient's fields are dynamic: all are null while nobody was matched, but for the list of tags, which is empty then. So are optional fields of the event. ``now`` is the time
    of evaluation, ``steps`` holds what earlier steps left; ``awaiting`` an event, ``trigger`` is the data of the one that started the run.
    """
    return {name: shape.declared for name, shape in shapes_for(event, awaiting=awaiting).items()}


def shapes_for(event: type[Message], *, awaiting: bool = False) -> Shapes:
    """The same names with all that is known of what they hold."""
    shapes = {f"event.{name}": shape for name, shape in shapes_of(event)}
    if "patient_id" in event.model_fields:
        shapes |= {f"patient.{name}": shape for name, shape in PATIENT.items()}
    if "appointment_id" in event.model_fields:
        shapes |= {f"appointment.{name}": shape for name, shape in APPOINTMENT.items()}
    shapes |= {f"practice.{name}": shape for name, shape in PRACTICE.items()}
    whole = ("steps", "trigger") if awaiting else ("steps",)
    return shapes | {NOW: Shape(FieldType.TIMESTAMP)} | {name: Shape(FieldType.DYN) for name in whole}


def values_for(
    fields: Fields,
    event: Mapping[str, Any],
    patient: Mapping[str, Any] | None,
    appointment: Mapping[str, Any] | None,
    practice: Mapping[str, Any],
    steps: Mapping[str, Any] = NOTHING,
    trigger: Mapping[str, Any] = NOTHING,
    *,
    now: datetime | None = None,
) -> Values:
    """The value of every declared name; what is not known is null, a list of texts empty. Without ``now`` (aware) what asks for the time fails."""
    sources: dict[str, Mapping[str, Any]] = {
        "event": event,
        "patient": patient or {},
        "appointment": appointment or {},
        "practice": practice,
    }
    values: dict[str, Any] = {}
    for name in fields:
        root, _, rest = name.partition(".")
        if name == NOW:
            values[name] = now
            continue
        if not rest:
            values[name] = _plain(dict(steps if root == "steps" else trigger))
            continue
        value = sources[root].get(rest) if "." not in rest else _deep(sources[root], rest)
        if value is None and fields[name] is FieldType.TEXTS:
            value = []
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
