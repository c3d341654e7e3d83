"""Does a step fit what the action catalogue offers? The catalogue's schemas are JSON Schema, draft 2020-12."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import jsonschema

from services.workflows.rules.definitions.definition import Definition
from services.workflows.rules.definitions.steps import ActionStep, walk
from services.workflows.rules.expressions.templates import is_template
from services.workflows.rules.findings import Finding, did_you_mean, pointer_part

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
        hint = did_you_mean(step.action, offered) or f"offered: {', '.join(offered) or 'none yet'}"
        yield Finding("unknown_action", f"{pointer}/action", "No service offers this action.", step.id, hint=hint)
        return
    missing: set[str] = set()
    for error in jsonschema.Draft202012Validator(action["parameters_schema"]).iter_errors(step.parameters):
        where = "/".join([f"{pointer}/parameters", *(pointer_part(part) for part in error.absolute_path)])
        if error.validator == "required":
            if where not in missing:
                yield from _missing(error, where, step.id)
            missing.add(where)
        elif error.validator == "additionalProperties":
            yield from _strange(error, where, step.id)
        elif not _may_come_right(error):
            message = f"{_title(error.schema, where)} does not fit: {error.validator}."
            yield Finding("invalid_parameter", where, message, step.id, hint=_expected(error))


def _missing(error: Any, where: str, step: str) -> Iterator[Finding]:
    """Every parameter that has to be there and is not."""
    for name in error.validator_value:
        if name not in error.instance:
            title = _title(error.schema.get("properties", {}).get(name, {}), name)
            yield Finding("missing_parameter", where, f"{title} has to be given.", step, hint=f"missing: {name}")


def _strange(error: Any, where: str, step: str) -> Iterator[Finding]:
    known = list(error.schema.get("properties", ()))
    for name in error.instance:
        if name not in known:
            hint = did_you_mean(name, known) or f"it takes: {', '.join(known) or 'nothing'}"
            yield Finding("unknown_parameter", f"{where}/{pointer_part(name)}", "The action does not take this.", step, hint=hint)


def _title(schema: Any, place: str) -> str:
    """What an editor calls it."""
    title = schema.get("title") if isinstance(schema, Mapping) else None
    return str(title or place.rpartition("/")[2].replace("_", " ").capitalize())


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


def _expected(error: Any) -> str | None:
    """What would fit, where it is short enough to say."""
    if error.validator == "type":
        return f"it takes: {error.validator_value if isinstance(error.validator_value, str) else ', '.join(error.validator_value)}"
    if error.validator in {"maxLength", "minLength", "maximum", "minimum", "maxItems", "minItems"}:
        return f"{error.validator}: {error.validator_value}"
    return f"one of: {', '.join(map(str, error.validator_value))}" if error.validator == "enum" else None
