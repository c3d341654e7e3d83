"""What actions answer when nobody performs them: results of the right types by their result models, and who looks at them."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from services.workflows.rules.definitions.definition import Definition
from services.workflows.rules.definitions.steps import ActionStep, walk

DEEPEST = 6
_RESULT = re.compile(r"""\bsteps\s*(?:\.\s*(\w+)|\[\s*['"]([^'"]+)['"]\s*\])\s*(?:\.\s*result\b|\[\s*['"]result['"]\s*\])""")
_FORMATS = {
    "uuid": "0190a0a0-0000-7000-8000-000000000009", "date-time": "2030-01-31T09:30:00Z", "date": "2030-01-31", "time": "09:30:00",
    "email": "sam.sample@patients.example", "uri": "https://sample.example", "duration": "PT1H",
}  # fmt: skip
_TYPES: dict[str, Any] = {"string": "text", "integer": 1, "number": 1.5, "boolean": True, "null": None}


def made_up(schema: Mapping[str, Any]) -> dict[str, Any]:
    """A result with every property of its JSON Schema set to something of the right type."""
    found = _value(schema, schema, DEEPEST)
    return found if isinstance(found, dict) else {}


def results_read(definition: Definition) -> frozenset[str]:
    """The actions, by step id, whose result a condition or a text looks at."""
    actions = {step.id for step, _, _ in walk(definition.steps) if isinstance(step, ActionStep)}
    texts = _texts(definition.model_dump(mode="json"))
    return frozenset(name for text in texts for match in _RESULT.finditer(text) for name in match.groups() if name in actions)


def _value(schema: Mapping[str, Any], root: Mapping[str, Any], depth: int) -> Any:
    schema = _followed(schema, root)
    for name in ("const", "default"):
        if schema.get(name) is not None:
            return schema[name]
    if schema.get("enum"):
        return schema["enum"][0]
    ways = [way for way in (*schema.get("anyOf", ()), *schema.get("oneOf", ())) if way.get("type") != "null"]
    if ways:
        return _value(ways[0], root, depth)
    match schema.get("type"):
        case "object":
            inner = schema.get("properties", {}) if depth else {}
            return {name: _value(one, root, depth - 1) for name, one in inner.items()}
        case "array":
            return [_value(schema["items"], root, depth - 1)] if depth > 1 and schema.get("items") else []
        case str(kind):
            return _FORMATS.get(schema.get("format", ""), schema.get("minimum", _TYPES.get(kind)))
    return None


def _followed(schema: Mapping[str, Any], root: Mapping[str, Any]) -> Mapping[str, Any]:
    """The schema a reference names; one that names nothing says nothing."""
    for _ in range(DEEPEST):
        reference = schema.get("$ref")
        if reference is None:
            return schema
        found: Any = root
        for part in str(reference).removeprefix("#/").split("/"):
            found = found.get(part, {}) if isinstance(found, Mapping) else {}
        schema = found
    return {}


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    for inner in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from _texts(inner)
