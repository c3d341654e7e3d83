"""Every wall holds, and every wall is seen to break when it is pushed."""

from __future__ import annotations

import configparser
from pathlib import Path

import pytest

from tests.architecture.plants import PLANTS, Plant
from tests.architecture.skeleton import ROOT, broken, build


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Path:
    target = tmp_path_factory.mktemp("house")
    build(target)
    return target


def test_an_empty_house_breaks_no_wall(house: Path) -> None:
    assert broken(house) == []


@pytest.mark.parametrize("plant", PLANTS, ids=lambda plant: f"{plant.path}: {plant.line or 'a room nobody knows'}")
def test_a_planted_violation_is_caught(plant: Plant, house: Path) -> None:
    target = house / plant.path
    before = target.read_text() if target.exists() else None
    target.write_text(plant.line + "\n")
    try:
        lines = broken(house)
    finally:
        if before is None:
            target.unlink()
        else:
            target.write_text(before)
    assert any(line.startswith(plant.contract) for line in lines), lines


def test_every_wall_has_a_plant() -> None:
    config = configparser.ConfigParser()
    config.read(ROOT / ".importlinter")
    contracts = [config[section]["name"] for section in config.sections() if ":contract:" in section]
    unpushed = [name for name in contracts if not any(name.startswith(plant.contract) for plant in PLANTS)]
    assert unpushed == []
