"""``python -m tools.generate``: write everything that is generated. ``--check``: write nothing, say what differs."""

from __future__ import annotations

import argparse
import importlib
import sys
from functools import cache
from pathlib import Path

from libs.contracts.registry import MESSAGES
from libs.contracts.topics import SERVICES
from tools.generate import asyncapi, environment, events_page, openapi, permissions_page
from tools.generate.schemas import schema_text

ROOT = Path(__file__).resolve().parents[2]
FOLDERS = ("libs/contracts/schemas/*.json", "deploy/env/*.env.example")
"""Folders whose files are all generated: what is there and not derived any more is removed."""


def derived(root: Path = ROOT) -> dict[Path, str]:
    """Every generated file with its content."""
    return {root / path: text for path, text in _texts().items()}


@cache
def _texts() -> dict[str, str]:
    """By path below the root. Of one process they are the same however often they are asked for."""
    wanted = {f"libs/contracts/schemas/{name}.json": schema_text(MESSAGES[name]) for name in MESSAGES}
    wanted["libs/contracts/asyncapi.yaml"] = asyncapi.text()
    wanted["docs/events.md"] = events_page.text()
    wanted["docs/openapi.json"] = openapi.text()
    wanted["docs/permissions.md"] = permissions_page.text()
    wanted["docs/workflow-definition.schema.json"] = importlib.import_module("services.workflows.rules.definitions.schema").schema_text()
    for service in SERVICES:
        if (ROOT / "services" / service / "settings.py").exists():
            wanted[f"deploy/env/{service}.env.example"] = environment.text(service)
    return wanted


def differences(root: Path = ROOT) -> list[str]:
    """What a run of the generator would change, one line a file."""
    wanted = derived(root)
    found = [f"{path.relative_to(root)}: differs from what is derived" for path, text in wanted.items() if _read(path) != text]
    return sorted(found + [f"{path.relative_to(root)}: is derived from nothing" for path in _leftovers(wanted, root)])


def write(root: Path = ROOT) -> None:
    wanted = derived(root)
    for path in _leftovers(wanted, root):
        path.unlink()
    for path, text in wanted.items():
        if _read(path) != text:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)


def _leftovers(wanted: dict[Path, str], root: Path) -> list[Path]:
    return [path for pattern in FOLDERS for path in root.glob(pattern) if path not in wanted]


def _read(path: Path) -> str | None:
    return path.read_text() if path.exists() else None


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tools.generate", description=__doc__)
    parser.add_argument("--check", action="store_true", help="only compare")
    if not parser.parse_args(arguments).check:
        write()
        return 0
    found = differences()
    for line in found:
        print(line)
    if found:
        print("run make generate and commit the result")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
