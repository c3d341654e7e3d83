"""Invented runs, played on Temporal's test server: what our activity answers, and when somebody says a word."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from uuid import UUID

from temporalio import activity
from temporalio.client import Client, WorkflowHandle, WorkflowHistory
from temporalio.testing import WorkflowEnvironment
from temporalio.worker import Worker

from libs.testing.probe import until_async
from services.workflows.durable.workflow import ATTEMPTS, MAX_ROUNDS, RunWorkflow
from services.workflows.rules.runs.orchestration import ADVANCE, LOOK, WORKFLOW, Called, RunRef, Standing

RECORDED = Path(__file__).parent
ENDED = Standing(ended=True)
WAITING = Standing(ended=False)
PRACTICE = UUID("00000000-0000-4000-8000-000000000001")
QUEUE = "scenes"


def for_(seconds: float) -> Standing:
    return Standing(ended=False, seconds=seconds)


@dataclass(frozen=True)
class Scene:
    """``answers`` of the activity in order; a word is said after each of the rounds in ``words``."""

    answers: Sequence[Standing]
    words: Sequence[int] = ()
    failing: int = 0
    """So many attempts fail first."""


SCENES = {
    "an_action": Scene([WAITING, ENDED], words=[1]),
    "a_wait_and_an_action": Scene([for_(7200), WAITING, ENDED], words=[2]),
    "a_word_before_the_time": Scene([for_(7200), for_(3600), ENDED], words=[1]),
    "a_ring_too_early": Scene([for_(3600), for_(0.4), ENDED]),
    "failing_for_a_while": Scene([ENDED], failing=5),
    "failing_for_long": Scene([ENDED], failing=2 * ATTEMPTS + 1),
    "many_rounds": Scene([*[for_(60)] * (MAX_ROUNDS + 2), ENDED]),
}


@dataclass
class Stage:
    """Plays one scene at a time."""

    environment: WorkflowEnvironment
    answers: list[Standing] = field(default_factory=list)
    rounds: int = 0
    failing: int = 0

    @property
    def client(self) -> Client:
        return self.environment.client

    @activity.defn(name=ADVANCE)
    async def advance(self, _: RunRef) -> Standing:
        self.rounds += 1
        if self.failing:
            self.failing -= 1
            raise ConnectionError("the database of Kim Lorenz is away")
        return self.answers.pop(0)

    async def play(self, scene: Scene, number: int) -> list[WorkflowHistory]:
        """The histories of the run, one per time it started anew."""
        run = Called(PRACTICE, UUID(int=number, version=4), 1, bulk=False)
        self.answers, self.rounds, self.failing = list(scene.answers), 0, scene.failing
        async with Worker(self.client, task_queue=QUEUE, workflows=[RunWorkflow], activities=[self.advance]):
            handle = await self.client.start_workflow(WORKFLOW, run.ref, id=run.workflow_id, task_queue=QUEUE)
            first = handle.first_execution_run_id
            for after in scene.words:
                await until_async(lambda after=after: self._waits(handle, after), what=f"round {after}")  # type: ignore[misc]
                await handle.signal(LOOK)
            await handle.result()
        return await self._histories(run.workflow_id, first)

    async def _waits(self, handle: WorkflowHandle[None, None], rounds: int) -> bool:
        """Whether it has done so many rounds and seen what came of the last; time passes until then."""
        if self.rounds < rounds:
            await self.environment.sleep(timedelta(minutes=30))
        done = [event async for event in handle.fetch_history_events() if event.HasField("marker_recorded_event_attributes")]
        return self.rounds >= rounds and len(done) >= rounds

    async def _histories(self, workflow_id: str, run_id: str | None) -> list[WorkflowHistory]:
        found = []
        while run_id:
            history = await self.client.get_workflow_handle(workflow_id, run_id=run_id).fetch_history()
            found.append(history)
            run_id = history.events[-1].workflow_execution_continued_as_new_event_attributes.new_execution_run_id
        return found
