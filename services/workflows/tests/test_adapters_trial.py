"""What an engine cannot take is found in a process that nobody misses."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator
from typing import Any

import psutil
import pytest

from services.workflows.adapters import trial as room
from services.workflows.adapters.trial import Trial, TrialNotPossible
from services.workflows.rules.definitions.definition import Definition
from services.workflows.rules.definitions.trying import try_out
from services.workflows.rules.expressions.engines import ENGINES
from services.workflows.tests.engine.world import CANCELLED, CONFIRMED, definition, heard, send, wait_for

PATTERN = "event.title.matches('^(a+)+$')"


def written(*steps: dict[str, Any], **extra: Any) -> Definition:
    return Definition.model_validate(definition(*(steps or (send(),))) | extra)


@pytest.fixture
async def trial() -> AsyncIterator[Trial]:
    trial = Trial("cel-cpp")
    yield trial
    await trial.close()


async def process_of(trial: Trial) -> psutil.Process:
    await trial.findings(written())
    assert trial._process is not None
    return psutil.Process(trial._process.pid)


class TestTrying:
    @pytest.mark.parametrize("engine", ["cel-cpp", "cel-python"])
    async def test_what_comes_to_an_end_passes_and_the_process_is_kept(self, engine: str) -> None:
        trial = Trial(engine)
        first = await process_of(trial)
        assert await trial.findings(written(condition="event.title.startsWith('a')")) == []
        assert await process_of(trial) == first
        await trial.close()
        assert not first.is_running()

    async def test_what_does_not_compile_is_for_whoever_saves_it_to_say(self, trial: Trial) -> None:
        assert await trial.findings(written(condition="event.nothing == 1")) == []

    async def test_what_takes_too_long_is_killed_and_named_and_the_next_one_has_a_new_process(
        self, trial: Trial, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        old = await process_of(trial)
        old.suspend()
        monkeypatch.setattr(room, "SECONDS", 0.2)
        (found,) = await trial.findings(written())
        assert (found.code, found.severity, old.is_running()) == ("takes_too_long", "error", False)
        monkeypatch.undo()
        assert await trial.findings(written()) == []

    async def test_what_breaks_the_engine_breaks_nothing_else(self, trial: Trial) -> None:
        process = await process_of(trial)
        trying = asyncio.create_task(trial.findings(written()))
        process.send_signal(signal.SIGSEGV)
        assert [one.code for one in await trying] in ([], ["breaks_engine"])  # it may have been quicker than the signal
        assert await trial.findings(written(condition=PATTERN)) == []

    async def test_a_caller_that_gives_up_leaves_no_answer_behind_for_the_next(self, trial: Trial) -> None:
        process = await process_of(trial)
        process.suspend()
        trying = asyncio.create_task(trial.findings(written()))
        await asyncio.wait({trying}, timeout=0.05)
        trying.cancel()
        await asyncio.gather(trying, return_exceptions=True)
        assert await trial.findings(written(condition=PATTERN)) == []
        assert not process.is_running()

    async def test_the_process_knows_no_secret_and_has_a_limit_of_memory(self, trial: Trial, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("VANTAGE_SECRETS_KEYS", "not to be known")
        process = await process_of(trial)
        assert set(process.environ()) <= {"LC_CTYPE"}
        assert process.rlimit(psutil.RLIMIT_AS) == (room.MEMORY_BYTES, room.MEMORY_BYTES)

    async def test_where_no_process_can_be_started_nothing_is_saved(self) -> None:
        trial = Trial("cel-cpp")
        trial._command = ["/nowhere/python"]
        with pytest.raises(TrialNotPossible):
            await trial.findings(written())


class TestEverything:
    def test_each_place_an_expression_may_stand_at_is_tried(self) -> None:
        reached: list[str | None] = []
        case = {"kind": "branch", "id": "fork", "cases": [{"when": PATTERN, "steps": [send("inner", when=PATTERN)]}]}
        whole = written(
            send("mail", when=PATTERN), wait_for(heard(CONFIRMED, PATTERN), step="answer"), case,
            condition=PATTERN, exit=[heard(CANCELLED, PATTERN)],
        )  # fmt: skip
        try_out(whole, ENGINES["cel-cpp"], reached.append)
        assert {"mail", "answer", "fork", "inner", None} <= set(reached)
