"""A published version replays unchanged under new code: what the interpreter once said of a run, it says again."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from services.workflows.tests.interpreted.replaying import replay
from services.workflows.tests.interpreted.scenes import STORIES

KEPT = sorted((Path(__file__).parent / "interpreted").glob("*.json"))


def contains(now: Any, then: Any) -> bool:
    """Everything said then is said now. Words that did not exist then may stand beside it."""
    if isinstance(then, dict):
        return isinstance(now, dict) and all(name in now and contains(now[name], value) for name, value in then.items())
    if isinstance(then, list):
        return isinstance(now, list) and len(now) == len(then) and all(map(contains, now, then))
    return bool(now == then)


class TestKeptRuns:
    @pytest.mark.parametrize("path", KEPT, ids=lambda path: path.stem)
    def test_a_kept_run_is_interpreted_as_it_was(self, path: Path) -> None:
        story = json.loads(path.read_text())
        for place, (now, then) in enumerate(zip(replay(story), story["said"], strict=True)):
            assert contains(now, then), (place, story["happened"][place], now, then)

    def test_every_story_is_kept(self) -> None:
        assert {path.stem for path in KEPT} >= set(STORIES)

    def test_a_difference_is_noticed(self) -> None:
        assert contains({"a": [1, {"b": 2, "new": 3}]}, {"a": [1, {"b": 2}]})
        assert not contains({"a": [1, {"b": 3}]}, {"a": [1, {"b": 2}]})
        assert not contains({"a": [1]}, {"a": [1, 2]})
