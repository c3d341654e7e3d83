"""The mark for personal data: what the ledger, the logs and public topics must never repeat.

A marked field keeps its mark in the JSON Schema as ``x-personal: true``.
"""

from __future__ import annotations

from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, GetJsonSchemaHandler
from pydantic.fields import FieldInfo
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema

T = TypeVar("T")


class PersonalData:
    """Annotation metadata: the value identifies or describes a person."""

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        json_schema = handler(schema)
        json_schema["x-personal"] = True
        return json_schema


Personal = Annotated[T, PersonalData()]


def is_personal(field: FieldInfo) -> bool:
    return any(isinstance(mark, PersonalData) for mark in field.metadata)


def personal_fields(model: type[BaseModel]) -> frozenset[str]:
    """Names of the top-level fields of ``model`` that carry personal data."""
    return frozenset(name for name, field in model.model_fields.items() if is_personal(field))


def without_personal(model: BaseModel) -> dict[str, Any]:
    """The JSON form of ``model`` with every marked field left out."""
    return model.model_dump(mode="json", exclude=set(personal_fields(type(model))))
