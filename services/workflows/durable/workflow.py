"""How Temporal keeps one run going: bring it on, wait for the time it names or for a word, again.

Deterministic, and knows nothing of definitions, expressions or people: ids go out, a duration comes back. Activities are local:
they run where the loop runs, because they may be repeated and every step of a history is a write. What the loop does in
which order is recorded in histories that may be months old; a change to it stands behind ``workflow.patched`` until the last
history without it has ended, and the recorded histories in tests/histories are replayed by the gate.
"""

from __future__ import annotations

from datetime import timedelta

from temporalio import workflow
from temporalio.common import RetryPolicy
from temporalio.exceptions import FailureError, is_cancelled_exception

with workflow.unsafe.imports_passed_through():
    from services.workflows.rules.runs.orchestration import ADVANCE, LOOK, WORKFLOW, RunRef, Standing

MAX_ROUNDS = 50
"""Rounds before the history starts anew; Temporal may ask for it earlier."""
ATTEMPT_SECONDS = 60
ATTEMPTS = 8
"""Attempts of one round, a second to a minute apart; then the history starts anew, for ever: our database and our code come back.

Histories recorded without this bound replay: they hold what came of an attempt, not how many there may be.
"""
RETRIES = RetryPolicy(initial_interval=timedelta(seconds=1), maximum_interval=timedelta(minutes=1), maximum_attempts=ATTEMPTS)
RETRIED_AT_ONCE = timedelta(seconds=3)
"""Until a next attempt that is further off the run rests on a timer of Temporal's: it takes no worker's place and writes no heartbeats."""
REST_SECONDS = 60.0
"""After the last attempt of a round, unless a word comes."""


@workflow.defn(name=WORKFLOW)
class RunWorkflow:
    """One run. It ends with the run; a run that goes on after its end, because somebody retries it, begins a new one."""

    def __init__(self) -> None:
        self._words = 0

    @workflow.signal(name=LOOK)
    def look(self) -> None:
        """Something was handed over. What it is stands in our tables."""
        self._words += 1

    @workflow.run
    async def run(self, run: RunRef) -> None:
        for _ in range(MAX_ROUNDS):
            heard = self._words
            try:
                standing = await self._advance(run)
            except FailureError as error:
                if is_cancelled_exception(error):
                    raise
                await self._until_told(heard, REST_SECONDS)
                break
            if self._words == heard:
                if standing.ended:
                    return
                await self._until_told(heard, standing.seconds)
            if workflow.info().is_continue_as_new_suggested():
                break
        workflow.continue_as_new(run)

    async def _advance(self, run: RunRef) -> Standing:
        standing: Standing = await workflow.execute_local_activity(
            ADVANCE, run, result_type=Standing, start_to_close_timeout=timedelta(seconds=ATTEMPT_SECONDS), retry_policy=RETRIES,
            local_retry_threshold=RETRIED_AT_ONCE,
        )  # fmt: skip
        return standing

    async def _until_told(self, heard: int, seconds: float | None) -> None:
        """A word, or the time. A timer that is early, or of a wait that is over, costs one look."""
        try:
            await workflow.wait_condition(lambda: self._words != heard, timeout=seconds)
        except TimeoutError:
            return
