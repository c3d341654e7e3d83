"""A workflow as a file: what leaves a practice, and what may come in."""

from __future__ import annotations

import copy
import re
from collections.abc import Iterator, Mapping
from typing import Any
from uuid import UUID

from services.workflows.rules.definitions.analysis import secrets
from services.workflows.rules.definitions.definition import Definition
from services.workflows.rules.definitions.steps import walk
from services.workflows.rules.definitions.yaml_text import YamlRefused, read_yaml, write_yaml
from services.workflows.rules.findings import Finding, did_you_mean, pointer_part

FORMAT = "vantage.workflow/1"
_FIELDS = ("format", "name", "definition", "omitted")
_UUID = re.compile(r"(?i)\b[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\b|\b[0-9a-f]{32}\b")


class FileRefused(ValueError):
    """The file is no workflow, or names what is not here."""

    def __init__(self, findings: list[Finding]) -> None:
        super().__init__("; ".join(finding.message for finding in findings))
        self.findings = findings


def exported(name: str, definition: Definition) -> str:
    """YAML. What looks like a secret stays here; ``omitted`` says where it stood."""
    written = definition.model_dump(mode="json", exclude_none=True)
    kept = copy.deepcopy(written)
    left_out = [f"{pointer}{place}" for _, pointer, place in secrets(definition)]
    for pointer in reversed(left_out):
        _remove(kept, pointer)
    return write_yaml({"format": FORMAT, "name": name, "definition": kept} | ({"omitted": left_out} if left_out else {}))


def parts_of(text: str) -> tuple[Any, Any]:
    """Name and definition as they were written, unchecked. Raises ``FileRefused``."""
    try:
        written = read_yaml(text)
    except YamlRefused as error:
        place = f"line {error.line}, column {error.column}" if error.line is not None else None
        raise FileRefused([Finding("not_yaml", "/yaml", f"{str(error).capitalize()}.", hint=place)]) from None
    if not isinstance(written, dict) or written.get("format") != FORMAT:
        raise FileRefused([Finding("not_a_workflow", "/yaml", "This is not the file of a workflow.", hint=f"format: {FORMAT}")])
    strange = [
        Finding("unknown_field", f"/{pointer_part(name)}", "There is no such field.", hint=did_you_mean(name, _FIELDS))
        for name in written
        if name not in _FIELDS
    ]
    missing = [Finding("missing_field", f"/{name}", "This has to be there.") for name in ("name", "definition") if name not in written]
    if strange or missing:
        raise FileRefused(strange + missing)
    return written["name"], written["definition"]


def strangers(definition: Definition, known: frozenset[UUID]) -> list[Finding]:
    """Ids in a definition that name nothing of this practice."""
    steps = {pointer: step.id for step, pointer, _ in walk(definition.steps)}
    message = "This id names nothing of this practice: it belongs to another one, or to nothing."
    return [
        Finding("foreign_id", pointer, message, _step_at(pointer, steps))
        for pointer, text in _texts(definition.model_dump(mode="json", exclude_none=True), "")
        if any(UUID(found) not in known for found in _UUID.findall(text))
    ]


def _step_at(pointer: str, steps: Mapping[str, str]) -> str | None:
    around = [place for place in steps if pointer.startswith(f"{place}/")]
    return steps[max(around, key=len)] if around else None


def _texts(value: Any, pointer: str) -> Iterator[tuple[str, str]]:
    if isinstance(value, str):
        yield pointer, value
    elif isinstance(value, dict):
        for name, inner in value.items():
            yield f"{pointer}/{pointer_part(name)}", name
            yield from _texts(inner, f"{pointer}/{pointer_part(name)}")
    elif isinstance(value, list):
        for number, inner in enumerate(value):
            yield from _texts(inner, f"{pointer}/{number}")


def _remove(written: Any, pointer: str) -> None:
    *way, last = [part.replace("~1", "/").replace("~0", "~") for part in pointer.split("/")[1:]]
    for part in way:
        written = written[int(part)] if isinstance(written, list) else written[part]
    del written[int(last) if isinstance(written, list) else last]
