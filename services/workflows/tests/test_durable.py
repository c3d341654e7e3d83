"""The loop Temporal keeps per run: what it recorded replays, and a change that would break runs under way is caught."""

from __future__ import annotations

import base64
import json
from dataclasses import fields
from datetime import timedelta
from pathlib import Path

import pytest
from temporalio import workflow
from temporalio.client import WorkflowHistory
from temporalio.worker import Replayer, UnsandboxedWorkflowRunner
from temporalio.workflow import NondeterminismError

from services.workflows.durable.workflow import ATTEMPTS, MAX_ROUNDS, RunWorkflow
from services.workflows.rules.runs.orchestration import ADVANCE, LOOK, WORKFLOW, RunRef, Standing
from services.workflows.tests.engine.temporal import Skipping
from services.workflows.tests.histories.scenes import RECORDED, SCENES, Scene, Stage

HISTORIES = sorted(RECORDED.glob("*.json"))

MOST_EVENTS = 100
OF_TEMPORAL = {
    "seq", "attempt", "activity_id", "activity_type", "complete_time", "backoff", "original_schedule_time", "activation_index",
}  # fmt: skip
"""What Temporal itself notes beside the result of a local activity."""


@workflow.defn(name=WORKFLOW, sandboxed=False)
class Impatient:
    """The same loop, had somebody thought a short rest before each round a good idea."""

    @workflow.signal(name=LOOK)
    def look(self) -> None: ...

    @workflow.run
    async def run(self, run: RunRef) -> None:
        standing = Standing(ended=False)
        while not standing.ended:
            await workflow.sleep(timedelta(seconds=1))
            standing = await workflow.execute_local_activity(
                ADVANCE, run, result_type=Standing, start_to_close_timeout=timedelta(seconds=60)
            )


def read(path: Path) -> WorkflowHistory:
    return WorkflowHistory.from_json(path.stem, path.read_text())


class TestReplaying:
    def test_every_scene_is_recorded(self) -> None:
        assert {path.stem.split(".")[0] for path in HISTORIES} == SCENES.keys()

    @pytest.mark.parametrize("path", HISTORIES, ids=lambda path: path.stem)
    async def test_runs_recorded_earlier_go_on_under_todays_code(self, path: Path) -> None:
        await Replayer(workflows=[RunWorkflow]).replay_workflow(read(path))

    @pytest.mark.parametrize("path", HISTORIES, ids=lambda path: path.stem)
    async def test_a_change_they_would_not_survive_is_caught(self, path: Path) -> None:
        changed = Replayer(workflows=[Impatient], workflow_runner=UnsandboxedWorkflowRunner())
        with pytest.raises(NondeterminismError):
            await changed.replay_workflow(read(path))


class TestWhatTemporalKeeps:
    @pytest.mark.parametrize("path", HISTORIES, ids=lambda path: path.stem)
    def test_is_ids_and_durations(self, path: Path) -> None:
        allowed = {field.name for kind in (RunRef, Standing) for field in fields(kind)} | OF_TEMPORAL
        payloads = _payloads(json.loads(path.read_text()))
        assert payloads
        for payload in payloads:
            assert set(payload) <= allowed


class TestTheLoop:
    @pytest.mark.parametrize("name", ["a_word_before_the_time", "a_ring_too_early"])
    async def test_looks_when_told_and_when_its_time_comes(self, skipping_server: Skipping, name: str) -> None:
        stage = Stage(skipping_server.environment)
        (history,) = await stage.play(SCENES[name], 101 + list(SCENES).index(name))
        assert stage.rounds == len(SCENES[name].answers)
        assert "continued" not in str(history.events[-1])

    async def test_starts_its_history_anew_before_it_grows_long(self, skipping_server: Skipping) -> None:
        stage = Stage(skipping_server.environment)
        histories = await stage.play(SCENES["many_rounds"], 111)
        assert len(histories) == 2
        assert stage.rounds == MAX_ROUNDS + 3

    async def test_an_attempt_that_fails_is_made_again(self, skipping_server: Skipping) -> None:
        stage = Stage(skipping_server.environment)
        await stage.play(Scene([SCENES["an_action"].answers[1]], failing=2), 112)
        assert stage.rounds == 3

    async def test_that_fails_for_long_starts_its_history_anew_and_goes_on(self, skipping_server: Skipping) -> None:
        """However long our database is away, no history grows to Temporal's limit."""
        stage = Stage(skipping_server.environment)
        histories = await stage.play(SCENES["failing_for_long"], 113)
        assert stage.rounds == 2 * ATTEMPTS + 2
        assert len(histories) == 3
        assert all(len(history.events) < MOST_EVENTS for history in histories)


def _payloads(found: object) -> list[dict[str, object]]:
    """Every payload in a history, opened."""
    if isinstance(found, list):
        return [payload for item in found for payload in _payloads(item)]
    if not isinstance(found, dict):
        return []
    if "metadata" in found and "data" in found:
        return [json.loads(base64.b64decode(found["data"]))]
    return [payload for item in found.values() for payload in _payloads(item)]
