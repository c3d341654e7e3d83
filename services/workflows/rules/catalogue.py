"""Does a step fit what the action catalogue offers? The catalogue's schemas are JSON Schema, draft 2020-12."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import jsonschema

from services.workflows.rules.definition import Definition
from services.workflows.rules.findings import Finding, pointer_part
from services.workflows.rules.steps import ActionStep, walk
from services.workflows.rules.templates import is_template

Catalogue = Mapping[str, Mapping[str, Any]]

_OF_TEXT = frozenset({"pattern", "format", "minLength", "maxLength", "enum", "const"})
"""What a text with ``{{ }}`` in it may still come to fulfil."""


def catalogue_findings(definition: Definition, offered: Catalogue) -> list[Finding]:
    """Actions nobody offers, and parameters that do not fit their schema."""
    findings: list[Finding] = []
    for step, pointer, _ in walk(definition.steps):
        if isinstance(step, ActionStep):
            findings += _of_step(step, pointer, offered)
    return findings


def _of_step(step: ActionStep, pointer: str, offered: Catalogue) -> Iterator[Finding]:
    action = offered.get(step.action)
    if action is None:
        known = ", ".join(offered) or "none yet"
        yield Finding("unknown_action", f"{pointer}/action", "No service offers this action.", step.id, hint=f"offered: {known}")
        return
    for error in jsonschema.Draft202012Validator(action["parameters_schema"]).iter_errors(step.parameters):
        if not _may_come_right(error):
            where = "/".join([f"{pointer}/parameters", *(pointer_part(part) for part in error.absolute_path)])
            yield Finding("invalid_parameter", where, f"The action's parameters do not fit: {error.validator}.", step.id, hint=_hint(error))


def _may_come_right(error: Any) -> bool:
    """A template is a text whose content nobody knows yet: only its being a text can be wrong now."""
    if not is_template(error.instance):
        return False
    if error.validator in {"anyOf", "oneOf"}:
        branches: dict[Any, list[Any]] = {}
        for inner in error.context:
            branches.setdefault(inner.relative_schema_path[0], []).append(inner)
        return any(all(_may_come_right(inner) for inner in branch) for branch in branches.values())
    return error.validator in _OF_TEXT


def _hint(error: Any) -> str | None:
    if error.validator == "required":
        missing = [name for name in error.validator_value if name not in error.instance]
        return f"missing: {', '.join(missing)}"
    if error.validator == "additionalProperties":
        return f"it takes: {', '.join(error.schema.get('properties', ())) or 'nothing'}"
    return None
