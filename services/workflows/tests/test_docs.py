"""The page for authors says what is true: its examples compile, and it names every finding, every gallery workflow and every limit."""

from __future__ import annotations

import re
from importlib.metadata import entry_points
from typing import Any

import pytest

from deploy.native.state import ROOT
from libs.contracts.conditions import MAX_DEPTH, MAX_PARTS
from services.workflows.commands.enrolling import OFTEN, OFTEN_NOBODY
from services.workflows.commands.history import KEPT
from services.workflows.commands.starting import MAX_CHAIN
from services.workflows.rules.definitions import reading, steps, yaml_text
from services.workflows.rules.definitions.catalogue import catalogue_findings
from services.workflows.rules.definitions.compiling import compile_definition
from services.workflows.rules.definitions.exchange import parts_of
from services.workflows.rules.definitions.reading import read_definition
from services.workflows.rules.definitions.yaml_text import read_yaml
from services.workflows.rules.expressions.interface import MAX_SOURCE
from services.workflows.rules.expressions.templates import MAX_FILLED
from services.workflows.rules.gallery import GALLERY
from services.workflows.rules.runs.states import MAX_ATTEMPTS
from services.workflows.tests.engine.world import definition

PAGE = (ROOT / "docs" / "workflows.md").read_text()
BLOCKS = re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)
RULES = ROOT / "services" / "workflows" / "rules"
CODE = re.compile(
    r'(?:Finding|finding|Untranslatable|PydanticCustomError)\(\s*"([a-z_]+)"|"((?:missing|wait|unknown)_[a-z_]+)",? *\(?"?[A-Z]'
)


def whole(block: str) -> Any:
    """What a block shows, as a definition: a file, a part of one, or some steps."""
    value = read_yaml(block)
    if isinstance(value, list):
        return definition(*value)
    return parts_of(block)[1] if "format" in value else definition() | value


class TestExamples:
    @pytest.mark.parametrize("block", BLOCKS)
    def test_each_compiles_without_a_warning_and_fits_the_actions_there_are(self, block: str) -> None:
        definition = read_definition(whole(block))
        assert compile_definition(definition).warnings == ()
        offered = [point.load().description() for point in entry_points(group="vantage.actions")]
        assert catalogue_findings(definition, {one.name: one.model_dump(mode="json") for one in offered}) == []

    def test_there_is_one_of_every_trigger_step_and_form_of_condition(self) -> None:
        shown = "".join(BLOCKS)
        kinds = [*reading._TRIGGERS, *reading._STEPS]
        assert [kind for kind in kinds if f"kind: {kind}" not in shown] == []
        assert [form for form in ("jsonlogic:", "blocks:", "condition: patient") if form not in shown] == []


class TestLists:
    def test_every_finding_is_named(self) -> None:
        codes = {found for path in RULES.rglob("*.py") for pair in CODE.findall(path.read_text()) for found in pair if found}
        assert len(codes) > 30
        assert sorted(code for code in codes if f"`{code}`" not in PAGE) == []

    def test_the_gallery_is_the_one_there_is(self) -> None:
        table = PAGE.partition("## The gallery")[2]
        assert re.findall(r"^\| `(.+)` \| (.+) \|$", table, re.MULTILINE) == [(entry.id, entry.title) for entry in GALLERY.values()]

    def test_limits_are_those_of_the_code(self) -> None:
        for said in (
            f"{_thousands(reading.MAX_BYTES)} bytes", f"{steps.MAX_STEPS} steps", f"branches {steps.MAX_DEPTH} deep",
            f"{steps.MAX_PARAMETER_VALUES} values, {steps.MAX_PARAMETER_DEPTH} deep, {_thousands(steps.MAX_PARAMETER_CHARACTERS)} characters",
            f"a filled text {_thousands(MAX_FILLED)}", f"{MAX_SOURCE} characters", f"{MAX_PARTS} parts, {MAX_DEPTH} deep",
            f"{steps.LONGEST_WAIT.days} days", f"look-back {steps.LONGEST_LOOK_BACK.days} days", f"{MAX_ATTEMPTS} with those by hand",
            f"{_thousands(yaml_text.MAX_CHARACTERS)} characters of YAML", f"{KEPT.days} days", f"stop after {MAX_CHAIN},",
            f"more than {OFTEN} times an hour (runs about nobody: {OFTEN_NOBODY})",
        ):  # fmt: skip
            assert said in PAGE, said


def _thousands(number: int) -> str:
    return f"{number:,}".replace(",", " ")
