"""The house is built as drawn: the same rooms in every service, and a common library without a noun of the trade."""

from __future__ import annotations

import ast
import re
import tomllib
from importlib import import_module
from importlib.metadata import entry_points
from pathlib import Path

import pytest

from libs.contracts.actions import EffectLeft
from libs.contracts.registry import MESSAGES
from libs.contracts.topics import SERVICES
from libs.testing.action_conformance import ActionConformance, LeavingConformance
from tools.lints.source import sources

ROOT = Path(__file__).resolve().parents[2]
NOUNS = ("patient", "appointment", "booking", "clinic", "doctor", "sendgrid", "calcom", "retell", "insurance", "invoice")
COMMON_LINES = 4200
"""Lines of code in libs/common without tests, docstrings, comments and blanks. Past it, something in there belongs elsewhere."""


def code_lines(tree: ast.Module) -> int:
    """Lines of the module written in one fixed way: without comments, blanks and docstrings."""
    for node in ast.walk(tree):
        if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)):
            node.body = [line for line in node.body if not _is_docstring(line)] or [ast.Pass()]
    return ast.unparse(tree).count("\n") + 1


def _is_docstring(line: ast.stmt) -> bool:
    return isinstance(line, ast.Expr) and isinstance(line.value, ast.Constant) and isinstance(line.value.value, str)


def test_the_services_are_those_of_the_switchboard() -> None:
    found = {path.name for path in (ROOT / "services").iterdir() if (path / "__init__.py").exists()}
    assert found == set(SERVICES)


@pytest.mark.parametrize("service", SERVICES)
@pytest.mark.parametrize("room", ["__main__.py", "app.py", "settings.py", "migrations/env.py", "tests/conftest.py"])
def test_every_service_has_the_rooms_that_make_it_a_process(service: str, room: str) -> None:
    assert (ROOT / "services" / service / room).exists()


def test_common_knows_no_noun_of_the_trade() -> None:
    spoken = [
        f"{source.path}: {noun}"
        for source in sources(ROOT / "libs" / "common")
        if not source.is_test
        for noun in NOUNS
        if re.search(rf"(?<![a-z]){noun}", source.text.lower())
    ]
    assert spoken == []


def test_common_stays_small() -> None:
    lines = sum(code_lines(source.tree) for source in sources(ROOT / "libs" / "common") if not source.is_test)
    assert lines <= COMMON_LINES


def test_action_plug_ins_are_installed_as_declared() -> None:
    declared = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["entry-points"]["vantage.actions"]
    installed = {point.name: point.value for point in entry_points(group="vantage.actions")}
    assert installed == declared


def test_owners_whose_actions_leave_the_house_can_be_told_to_leave_an_effect_alone() -> None:
    plugins = [point.load() for point in entry_points(group="vantage.actions")]
    owners = {plugin.owner for plugin in plugins if plugin.leaves}
    assert owners == {message.owner for message in MESSAGES.values() if issubclass(message, EffectLeft)}


def test_every_action_keeps_what_every_action_keeps() -> None:
    installed = {point.name: point.load() for point in entry_points(group="vantage.actions")}
    suites = [
        one
        for path in sorted((ROOT / "services").glob("*/tests/test_conformance.py"))
        for one in vars(import_module(".".join(path.relative_to(ROOT).with_suffix("").parts))).values()
        if isinstance(one, type) and issubclass(one, ActionConformance) and hasattr(one, "plugin")
    ]
    exercised = {suite.plugin.name for suite in suites if suite.__name__.startswith("Test")}
    assert set(installed) - exercised == set()
    leaving = {suite.plugin.name for suite in suites if issubclass(suite, LeavingConformance)}
    assert {name for name, plugin in installed.items() if plugin.leaves} - leaving == set(), "what leaves the house owes more"
