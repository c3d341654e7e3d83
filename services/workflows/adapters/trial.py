"""Try a definition out in a process of its own, which is killed when it takes too long.

The service evaluates only what came to an end here. The process gets no secrets: its environment is empty. It speaks
lines of JSON: a definition in; one line for each part whose turn it is, and ``{"done": true}`` at the end out.
"""

from __future__ import annotations

import asyncio
import contextlib
import resource
import sys
from asyncio.subprocess import DEVNULL, PIPE, Process
from pathlib import Path
from typing import Any

import orjson

from libs.common.errors import Unavailable
from libs.common.logging import get_logger
from services.workflows.rules.definitions.definition import Definition
from services.workflows.rules.definitions.trying import try_out
from services.workflows.rules.expressions.engines import ENGINES
from services.workflows.rules.findings import Finding

log = get_logger()

SECONDS = 5.0
"""So long all of a definition's expressions may take. The bound allows each 20 ms; the rest is for a machine that is busy."""
START_SECONDS = 60.0
ROOT = Path(__file__).resolve().parents[3]
MEMORY_BYTES = 1 << 30
LONGEST_LINE = 1 << 20


class TrialNotPossible(Unavailable):
    """Expressions cannot be tried out now."""


class Trial:
    """One process, started when it is first needed, kept for the next definition. One definition at a time."""

    def __init__(self, engine: str) -> None:
        self._command = [sys.executable, "-m", __name__, engine]
        self._process: Process | None = None
        self._turn = asyncio.Lock()

    async def findings(self, definition: Definition) -> list[Finding]:
        """Nothing, or what is wrong: it took longer than ``SECONDS``, or broke the engine. Raises ``TrialNotPossible``."""
        written = orjson.dumps(definition.model_dump(mode="json", exclude_none=True))
        async with self._turn:
            process = await self._running()
            last: dict[str, Any] = {}
            try:
                async with asyncio.timeout(SECONDS):
                    assert process.stdin is not None
                    process.stdin.write(written + b"\n")
                    await process.stdin.drain()
                    while not (heard := await self._line(process)).get("done"):
                        last = heard
            except TimeoutError:
                await self._kill(process)
                return [_finding("takes_too_long", "Its expressions take too long.", last.get("step"))]
            except ConnectionError:
                log.warning("trial.broke", returncode=await process.wait())
                self._process = None
                return [_finding("breaks_engine", "Its expressions cannot be evaluated.", last.get("step"))]
            except BaseException:
                await self._kill(process)  # what it still says belongs to nobody
                raise
        return []

    async def open(self) -> None:
        """Nothing yet: a process that saves no definition starts none."""

    async def close(self) -> None:
        if self._process is not None:
            await self._kill(self._process)

    async def _running(self) -> Process:
        if self._process is not None and self._process.returncode is None:
            return self._process
        try:
            process = await asyncio.create_subprocess_exec(
                *self._command, stdin=PIPE, stdout=PIPE, stderr=DEVNULL, env={}, cwd=ROOT, limit=LONGEST_LINE
            )
            async with asyncio.timeout(START_SECONDS):
                await self._line(process)
        except (OSError, TimeoutError) as error:
            raise TrialNotPossible from error
        self._process = process
        return process

    async def _line(self, process: Process) -> dict[str, Any]:
        assert process.stdout is not None
        line = await process.stdout.readline()
        if not line:
            raise ConnectionResetError
        heard: dict[str, Any] = orjson.loads(line)
        return heard

    async def _kill(self, process: Process) -> None:
        self._process = None
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()


def _finding(code: str, message: str, step: str | None) -> Finding:
    return Finding(code, "", message, step)


def _say(**words: Any) -> None:
    sys.stdout.buffer.write(orjson.dumps(words) + b"\n")
    sys.stdout.buffer.flush()


def _serve(engine: str) -> None:
    """The process itself. It ends with its parent: its input ends."""
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    _say(ready=True)
    for line in sys.stdin.buffer:
        definition = Definition.model_validate_json(line)
        try_out(definition, ENGINES[engine], lambda step: _say(step=step))
        _say(done=True)


if __name__ == "__main__":
    _serve(sys.argv[1])
