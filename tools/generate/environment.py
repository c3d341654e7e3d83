"""``deploy/env/<service>.env.example``: every setting of a service, from its Settings class, with its meaning."""

from __future__ import annotations

import importlib
from typing import Any

from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from libs.common.settings import MigrationSettings

PREFIX = "VANTAGE_"


def text(service: str) -> str:
    settings = importlib.import_module(f"services.{service}.settings").Settings
    lines = [
        f"# Environment of the {service} service. Generated from services/{service}/settings.py by make generate; do not edit.",
        "# A setting without a value here has no default and must be given. Copy, fill in, keep out of the repository.",
        "",
    ]
    for name, field in settings.model_fields.items():
        lines += _setting(name, field)
    lines.append("# --- only for `migrate`, which runs as the schema's owner; the running service must not have it")
    for name, field in MigrationSettings.model_fields.items():
        lines += _setting(name, field)
    return "\n".join(lines)


def _setting(name: str, field: FieldInfo) -> list[str]:
    if not field.description:
        message = f"setting {name} has no description"
        raise ValueError(message)
    variable = f"{PREFIX}{name.upper()}"
    if field.is_required():
        return [f"# {field.description}", f"{variable}=", ""]
    return [f"# {field.description}", f"#{variable}={_default(field)}", ""]


def _default(field: FieldInfo) -> str:
    value: Any = field.get_default(call_default_factory=True, validated_data={})
    if value is None or value is PydanticUndefined:
        return ""
    return str(value.value) if hasattr(value, "value") else str(value).lower() if isinstance(value, bool) else str(value)
