"""The JSON Schema of a definition, for editors and for people who write them by hand."""

from __future__ import annotations

import json
from typing import Any

from services.workflows.rules.definitions.definition import Definition

ID = "https://schemas.vantage.example/workflow-definition/1"
DIALECT = "https://json-schema.org/draft/2020-12/schema"


def definition_schema() -> dict[str, Any]:
    """What may be written down. What compiles, and what fits the practice's actions, is asked when it is saved or published."""
    schema = Definition.model_json_schema()
    return {"$schema": DIALECT, "$id": ID, **schema, "title": "A workflow's definition"}


def schema_text() -> str:
    return json.dumps(definition_schema(), indent=1, ensure_ascii=False, sort_keys=True) + "\n"
