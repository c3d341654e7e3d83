"""A skeleton of this house: the same packages and configuration, every room of every service, nothing inside."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
SERVICE = (
    "__init__", "__main__", "app", "settings", "api", "consumers", "timers", "durable", "actions", "commands", "queries", "model", "rules",
    "adapters/__init__", "adapters/vendor", "migrations/__init__", "migrations/env", "tests/__init__", "tests/test_commands",
)  # fmt: skip
TESTS = ("__init__", "e2e/__init__", "e2e/test_journey", "chaos/__init__", "bench/__init__")


def build(target: Path) -> None:
    """Write the skeleton below ``target``: libraries by their real module names, services by the rooms they may have."""
    shutil.copy(ROOT / ".importlinter", target / ".importlinter")
    for package in ("libs", "deploy"):
        for module in (ROOT / package).rglob("*.py"):
            _empty(target / module.relative_to(ROOT))
    _empty(target / "services" / "__init__.py")
    for service in services():
        for room in SERVICE:
            if room != "rules" or not (ROOT / "services" / service / room).is_dir():
                _empty(target / "services" / service / f"{room}.py")
        for module in (ROOT / "services" / service / "rules").rglob("*.py"):
            _empty(target / module.relative_to(ROOT))
    for name in TESTS:
        _empty(target / "tests" / f"{name}.py")
    _empty(target / "tools" / "__init__.py")
    _empty(target / "tools" / "tests" / "__init__.py")
    shutil.copy(ROOT / "tools" / "walls.py", target / "tools" / "walls.py")
    # One real import, so that a violation through a library is seen as one.
    (target / "libs" / "common" / "paging.py").write_text("import fastapi\n")


def services() -> list[str]:
    return sorted(path.name for path in (ROOT / "services").iterdir() if (path / "__init__.py").exists())


def broken(target: Path) -> list[str]:
    """The lines of import-linter's report for contracts that do not hold."""
    command = [sys.executable, "-c", "from importlinter.cli import lint_imports_command as c; c()", "--no-cache", "--no-logo"]
    run = subprocess.run(command, cwd=target, capture_output=True, text=True, check=False, timeout=60, env={"COLUMNS": "200", "PATH": ""})
    report = run.stdout + run.stderr
    lines = [line for line in report.splitlines() if line.endswith(" BROKEN")]
    if (run.returncode == 0) != (not lines) or "Contracts:" not in report:
        raise AssertionError(report)
    return lines


def _empty(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("")
