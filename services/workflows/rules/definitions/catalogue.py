"""Does a step fit what the action catalogue offers? The catalogue's schemas are JSON Schema, draft 2020-12.

Values that are written out are judged with their formats; a text with ``{{ }}`` in it when it is filled, by the owner of the action.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import jsonschema

from services.workflows.rules.definitions.definition import Definition
from services.workflows.rules.definitions.formats import EXAMPLES, FORMATS
from services.workflows.rules.definitions.steps import ActionStep, walk
from services.workflows.rules.expressions.templates import is_template
from services.workflows.rules.findings import Finding, did_you_mean, pointer_part

Catalogue = Mapping[str, Mapping[str, Any]]

_OF_TEXT = frozenset({"pattern", "format", "minLength", "maxLength", "enum", "const"})
"""What a text with ``{{ }}`` in it may still come to fulfil."""


def catalogue_findings(definition: Definition, offered: Catalogue) -> list[Finding]:
    """Actions nobody offers, and parameters that do not fit their schema: of each one the first thing that is wrong."""
    found: dict[tuple[str, str | None], Finding] = {}
    for step, pointer, _ in walk(definition.steps):
        if isinstance(step, ActionStep):
            for one in _of_step(step, pointer, offered):
                found.setdefault((one.pointer, one.hint if one.code == "missing_parameter" else None), one)
    return list(found.values())


def _of_step(step: ActionStep, pointer: str, offered: Catalogue) -> Iterator[Finding]:
    action = offered.get(step.action)
    if action is None:
        hint = did_you_mean(step.action, offered) or f"offered: {', '.join(offered) or 'none yet'}"
        yield Finding("unknown_action", f"{pointer}/action", "No service offers this action.", step.id, hint=hint)
        return
    missing: set[str] = set()
    validator = jsonschema.Draft202012Validator(action["parameters_schema"], format_checker=FORMATS)
    for error in validator.iter_errors(step.parameters):
        where = "/".join([f"{pointer}/parameters", *(pointer_part(part) for part in error.absolute_path)])
        if error.validator == "required":
            if where not in missing:
                yield from _missing(error, where, step.id)
            missing.add(where)
        elif error.validator == "additionalProperties":
            yield from _strange(error, where, step.id)
        elif "propertyNames" in error.absolute_schema_path:
            message = "What stands here cannot have this name."
            yield Finding("invalid_parameter", f"{where}/{pointer_part(error.instance)}", message, step.id, hint=_described(error))
        elif not _may_come_right(error):
            inner = _meant(error)
            message = f"{_title(error.schema, where)} does not fit: {inner.validator}."
            yield Finding("invalid_parameter", where, message, step.id, hint=_expected(inner) or _described(error))


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
    if place.endswith("/parameters"):
        return "What is given"
    title = schema.get("title") if isinstance(schema, Mapping) else None
    return str(title or place.rpartition("/")[2].replace("_", " ").capitalize())


def _may_come_right(error: Any) -> bool:
    """A template is a text whose content nobody knows yet: only its being a text can be wrong now."""
    if not is_template(error.instance):
        return False
    if error.validator in {"anyOf", "oneOf"}:
        return any(all(_may_come_right(inner) for inner in branch) for branch in _branches(error))
    return error.validator in _OF_TEXT


def _branches(error: Any) -> list[list[Any]]:
    """What is wrong with each of the choices."""
    branches: dict[Any, list[Any]] = {}
    for inner in error.context:
        branches.setdefault(inner.relative_schema_path[0], []).append(inner)
    return list(branches.values())


def _meant(error: Any) -> Any:
    """Of a value that may be of several kinds or empty: what is wrong with it as the kind it is."""
    if error.validator not in {"anyOf", "oneOf"}:
        return error
    fitting = [branch for branch in _branches(error) if all(inner.validator != "type" or inner.relative_path for inner in branch)]
    return _meant(fitting[0][0]) if len(fitting) == 1 and not fitting[0][0].relative_path else error


def _expected(error: Any) -> str | None:
    """What would fit, where it is short enough to say."""
    said = error.validator_value
    match error.validator:
        case "type":
            return f"it takes: {said if isinstance(said, str) else ', '.join(said)}"
        case "maxLength" | "minLength" | "maximum" | "minimum" | "exclusiveMinimum" | "exclusiveMaximum" | "maxItems" | "minItems":
            return f"{error.validator}: {said}"
        case "enum":
            return f"one of: {', '.join(map(str, said))}"
        case "format":
            return EXAMPLES.get(said)
        case "minProperties":
            return f"it takes at least {said} of: {', '.join(error.schema.get('properties', ()))}"
        case "not":
            return said.get("description") if isinstance(said, Mapping) else None
        case "anyOf" | "oneOf":
            kinds = [str(inner.validator_value) for inner in error.context if inner.validator == "type" and not inner.relative_path]
            return f"it takes: {', '.join(kinds)}" if kinds else None
    return None


def _described(error: Any) -> str | None:
    """What its owner says of it."""
    found = error.schema.get("description") if isinstance(error.schema, Mapping) else None
    return str(found) if found else None
