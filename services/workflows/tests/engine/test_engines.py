"""Both engines pass the same suite: neither can leave out a class of it unnoticed."""

from __future__ import annotations

import pkgutil
from importlib import import_module
from types import ModuleType

import pytest

from services.workflows.tests import engine
from services.workflows.tests.engine import test_builtin, test_temporal


def classes(module: ModuleType) -> list[type]:
    return [one for one in vars(module).values() if isinstance(one, type)]


def suite() -> set[type]:
    """Every class of the suite, wherever in this folder it is written."""
    modules = [import_module(f"{engine.__name__}.{one.name}") for one in pkgutil.iter_modules(engine.__path__)]
    return {one for module in modules for one in classes(module) if one.__name__.endswith("Suite")}


class TestBothEngines:
    @pytest.mark.parametrize("module", [test_builtin, test_temporal], ids=["builtin", "temporal"])
    def test_run_every_class_of_the_suite(self, module: ModuleType) -> None:
        run = {base for one in classes(module) if one.__name__.startswith("Test") for base in one.__bases__}
        assert run == suite()

    def test_leave_no_test_of_it_out(self) -> None:
        for ours in (one for module in (test_builtin, test_temporal) for one in classes(module) if one.__name__.startswith("Test")):
            assert {name for name in vars(ours) if not name.startswith("__")} == set(), ours
