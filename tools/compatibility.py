"""Refuses a change that breaks a reader or a writer of a message type that is already published.

Within a version only optional fields may be added, and values to an enumeration (readers are deployed before writers). Everything
else is a new class with a new version: the sender says both until nobody reads the old one.
``python -m tools.compatibility [REVISION]`` compares with the schemas committed at REVISION; by default the merge base with main.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from libs.contracts.registry import MESSAGES
from tools.generate.schemas import schema_of

ROOT = Path(__file__).resolve().parents[1]
FOLDER = "libs/contracts/schemas"
Schema = dict[str, Any]

_ROUTING = {"x-topic": "travels on another topic", "x-subject": "has another subject", "x-kind": "is another kind of message"}
_LIMITS = (
    "format",
    "pattern",
    "minLength",
    "maxLength",
    "minimum",
    "maximum",
    "exclusiveMinimum",
    "exclusiveMaximum",
    "minItems",
    "maxItems",
)


def breaks(old: dict[str, Schema], new: dict[str, Schema]) -> list[str]:
    """What a change from ``old`` to ``new`` (schemas by message type) breaks, one line each."""
    found = [f"{name}: the type is gone" for name in sorted(old.keys() - new.keys())]
    for name in sorted(old.keys() & new.keys()):
        found += [f"{name}: {line}" for line in _Comparison(old[name], new[name]).lines()]
    return found


class _Comparison:
    """Two schemas of one message type."""

    def __init__(self, old: Schema, new: Schema) -> None:
        self._old = old
        self._new = new
        self._seen: set[tuple[str, str]] = set()

    def lines(self) -> Iterator[str]:
        for key, text in _ROUTING.items():
            if self._old.get(key) != self._new.get(key):
                yield text
        yield from self._object(self._old, self._new, "")

    def _object(self, old: Schema, new: Schema, path: str) -> Iterator[str]:
        before, after = old.get("properties", {}), new.get("properties", {})
        required_before, required_after = set(old.get("required", [])), set(new.get("required", []))
        for name in before:
            place = f"{path}/{name}"
            if name not in after:
                yield f"{place} is gone"
                continue
            if name in required_before and name not in required_after:
                yield f"{place} may be missing now; readers rely on it"
            yield from self._field(before[name], after[name], place)
        for name in sorted(required_after - required_before):
            yield f"{path}/{name} is required now; writers do not send it"

    def _field(self, old: Schema, new: Schema, path: str) -> Iterator[str]:
        if old.get("x-personal") and not new.get("x-personal"):
            yield f"{path} is not marked as personal any more; what was hidden would be repeated"
        if self._compared_already(old, new):
            return
        old, new = _resolved(old, self._old), _resolved(new, self._new)
        if _kinds(old, self._old) != _kinds(new, self._new):
            yield f"{path} was {_said(_kinds(old, self._old))} and is {_said(_kinds(new, self._new))}"
            return
        yield from self._alternatives(old, new, path)

    def _compared_already(self, old: Schema, new: Schema) -> bool:
        """Definitions may hold themselves."""
        pair = (old.get("$ref", ""), new.get("$ref", ""))
        if not all(pair):
            return False
        known = pair in self._seen
        self._seen.add(pair)
        return known

    def _alternatives(self, old: Schema, new: Schema, path: str) -> Iterator[str]:
        """Of several objects each is compared with the one of its name, if there is one."""
        kinds = {_kind(option, self._new): option for option in _options(new)}
        names = {option["$ref"]: option for option in _options(new) if "$ref" in option}
        for option in _options(old):
            counterpart = names.get(option.get("$ref", ""), kinds[_kind(option, self._old)])
            if self._compared_already(option, counterpart):
                continue
            before, after = _resolved(option, self._old), _resolved(counterpart, self._new)
            yield from (
                f"{path} does not allow {value!r} any more" for value in before.get("enum", []) if value not in _values(after, value)
            )
            yield from (f"{path} has another {limit}" for limit in _LIMITS if before.get(limit) != after.get(limit))
            yield from self._object(before, after, path)
            for inner in ("items", "additionalProperties"):
                if isinstance(before.get(inner), dict) and isinstance(after.get(inner), dict):
                    yield from self._field(before[inner], after[inner], f"{path}/*")


def _values(schema: Schema, value: object) -> list[object]:
    """The values a schema allows; one without an enumeration allows ``value`` too."""
    return list(schema["enum"]) if "enum" in schema else [value]


def _resolved(node: Schema, schema: Schema) -> Schema:
    if "$ref" not in node:
        return node
    target: Schema = schema["$defs"][node["$ref"].rpartition("/")[2]]
    return target


def _options(node: Schema) -> list[Schema]:
    return node.get("anyOf") or node.get("oneOf") or [node]


def _kind(node: Schema, schema: Schema) -> str:
    node = _resolved(node, schema)
    return str(node.get("type", "anything"))


def _kinds(node: Schema, schema: Schema) -> frozenset[str]:
    return frozenset(_kind(option, schema) for option in _options(node))


def _said(kinds: frozenset[str]) -> str:
    return " or ".join(sorted(kinds))


def current() -> dict[str, Schema]:
    return {name: schema_of(message) for name, message in MESSAGES.items()}


def base_revision(root: Path = ROOT) -> str | None:
    """Where this line of work left main; None where there is no history to compare with."""
    if os.environ.get("VANTAGE_BASE"):
        return os.environ["VANTAGE_BASE"]
    for main in ("origin/main", "main"):
        found = _git(root, "merge-base", "HEAD", main)
        if found is not None:
            return found.strip()
    return None


def committed(revision: str, root: Path = ROOT) -> dict[str, Schema]:
    """The schemas of a revision by type; empty when it had none."""
    listed = _git(root, "ls-tree", "-r", "--name-only", revision, "--", FOLDER)
    paths = [path for path in (listed or "").splitlines() if path.endswith(".json")]
    texts = [_git(root, "show", f"{revision}:{path}") or "{}" for path in paths]
    return {Path(path).name.removesuffix(".json"): json.loads(text) for path, text in zip(paths, texts, strict=True)}


def _git(root: Path, *arguments: str) -> str | None:
    try:
        run = subprocess.run(["git", *arguments], cwd=root, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        return None
    return run.stdout if run.returncode == 0 else None


def main(arguments: list[str]) -> int:
    revision = arguments[0] if arguments else base_revision()
    if revision is None:
        print("compatibility: no history here, nothing to compare with")
        return 0
    found = breaks(committed(revision), current())
    for line in found:
        print(line)
    if found:
        print(f"compared with {revision[:12]}: a breaking change is a new class with a new version")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
